"""Models made callable: names -> checkpoints -> adapters. Importing this is cheap; torch comes with ``load``.

A new family is one new file and one line in ``ADAPTERS``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from passkwh.adapters.checkpoint import Checkpoint, content_revision, count_parameters
from passkwh.adapters.device import bound_kernel_caches
from passkwh.adapters.engines.base import Model
from passkwh.adapters.hub import QUANTS, resolve
from passkwh.adapters.memory import check_memory, memory_free, memory_needed

if TYPE_CHECKING:
    from passkwh.adapters.quantization.make import Meter

__all__ = [
    "ADAPTERS", "QUANTS", "Checkpoint", "check_memory", "load", "memory_free", "memory_needed", "prepare", "resolve",
]  # fmt: skip

ADAPTERS = {
    "base": "passkwh.adapters.engines.transformers:TransformersAdapter",
    "instruct": "passkwh.adapters.engines.transformers:TransformersAdapter",
    "gptq-int4": "passkwh.adapters.quantization.gptq:GptqAdapter",
    "gptq-int8": "passkwh.adapters.quantization.gptq:GptqAdapter",
    "awq": "passkwh.adapters.quantization.awq:AwqAdapter",
    "openai": "passkwh.adapters.engines.endpoint:OpenAiAdapter",
    "openai-chat": "passkwh.adapters.engines.endpoint:OpenAiAdapter",
}
"""Name of an adapter -> where its class is. It is called with a checkpoint and a device."""


def prepare(
    checkpoint: Checkpoint,
    progress: Callable[[str], None] | None = None,
    meter: Meter | None = None,
    exit: str | None = None,
) -> Checkpoint:
    """The checkpoint with its weights on this machine and its revision known: downloads, converts, quantizes.

    Each of these happens once; the result is kept in a cache. ``progress`` is told what is being done, in words;
    ``meter`` measures what quantizing costs. With an early-exit rule that comes with fine-tuned weights, it is these.
    """
    if checkpoint.source == "endpoint":
        return checkpoint  # its server has the weights
    if exit is not None:
        from passkwh.adapters import early_exit

        return early_exit.prepare(checkpoint, exit, progress, meter)
    from passkwh.adapters import embedded, hub

    tell = progress or (lambda _: None)
    if checkpoint.path is None and checkpoint.source == "embedded":
        tell(checkpoint.pending[0])
        checkpoint = replace(checkpoint, path=embedded.convert(str(checkpoint.revision)))
    elif checkpoint.path is None:
        folder = hub.download(checkpoint.location, lambda: tell(checkpoint.pending[0]))
        checkpoint = replace(checkpoint, path=folder, revision=folder.name)
    if checkpoint.quant != "none" and not checkpoint.prequantized:
        from passkwh.adapters.quantization import make as quantize

        return quantize.ensure(checkpoint, tell, meter)
    assert checkpoint.path is not None
    return replace(
        checkpoint,
        pending=(),
        revision=checkpoint.revision or content_revision(checkpoint.path),
        parameters=checkpoint.parameters or count_parameters(checkpoint.path),
    )


def load(checkpoint: Checkpoint, device: str = "auto", exit: str | None = None, language: str = "python") -> Model:
    """The model, in memory and ready to answer. ``checkpoint`` as ``prepare`` returned it.

    With an early-exit rule, its tokens leave by that; ``language`` is what is going to be written, for which there
    may be an agent of its own.
    """
    bound_kernel_caches()
    module, _, name = ADAPTERS[checkpoint.adapter].partition(":")
    make: Callable[[Checkpoint, str], Any] = getattr(importlib.import_module(module), name)
    if exit is not None:
        from passkwh.adapters import early_exit

        make = early_exit.adapter_for(make, exit, language)
    adapter: Model = make(checkpoint, device)
    return adapter
