"""Which machine this is: recorded with every run, because an energy means nothing without it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

import psutil

from passkwh.records import GpuInfo, HostInfo

# Packages whose version can change a completion, a verdict or a joule.
PACKAGES = (
    "passkwh",
    "torch",
    "transformers",
    "tokenizers",
    "accelerate",
    "gptqmodel",
    "xllamacpp",
    "zeus",
    "codecarbon",
    "numpy",
    "nvidia-ml-py",
)


def host_info() -> HostInfo:
    """The machine this process runs on."""
    return HostInfo(
        os=platform.system(),
        kernel=platform.release(),
        python=platform.python_version(),
        cpu=cpu_model(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        gpus=tuple(_nvidia_gpus()),
    )


def cpu_model() -> str:
    """The processor's name as the kernel gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("model name", "Model")):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def package_versions() -> dict[str, str]:
    """Installed versions of the packages that shape results."""
    versions: dict[str, str] = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _nvidia_gpus() -> list[GpuInfo]:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []  # no NVIDIA driver on this machine
    try:
        driver = str(pynvml.nvmlSystemGetDriverVersion())
        return [_nvidia_gpu(pynvml.nvmlDeviceGetHandleByIndex(i), driver) for i in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []  # the driver is there but does not answer; the meter says so with its reason
    finally:
        pynvml.nvmlShutdown()


def _nvidia_gpu(handle: object, driver: str) -> GpuInfo:
    import pynvml

    try:
        limit_w: float | None = pynvml.nvmlDeviceGetPowerManagementLimit(handle) / 1000
    except pynvml.NVMLError:
        limit_w = None
    return GpuInfo(
        uuid=pynvml.nvmlDeviceGetUUID(handle),
        name=pynvml.nvmlDeviceGetName(handle),
        memory_bytes=int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
        power_limit_w=limit_w,
        driver=driver,
    )
