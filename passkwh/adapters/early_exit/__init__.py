"""Models that may leave before their last layer: exit layout, heads, rules, decoding and training.

Importing this is cheap; torch comes with what the functions import.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from passkwh.cache import OnStep
from passkwh.errors import UsageError

if TYPE_CHECKING:
    from passkwh.adapters.checkpoint import Checkpoint
    from passkwh.adapters.early_exit.request import ExitRequest
    from passkwh.adapters.quantization.make import OpenSpan


def parse(text: str | None) -> ExitRequest | None:
    """Read an ``--exit``, once for all that is done with it; None for none. UsageError for what is wrong in itself."""
    if text is None:
        return None
    from passkwh.adapters.early_exit import request

    return request.parse(text)


def check(request: ExitRequest, checkpoint: Checkpoint, language: str) -> None:
    """UsageError for a rule that does not fit a model whose weights are on this machine."""
    from passkwh.adapters.early_exit.request import check_base, model_context

    if checkpoint.path is None:
        return
    context = model_context(request, checkpoint, language)
    if context.bundle is not None:
        check_base(context.bundle, checkpoint)
    request.rule(context)


def prepare(
    checkpoint: Checkpoint,
    request: ExitRequest,
    progress: OnStep | None = None,
    meter: OpenSpan | None = None,
) -> Checkpoint:
    """The checkpoint to run with a rule: fine-tuned where the rule's bundle has weights, and quantized after that.

    UsageError where the bundle was made for another checkpoint, or packed weights would have to be fine-tuned.
    """
    from passkwh import adapters
    from passkwh.adapters.early_exit.merged_lora import merged_lora
    from passkwh.adapters.early_exit.request import check_base
    from passkwh.adapters.quantization import make as quantize
    from passkwh.adapters.quantization.lookup import is_made

    bundle = request.find_bundle(checkpoint)
    if bundle is None or not bundle.changes_weights:
        ready = adapters.prepare(checkpoint, progress, meter)
        if bundle is not None:
            check_base(bundle, ready)
        return ready
    dense = adapters.resolve(checkpoint.name, overrides=replace(checkpoint.overrides, quant_options={}))
    if dense.prequantized:
        raise UsageError(
            f"{bundle.folder} fine-tunes dense weights, and {checkpoint.name} is packed ({dense.quant}): name the "
            f"dense model and add --quant {dense.quant}"
        )
    report = progress or (lambda _: None)
    merged = merged_lora(adapters.prepare(dense, progress), bundle, report)
    wanted = replace(merged, quant=checkpoint.quant, overrides=checkpoint.overrides)
    return quantize.ensure(wanted, report, meter) if is_made(wanted) else wanted
