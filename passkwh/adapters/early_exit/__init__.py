"""Models that may leave before their last layer: exit layout, heads, rules, decoding and training.

Importing this is cheap; torch comes with what the functions import.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from passkwh.errors import UsageError

if TYPE_CHECKING:
    from passkwh.adapters.checkpoint import Checkpoint
    from passkwh.adapters.quantization.make import Meter


def check(exit: str, checkpoint: Checkpoint, language: str) -> None:
    """UsageError for an ``--exit`` that is wrong in itself or, where the model's weights are here, for this model."""
    from passkwh.adapters.early_exit.request import check_base, parse, subject_of

    request = parse(exit)
    if checkpoint.path is None:
        return
    subject = subject_of(request, checkpoint, language)
    if subject.bundle is not None:
        check_base(subject.bundle, checkpoint)
    request.rule(subject)


def prepare(
    checkpoint: Checkpoint, exit: str, progress: Callable[[str], None] | None = None, meter: Meter | None = None
) -> Checkpoint:
    """The checkpoint to run with ``exit``: fine-tuned where the rule's bundle has weights, and quantized after that.

    UsageError where the bundle was made for another checkpoint, or packed weights would have to be fine-tuned.
    """
    from passkwh import adapters
    from passkwh.adapters.early_exit.request import check_base, parse
    from passkwh.adapters.early_exit.tuned import is_tuned, tuned
    from passkwh.adapters.quantization import make as quantize

    bundle = parse(exit).find_bundle(checkpoint)
    if bundle is None or not is_tuned(bundle):
        ready = adapters.prepare(checkpoint, progress, meter)
        if bundle is not None:
            check_base(bundle, ready)
        return ready
    dense = adapters.resolve(checkpoint.name)
    if dense.prequantized:
        raise UsageError(
            f"{bundle.folder} fine-tunes dense weights, and {checkpoint.name} is packed ({dense.quant}): name the "
            f"dense model and add --quant {dense.quant}"
        )
    tell = progress or (lambda _: None)
    found = tuned(adapters.prepare(dense, progress), bundle, tell)
    return found if checkpoint.quant == "none" else quantize.ensure(replace(found, quant=checkpoint.quant), tell, meter)


def adapter_for(kind: Any, exit: str, language: str) -> Callable[[Checkpoint, str], Any]:
    """What makes the adapter of class ``kind`` with early exit, from a prepared checkpoint and a device."""
    from passkwh.adapters.early_exit.adapter import early_exit
    from passkwh.adapters.early_exit.request import parse
    from passkwh.adapters.engines.transformers import TransformersAdapter

    if not issubclass(kind, TransformersAdapter):
        raise UsageError(f"--exit {exit}: this model runs elsewhere, so its layers cannot be left from here")
    return lambda checkpoint, device: early_exit(kind)(checkpoint, device, parse(exit), language)
