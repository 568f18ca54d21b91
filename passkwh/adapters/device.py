"""Which device a model runs on, and in which number format. Needs no torch until a device is looked for."""

from __future__ import annotations

import os
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
        raise UsageError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from None
    return device


def bound_kernel_caches() -> None:
    """Keep PyTorch's CPU kernels from growing with every new prompt length; to be called before the first operation.

    They compile one matrix product per shape and keep 1,024 of them: some megabytes for each length, which never come
    back. A model meets a few shapes again and again and the others once, so 64 are as fast.
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, "64")


def dtype_name(config: dict[str, Any], device: str) -> str:
    """The number format to run a dense checkpoint in: its own, except where the device is slow at it.

    On a CPU a 16-bit checkpoint runs in bfloat16 where the CPU multiplies it natively: decoding waits for memory, and
    16-bit weights are half the bytes (SmolLM2 on 2 cores: 38 tokens/s against 23 in float32). A CPU without that
    emulates bfloat16 more slowly than float32, so there it is float32. A checkpoint in float32 stays what it is.
    """
    stored = str(config.get("dtype") or config.get("torch_dtype") or "float32")
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
