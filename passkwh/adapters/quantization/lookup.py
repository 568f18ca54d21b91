"""A quantization by its label: the registered one, with options, or what transformers loads under that label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from passkwh.adapters.checkpoint import Checkpoint
from passkwh.adapters.quantization.base import MakesCheckpoints, Quantization, QuantizesWhileLoading, TakesOptions
from passkwh.adapters.quantization.loaded import LoadedFormat
from passkwh.errors import UsageError
from passkwh.records import Option
from passkwh.registry import QUANTIZATIONS


def quantization(label: str) -> Quantization:
    """The quantization of a checkpoint's label: registered, of a registered family, or what transformers knows.

    Example:
        >>> quantization("compressed-tensors-w4a16").bits
        4
    """
    if label in QUANTIZATIONS:
        registered: Quantization = QUANTIZATIONS.get(label)
        return registered
    for name in QUANTIZATIONS.names():
        if label.startswith(f"{name}-") and isinstance(family := QUANTIZATIONS.get(name), LoadedFormat):
            return replace(family, name=label)
    return LoadedFormat(label, "a format of transformers")


def configured(name: str, options: Mapping[str, Option]) -> Quantization:
    """A registered quantization with its options. UsageError for a name, or an option, that is not known."""
    member: Quantization = QUANTIZATIONS.get(name)
    if not options:
        return member
    if not isinstance(member, TakesOptions):
        raise UsageError(f"--quant-option {next(iter(options))}: {name} has no options")
    return member.with_options(options)


def is_packed_while_loading(checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint's weights are dense on disk and are packed each time that they are loaded."""
    if checkpoint.quant == "none" or checkpoint.prequantized:
        return False
    return isinstance(quantization(checkpoint.quant), QuantizesWhileLoading)


def is_made(checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint is one that is yet to be packed here, into the cache, and not while it is loaded."""
    if checkpoint.quant == "none" or checkpoint.prequantized:
        return False
    return isinstance(quantization(checkpoint.quant), MakesCheckpoints)
