"""How much memory a run needs and how much there is, before any weight is loaded."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from passkwh.adapters import device as devices
from passkwh.adapters import gguf
from passkwh.adapters.checkpoint import Checkpoint
from passkwh.adapters.model_files import ModelFiles
from passkwh.adapters.models import base_of, registered
from passkwh.adapters.quantization.lookup import configured, quantization
from passkwh.errors import UsageError
from passkwh.registry import QUANTIZATIONS

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_LIBRARIES = 600 * 2**20
"""What Python, torch, transformers and their work space take besides weights and cache."""
_MARGIN = 1.1
"""For activations, fragmentation and copies while loading."""


def memory_needed(checkpoint: Checkpoint, batch_size: int, max_tokens: int, device: str = "auto") -> int:
    """Bytes for weights, key-value cache and margin; ``max_tokens`` is prompt plus completion of one row.

    From the small files and what is known of the weights, which need not be here. UsageError where nobody says how
    large they are.
    """
    if checkpoint.format == "gguf":
        return _gguf_needed(checkpoint, batch_size, max_tokens)
    device = devices.listed(device)[0]
    cache = batch_size * row_bytes(checkpoint, max_tokens, device)
    return int((weight_bytes(checkpoint, device) + cache) * _MARGIN) + _LIBRARIES


def _gguf_needed(checkpoint: Checkpoint, batch_size: int, max_tokens: int) -> int:
    """Weights as they lie in the file, a cache in 16 bits, and what llama.cpp's server takes besides."""
    if checkpoint.file is None:
        raise UsageError(f"{checkpoint.location} is not on this machine yet, so its size is unknown: get it first")
    cache = gguf.header(checkpoint.file).key_value_bytes() * batch_size * max_tokens
    return int((checkpoint.file.stat().st_size + cache) * _MARGIN) + _LIBRARIES


def needed_by_device(
    checkpoint: Checkpoint, batch_size: int, max_tokens: int, weights: dict[str, int]
) -> dict[str, int]:
    """The same for a model that lies on several devices, by what of its weights lies on each: device -> bytes."""
    total = sum(weights.values()) or 1
    cache = batch_size * row_bytes(checkpoint, max_tokens, next(iter(weights)))
    return {device: int((part + cache * part / total) * _MARGIN) + _LIBRARIES for device, part in weights.items()}


def row_bytes(checkpoint: Checkpoint, max_tokens: int, device: str) -> int:
    """Bytes of one row besides weights: its keys and values, and the scores of its next token."""
    if checkpoint.files is None:
        return 0
    config = ModelFiles(checkpoint.files).text_config
    width = _BYTES[devices.dtype_name(config, device.partition(":")[0])]
    return key_value_bytes(config, width) * max_tokens + int(config.get("vocab_size") or 0) * 3 * 4


def weight_bytes(checkpoint: Checkpoint, device: str) -> int:
    """Bytes of the weights as they lie in memory: converted to the run's format, or packed."""
    if checkpoint.prequantized and checkpoint.weight_bytes is not None:
        return checkpoint.weight_bytes
    if checkpoint.parameters is None:
        if checkpoint.weight_bytes is None:
            raise UsageError(f"nobody says how large {checkpoint.location} is: get it first, with `hf download`")
        return checkpoint.weight_bytes
    config = {} if checkpoint.files is None else ModelFiles(checkpoint.files).text_config
    width = _BYTES[devices.dtype_name(config, device.partition(":")[0])] if config else 2
    if checkpoint.quant == "none":
        return checkpoint.parameters * width
    packing = (
        quantization(checkpoint.quant)
        if checkpoint.prequantized
        else configured(checkpoint.quant, checkpoint.overrides.quant_options)
    )
    # Embeddings stay dense: one matrix, or two where the LM head has its own.
    matrices = 1 if config.get("tie_word_embeddings") else 2
    embedded = int(config.get("vocab_size") or 0) * int(config.get("hidden_size") or 0)
    dense = min(checkpoint.parameters, matrices * embedded)
    return int((checkpoint.parameters - dense) * packing.bits_per_weight / 8) + dense * width


def reckoned(model: str, quant: str) -> int | None:
    """Bytes for the weights of a registered model that is not here, and margin, without a cache; None of others.

    From its numbers of weights and the bits of the quantization: embedding and output layer stay at 16 bits.
    """
    if quant != "none" and quant not in QUANTIZATIONS:
        return None
    known = registered(model)
    if known is None:
        packed = base_of(model)
        if packed is None:
            return None
        known, quant = packed
    bits = 16.0 if quant == "none" else quantization(quant).bits_per_weight
    weights = (known.parameters - known.embedded) * bits / 8 + known.embedded * 2
    return int(weights * _MARGIN) + _LIBRARIES


def key_value_bytes(config: dict[str, Any], width: int) -> int:
    """Bytes that one more token adds to the cache: layers x key-value heads x head width x 2 (keys and values).

    The thesis's formulas 3.23-3.25 put the number of weights where the number of layers belongs.
    """
    layers = _number(config, "num_hidden_layers", "n_layer", "num_layers")
    heads = _number(config, "num_attention_heads", "n_head", "num_heads")
    if not layers or not heads:
        return 0  # a model without attention has no cache that grows
    if config.get("kv_lora_rank"):  # DeepSeek: the cache holds one compressed state for all heads, and positions
        return layers * (int(config["kv_lora_rank"]) + int(config["qk_rope_head_dim"])) * width
    head_width = _number(config, "head_dim") or _number(config, "hidden_size", "n_embd", "d_model") // heads
    return layers * (_number(config, "num_key_value_heads", "multi_query_groups") or heads) * head_width * 2 * width


def _number(config: dict[str, Any], *keys: str) -> int:
    """The first of these keys that has a number, 0 where none has."""
    return next((int(config[key]) for key in keys if isinstance(config.get(key), int)), 0)


@functools.cache
def memory_total(device: str = "auto") -> int:
    """Bytes of the devices that a model may lie on: of all GPUs together, else of this host or its control group."""
    names = devices.listed(device)
    if names[0].startswith("cuda"):
        import torch

        return sum(torch.cuda.get_device_properties(name).total_memory for name in names)
    import psutil

    total = int(psutil.virtual_memory().total)
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no control group, or "max": no limit
        return total


def memory_free(device: str = "auto") -> int:
    """Bytes that can still be taken on the devices together; on a CPU within the process's control group."""
    return sum(map(free_on, devices.listed(device)))


def free_on(name: str) -> int:
    """Bytes that can still be taken on one device."""
    if name.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(name)[0])
    import psutil

    free = int(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # no control group, or "max": no limit
        return free
    return max(0, min(free, limit - used))
