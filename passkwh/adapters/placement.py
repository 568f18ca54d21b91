"""Where a model lies: on one device where it fits, else its layers over several (accelerate's device map)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from passkwh.adapters import device as devices
from passkwh.adapters import memory
from passkwh.adapters.checkpoint import Checkpoint
from passkwh.adapters.model_files import ModelFiles
from passkwh.adapters.silence import silence_libraries
from passkwh.errors import UsageError

_SHARE = 1.05
"""Weights of a device may exceed an even share by so much before they go on to the next."""


@dataclass(frozen=True)
class Placement:
    """Which module lies where."""

    device_map: Mapping[str, str]
    """Module -> device; empty where all lies on one."""
    weights: Mapping[str, int]
    """Device -> bytes of weights on it."""

    @property
    def devices(self) -> tuple[str, ...]:
        """Those that hold something, the one that takes the tokens first."""
        return tuple(self.weights)


def place(checkpoint: Checkpoint, batch_size: int, max_tokens: int, wanted: str = "auto") -> Placement:
    """Where a checkpoint is going to lie; ``max_tokens`` is prompt plus completion of one row.

    With ``auto`` that is the first device on which it fits, and all of them together where it fits on none. Devices
    that are named are all used.

    Raises:
        UsageError: it fits nowhere, with what is needed and what is free, by device.
    """
    names = devices.listed(wanted)
    if len(names) > 1 and wanted == "auto":
        needed = memory.memory_needed(checkpoint, batch_size, max_tokens, names[0])
        names = next(((name,) for name in names if needed <= memory.free_on(name)), names)
    if len(names) == 1:
        needed_on = {names[0]: memory.memory_needed(checkpoint, batch_size, max_tokens, names[0])}
        placement = Placement({}, {names[0]: memory.weight_bytes(checkpoint, names[0])})
    else:
        placement = split(checkpoint, {name: memory.free_on(name) for name in names})
        needed_on = memory.needed_by_device(checkpoint, batch_size, max_tokens, dict(placement.weights))
    lacking = [(name, needed) for name, needed in needed_on.items() if needed > memory.free_on(name)]
    if lacking:
        parts = ", ".join(
            f"about {needed / 2**30:.1f} GiB on {name} and {memory.free_on(name) / 2**30:.1f} GiB are free"
            for name, needed in lacking
        )
        raise UsageError(
            f"{checkpoint.name} needs {parts}: choose a smaller model, a --quant, or lower --batch-size and "
            "--max-new-tokens"
        )
    return placement


def split(checkpoint: Checkpoint, free: Mapping[str, int]) -> Placement:
    """A checkpoint's layers over several devices, in their order and evenly; packed weights with their packed size.

    Args:
        checkpoint: its small files suffice; no weight is read.
        free: device -> bytes that may be taken on it.

    Raises:
        UsageError: the devices together cannot hold the weights.
    """
    from accelerate import infer_auto_device_map
    from accelerate.utils import compute_module_sizes

    model = skeleton(checkpoint)
    names = list(free)
    weights = memory.weight_bytes(checkpoint, names[0])
    sizes = compute_module_sizes(model)
    # accelerate reckons with the skeleton's dense sizes: so the devices are made larger as weights are packed smaller.
    scale = sizes[""] / max(weights, 1)
    largest = max((sizes[name] for name, part in model.named_modules() if _stays_whole(model, part)), default=0)
    even = sizes[""] * _SHARE / len(names) + largest
    limits: dict[int | str, int] = {place: int(min(free[name] * scale, even)) for place, name in enumerate(names[:-1])}
    limits[len(names) - 1] = int(free[names[-1]] * scale)
    with silence_libraries():
        mapped = infer_auto_device_map(model, {**limits, "cpu": 0, "disk": 2**62}, model._no_split_modules)
    if "disk" in mapped.values() or "cpu" in mapped.values():
        raise UsageError(
            f"{checkpoint.name} has {weights / 2**30:.1f} GiB of weights and {', '.join(names)} have "
            f"{sum(free.values()) / 2**30:.1f} GiB free: choose a smaller model, a --quant or more --devices"
        )
    device_map = {module: names[int(place)] for module, place in mapped.items()}
    held = dict.fromkeys(dict.fromkeys(device_map.values()), 0.0)
    for module, name in device_map.items():
        held[name] += sizes[module] / scale
    return Placement(device_map, {name: int(part) for name, part in held.items()})


def skeleton(checkpoint: Checkpoint) -> Any:
    """The model's modules without weights, dense, by its configuration alone."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    assert checkpoint.files is not None
    trust = checkpoint.overrides.trust_remote_code
    with silence_libraries():
        config = AutoConfig.from_pretrained(checkpoint.files, local_files_only=True, trust_remote_code=trust)
        for part in (config, config.get_text_config()):
            if hasattr(part, "quantization_config"):
                del part.quantization_config
        dtype = getattr(torch, devices.dtype_name(ModelFiles(checkpoint.files).text_config, "cuda"))
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=trust)
    model.tie_weights()
    return model


def _stays_whole(model: Any, part: Any) -> bool:
    """A module that is never split over devices, a layer mostly, because what goes around it must come by whole."""
    return type(part).__name__ in set(model._no_split_modules or ())
