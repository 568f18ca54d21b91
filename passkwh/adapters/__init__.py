"""Models made callable: names -> checkpoints -> models, by the engine that runs them. torch comes with ``load``.

``resolve`` says what a name means, ``prepare`` gets its weights ready on this machine, ``load`` makes the model.
Engines and quantizations are objects of the registry (``engines/base.py``, ``quantization/base.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from passkwh.adapters import memory
from passkwh.adapters.checkpoint import Checkpoint, Overrides
from passkwh.adapters.device import listed
from passkwh.adapters.engines import AUTO, choose
from passkwh.adapters.engines.base import (
    Engine,
    LoadOptions,
    Model,
    PlansMemory,
    SupportsEarlyExit,
    SupportsThinking,
    TakesOptions,
)
from passkwh.adapters.memory import memory_free, memory_total
from passkwh.adapters.model_files import ModelFiles
from passkwh.adapters.placement import place
from passkwh.adapters.quantization.lookup import is_made
from passkwh.adapters.resolution import resolve, with_facts
from passkwh.adapters.thinking import AUTO as AUTO_THINKING
from passkwh.cache import CountsSteps, OnStep, check_intact
from passkwh.errors import UsageError
from passkwh.records import Option
from passkwh.registry import ENGINES

if TYPE_CHECKING:
    from passkwh.adapters.early_exit.request import ExitRequest
    from passkwh.adapters.quantization.make import OpenSpan

__all__ = [
    "Checkpoint", "Overrides", "check", "check_concurrency", "check_devices", "check_memory", "check_options",
    "check_thinking", "choose", "load", "memory_free", "memory_needed", "memory_total", "prepare", "resolve",
]  # fmt: skip


def check(
    checkpoint: Checkpoint, engine: str = AUTO, exit: ExitRequest | None = None, language: str = "python"
) -> None:
    """UsageError where no engine, or not the one that was named, runs a checkpoint with this early-exit rule."""
    chosen = choose(checkpoint, engine, exit)
    if exit is not None:
        assert isinstance(chosen, SupportsEarlyExit)  # or it would not have been chosen
        chosen.check_exit(checkpoint, exit, language)


def check_options(checkpoint: Checkpoint, engine: str, options: Mapping[str, Option]) -> None:
    """UsageError for an option that the engine of a checkpoint does not have."""
    chosen = choose(checkpoint, engine)
    if isinstance(chosen, TakesOptions):
        chosen.check_options(options)
    elif options:
        raise UsageError(f"--engine-option {next(iter(options))}: engine {_name(chosen)} has no options: leave it out")


def check_concurrency(checkpoint: Checkpoint, engine: str, concurrency: int) -> None:
    """UsageError where the engine of a checkpoint computes batches and takes no requests one by one."""
    chosen = choose(checkpoint, engine)
    if concurrency > 1 and not getattr(chosen, "takes_requests", False):
        able = [name for name in ENGINES.names() if getattr(ENGINES.get(name), "takes_requests", False)]
        raise UsageError(
            f"--concurrency {concurrency}: engine {_name(chosen)} computes batches and takes no requests one by one: "
            f"write --batch-size {concurrency}, or run with an engine that does ({', '.join(able)})"
        )


def _name(engine: Engine) -> str:
    return next(name for name in ENGINES.names() if ENGINES.get(name) is engine)


def check_thinking(checkpoint: Checkpoint, thinking: str, engine: str = AUTO, exit: ExitRequest | None = None) -> None:
    """UsageError where a checkpoint cannot be told to think so (``Spec.thinking``), as far as its files are here."""
    if thinking == AUTO_THINKING:
        return
    chosen = choose(checkpoint, engine, exit)
    if not checkpoint.chat:
        raise UsageError(f"--thinking {thinking}: {checkpoint.name} is run as a base model, which only continues text")
    if not isinstance(chosen, SupportsThinking):
        raise UsageError(f"--thinking {thinking}: the engine of {checkpoint.name} has no say in it: leave it out")
    chosen.check_thinking(checkpoint, thinking)


def prepare(
    checkpoint: Checkpoint,
    progress: OnStep | None = None,
    meter: OpenSpan | None = None,
    exit: ExitRequest | None = None,
) -> Checkpoint:
    """The checkpoint with its weights on this machine and its revision known: downloads, converts, quantizes.

    Each of these happens once; the result is kept in a cache. ``progress`` gets what is being done, in words; ``meter``
    measures what quantizing costs. With an early-exit rule that comes with fine-tuned weights, it is these. What its
    engine resolved stays as it is.
    """
    if checkpoint.engine is not None or checkpoint.file is not None:
        return checkpoint
    if checkpoint.format == "gguf":
        from passkwh.adapters import gguf

        if progress:
            progress(checkpoint.pending[0])
        here = gguf.download(checkpoint, _count_bytes(progress, checkpoint.pending[0]))
        asked = checkpoint.overrides
        return replace(
            here, chat=here.chat if asked.prompt is None else checkpoint.chat, read=checkpoint.read, overrides=asked
        )
    if exit is not None:
        from passkwh.adapters import early_exit

        return early_exit.prepare(checkpoint, exit, progress, meter)
    from passkwh.adapters import embedded, hub, lora

    report = progress or (lambda _: None)
    if checkpoint.path is None and checkpoint.source == "embedded":
        if not embedded.converted_folder(str(checkpoint.revision)).is_dir():  # by another run since this was resolved
            report(checkpoint.pending[0])
        checkpoint = replace(checkpoint, path=embedded.convert(str(checkpoint.revision)))
    elif checkpoint.path is None:
        asked = checkpoint.overrides
        # The commit that was looked at, not what the branch has become since.
        commit = str(checkpoint.revision).partition("+lora:")[0]
        folder = hub.download(
            checkpoint.location,
            commit,
            asked.trust_remote_code,
            lambda: report(checkpoint.pending[0]),
            _count_bytes(report, checkpoint.pending[0]),
        )
        checkpoint = replace(checkpoint, path=folder)
    if checkpoint.overrides.lora is not None and checkpoint.pending:
        checkpoint = replace(checkpoint, path=lora.merged(checkpoint, report))
    assert checkpoint.path is not None
    if checkpoint.files is None:  # they came with the weights
        checkpoint = with_facts(checkpoint, ModelFiles(checkpoint.path))
    if is_made(checkpoint):
        from passkwh.adapters.quantization import make as quantize

        return quantize.ensure(checkpoint, report, meter)
    return replace(checkpoint, pending=())


def _count_bytes(on_step: OnStep | None, what: str) -> Callable[[int, int], None] | None:
    """How a download tells how far it is, to whom takes counts: in MiB."""
    if not isinstance(on_step, CountsSteps):
        return None
    return lambda here, of: on_step.count(f"{what}, MiB", here // 2**20, -(-of // 2**20))


def check_devices(text: str) -> str:
    """``--devices``, checked. UsageError for a device that is not there."""
    listed(text)
    return text


def load(
    checkpoint: Checkpoint,
    device: str = "auto",
    exit: ExitRequest | None = None,
    language: str = "python",
    engine: str = AUTO,
    **more: Any,
) -> Model:
    """The model, in memory and ready to answer. ``checkpoint`` as ``prepare`` returned it.

    Args:
        device: ``auto``, or as the engine names it.
        exit: the early-exit rule by which its tokens leave.
        language: what is going to be written, for which a bundle may have an agent of its own.
        engine: a name in the registry of engines; ``auto`` takes the first that does not refuse.
        more: other fields of ``LoadOptions``.

    Raises:
        UsageError: the engine refuses the checkpoint, and why.
    """
    if checkpoint.path is not None:
        check_intact(checkpoint.path)
    check_thinking(checkpoint, more.get("thinking", AUTO_THINKING), engine, exit)
    return choose(checkpoint, engine, exit).load(checkpoint, LoadOptions(device, exit, language, **more))


def memory_needed(
    checkpoint: Checkpoint, batch_size: int, max_tokens: int, device: str = "auto", engine: str = AUTO
) -> int:
    """Bytes that a run takes of this machine's memory; ``max_tokens`` is prompt plus completion of one row.

    The engine's own estimate where it makes one; else that of weights in this process, and 0 where the engine has the
    weights elsewhere.
    """
    name = checkpoint.engine or engine
    if name == AUTO:
        return memory.memory_needed(checkpoint, batch_size, max_tokens, device)
    planner = ENGINES.get(name)
    if isinstance(planner, PlansMemory):
        return planner.memory_needed(checkpoint, batch_size, max_tokens, device)
    return 0


def reckoned_memory(model: str, quant: str) -> int | None:
    """Bytes for the weights of a registered model that is not on this machine, by its numbers; None of others."""
    return memory.reckoned(model, quant)


def check_memory(
    checkpoint: Checkpoint, batch_size: int, max_tokens: int, device: str = "auto", engine: str = AUTO
) -> str:
    """The devices that a run takes, as ``load`` wants them. UsageError, with what is needed and free, where it does not
    fit."""
    if checkpoint.engine is not None or checkpoint.format == "gguf" or engine not in (AUTO, "transformers"):
        needed, free = memory_needed(checkpoint, batch_size, max_tokens, device, engine), memory_free(device)
        if needed > free:
            raise UsageError(
                f"{checkpoint.name} needs about {needed / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free: choose a "
                "smaller model, or lower --batch-size and --max-new-tokens"
            )
        return device
    return ",".join(place(checkpoint, batch_size, max_tokens, device).devices)
