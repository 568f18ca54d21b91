"""Which machine this is: recorded with every run, because an energy means nothing without it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import psutil

from passkwh.records import GpuInfo, HostInfo

T = TypeVar("T")

# Packages whose version can change a completion, a verdict or a joule.
PACKAGES = (
    "passkwh",
    "torch",
    "transformers",
    "tokenizers",
    "accelerate",
    "gptqmodel",
    "xllamacpp",
    "bitsandbytes",
    "torchao",
    "compressed-tensors",
    "peft",
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
        count = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError:
        pynvml.nvmlShutdown()
        return []  # the driver is there but does not answer; the meter says so with its reason
    gpus = []
    try:
        for index in range(count):
            with suppress(pynvml.NVMLError):  # one that is lost keeps no other from being listed
                gpus.append(_nvidia_gpu(pynvml.nvmlDeviceGetHandleByIndex(index), driver))
        return gpus
    finally:
        pynvml.nvmlShutdown()


def _nvidia_gpu(handle: object, driver: str) -> GpuInfo:
    import pynvml

    def answer(call: Callable[[object], T]) -> T | None:
        """None where a device does not have it: memory of GB10 and Jetson is the machine's, and not theirs."""
        try:
            return call(handle)
        except pynvml.NVMLError:
            return None

    return GpuInfo(
        uuid=answer(pynvml.nvmlDeviceGetUUID) or "unknown",
        name=answer(pynvml.nvmlDeviceGetName) or "unknown",
        memory_bytes=answer(lambda gpu: int(pynvml.nvmlDeviceGetMemoryInfo(gpu).total)),
        power_limit_w=answer(lambda gpu: float(pynvml.nvmlDeviceGetPowerManagementLimit(gpu)) / 1000),
        driver=driver,
    )
