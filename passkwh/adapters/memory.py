"""How much memory a run needs and how much there is, before any weight is loaded."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from passkwh.adapters import checkpoint as folders
from passkwh.adapters import device as devices
from passkwh.adapters import gguf
from passkwh.adapters.checkpoint import Checkpoint
from passkwh.errors import UsageError

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_LIBRARIES = 600 * 2**20
"""What Python, torch, transformers and their work space take besides weights and cache."""
_MARGIN = 1.1
"""For activations, fragmentation and copies while loading."""


def memory_needed(checkpoint: Checkpoint, batch_size: int, max_tokens: int, device: str = "auto") -> int:
    """Bytes for weights, key-value cache and margin; ``max_tokens`` is prompt plus completion of one row.

    From ``config.json`` and file headers only. A checkpoint that is not on this machine yet has neither: then it is
    the registry's number of weights at 16 bits (UsageError where that is unknown too), without the cache.
    """
    if checkpoint.format == "gguf":
        return _gguf_needed(checkpoint, batch_size, max_tokens)
    device = devices.pick(device)
    if checkpoint.path is None:
        if checkpoint.parameters is None:
            raise UsageError(f"{checkpoint.location} is not on this machine yet, so its size is unknown: get it first")
        return int(checkpoint.parameters * 2 * _MARGIN) + _LIBRARIES
    config = folders.config(checkpoint.path)
    config = {**config, **(config.get("text_config") or {})}
    width = _BYTES[devices.dtype_name(config, device)]
    row = key_value_bytes(config, width) * max_tokens + int(config.get("vocab_size", 0)) * 3 * 4
    return int((_weight_bytes(checkpoint, width) + batch_size * row) * _MARGIN) + _LIBRARIES


def _gguf_needed(checkpoint: Checkpoint, batch_size: int, max_tokens: int) -> int:
    """Weights as they lie in the file, a cache in 16 bits, and what llama.cpp's server takes besides."""
    if checkpoint.file is None:
        raise UsageError(f"{checkpoint.location} is not on this machine yet, so its size is unknown: get it first")
    cache = gguf.header(checkpoint.file).key_value_bytes() * batch_size * max_tokens
    return int((checkpoint.file.stat().st_size + cache) * _MARGIN) + _LIBRARIES


def _weight_bytes(checkpoint: Checkpoint, width: int) -> int:
    """Bytes of the weights as they lie in memory: converted to the run's format, or packed."""
    assert checkpoint.path is not None
    if checkpoint.prequantized or checkpoint.parameters is None:
        return sum(file.stat().st_size for file in folders.weight_files(checkpoint.path))
    return checkpoint.parameters * width


def key_value_bytes(config: dict[str, Any], width: int) -> int:
    """Bytes that one more token adds to the cache: layers x key-value heads x head width x 2 (keys and values).

    The thesis's formulas 3.23-3.25 put the number of weights where the number of layers belongs.
    """
    layers = int(config["num_hidden_layers"])
    heads = int(config["num_attention_heads"])
    if "kv_lora_rank" in config:  # DeepSeek: the cache holds one compressed state for all heads, and positions
        return layers * (int(config["kv_lora_rank"]) + int(config["qk_rope_head_dim"])) * width
    head_width = int(config.get("head_dim") or config["hidden_size"] // heads)
    return layers * int(config.get("num_key_value_heads") or heads) * head_width * 2 * width


@functools.cache
def memory_total() -> int:
    """Bytes of the device that models run on: of the largest accelerator, else of this host or its control group."""
    if devices.pick("auto").startswith("cuda"):
        import torch

        return max(torch.cuda.get_device_properties(i).total_memory for i in range(torch.cuda.device_count()))
    import psutil

    total = int(psutil.virtual_memory().total)
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no control group, or "max": no limit
        return total


def memory_free(device: str = "auto") -> int:
    """Bytes that can still be taken on the device; on a CPU within the limit of the process's control group."""
    device = devices.pick(device)
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    free = int(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # no control group, or "max": no limit
        return free
    return max(0, min(free, limit - used))
