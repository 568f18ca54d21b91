"""Which device a model runs on, and in which number format. Needs no torch until a device is looked for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from passkwh.errors import UsageError


def pick(device: str) -> str:
    """``auto`` is the accelerator where there is one, else the CPU; anything else is checked and kept."""
    import torch

    if device == "auto":
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        return accelerator.type if accelerator else "cpu"
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(
            f"device {device!r} cannot be used ({str(error).splitlines()[0]}): write auto, cpu or the number of a GPU"
        ) from None
    return device


def listed(text: str) -> tuple[str, ...]:
    """The devices that ``--devices`` allows, as torch names them: ``0,1`` are two GPUs, ``auto`` all accelerators.

    Raises:
        UsageError: a device that is not there, or a list of others than GPUs.

    Example:
        >>> listed("cpu")
        ('cpu',)
    """
    if text in ("auto", "cpu") and find_spec("torch") is None:  # a model elsewhere needs none
        return ("cpu",)
    import torch

    if text == "auto":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        return tuple(f"cuda:{place}" for place in range(count)) or (pick("auto"),)
    names = [f"cuda:{name}" if name.isdecimal() else name for name in (part.strip() for part in text.split(","))]
    if len(set(names)) != len(names) or (len(names) > 1 and not all(name.startswith("cuda:") for name in names)):
        raise UsageError(f"--devices {text}: write auto, cpu, or GPUs by their numbers, each once, as 0,1")
    return tuple(pick(name) for name in names)


def gpu_uuids(names: Iterable[str]) -> tuple[str, ...] | None:
    """UUIDs, as NVIDIA's driver has them, of the GPUs among torch's devices; None where they cannot be told.

    torch counts in CUDA's order and NVML in that of the bus, so a GPU is found by its PCI address and never by number.
    """
    gpus = sorted({name for name in names if name.startswith("cuda")})
    if not gpus:
        return ()
    import torch

    if torch.version.hip is not None:
        return None
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no bindings or no driver: the meter has none either
        return None
    try:
        return tuple(sorted({_uuid_at(torch.cuda.get_device_properties(torch.device(gpu))) for gpu in gpus}))
    except (pynvml.NVMLError, AttributeError):
        return None
    finally:
        pynvml.nvmlShutdown()


def _uuid_at(properties: Any) -> str:
    """The UUID that the driver has for the GPU at a PCI address."""
    import pynvml

    address = f"{properties.pci_domain_id:08x}:{properties.pci_bus_id:02x}:{properties.pci_device_id:02x}.0"
    return str(pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByPciBusId(address.encode())))


def bound_kernel_caches() -> None:
    """Keep PyTorch's CPU kernels from growing with every new prompt length; to be called before the first operation.

    They compile one matrix product per shape and keep 1,024 of them: some megabytes for each length, which never come
    back. A model meets a few shapes again and again and the others once, so 64 are as fast.
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, "64")


def stored_dtype(config: Mapping[str, Any]) -> str:
    """The number format that a checkpoint is stored in, which is not always what it is computed in."""
    return str(config.get("dtype") or config.get("torch_dtype") or "float32")


def dtype_name(config: Mapping[str, Any], device: str) -> str:
    """The number format to run a dense checkpoint in: its own, except where the device is slow at it.

    On a CPU a 16-bit checkpoint runs in bfloat16 where the CPU multiplies it natively: decoding waits for memory, and
    16-bit weights are half the bytes (SmolLM2 on 2 cores: 38 tokens/s against 23 in float32). A CPU without that
    emulates bfloat16 more slowly than float32, so there it is float32. A checkpoint in float32 stays what it is.
    """
    stored = stored_dtype(config)
    if stored not in ("float16", "bfloat16"):
        return "float32"
    if device != "cpu":
        return stored
    return "bfloat16" if cpu_has_bfloat16() else "float32"


def cpu_has_bfloat16() -> bool:
    """The CPU has instructions for bfloat16 (x86: avx512_bf16 or amx_bf16, Arm: bf16), as the kernel lists them."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    words = {
        word for line in text.splitlines() if line.lower().startswith(("flags", "features")) for word in line.split()
    }
    return not words.isdisjoint({"avx512_bf16", "amx_bf16", "bf16"})
