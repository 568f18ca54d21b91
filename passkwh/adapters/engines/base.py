"""Contracts: an engine loads checkpoints into models; a model renders prompts, completes them and frees its memory.

What an engine or a model can do besides is a protocol of its own: :class:`ResolvesNames`, :class:`SupportsEarlyExit`,
:class:`SupportsThinking` and :class:`PlansMemory` of engines, :class:`SupportsTokenOffsets`,
:class:`SupportsTeacherForcing`, :class:`TakesRequests` and :class:`Watchable` of models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from passkwh.prompts import Prompt
from passkwh.records import Drafts, FinishReason, ModelInfo, Option, Reasoning

if TYPE_CHECKING:
    from passkwh.adapters.checkpoint import Checkpoint
    from passkwh.adapters.early_exit.request import ExitRequest

# ---------------------------------------------------------------- engines


@dataclass(frozen=True)
class LoadOptions:
    """How a checkpoint is loaded."""

    device: str = "auto"
    """``auto``, or a device as the engine names it, for example ``cpu`` or ``cuda:1``."""
    exit: ExitRequest | None = None
    """Early-exit rule; None where tokens run through all layers. Only for an engine that ``SupportsEarlyExit``."""
    language: str = "python"
    """Programming language that is going to be written: early exit may have an agent for it."""
    parallel: int = 1
    """Prompts that are in the model at a time: rows of a batch, or requests in flight."""
    max_tokens: int | None = None
    """Prompt and completion of the longest row, roughly; None where that is not known."""
    options: Mapping[str, Option] = field(default_factory=dict)
    """The engine's own options (``--engine-option``). Only for an engine that ``TakesOptions``."""
    log: Path | None = None
    """Where a server that the engine starts writes what it prints."""
    report: Callable[[str], None] = lambda stage: None
    """Is handed what loading is doing, in words."""
    thinking: str = "auto"
    """``Spec.thinking``: as the model does by itself, on, off, an effort, or most tokens. Only for an engine that
    ``SupportsThinking``."""


class Engine(Protocol):
    """The program that computes (registry ``ENGINES``). Importing its module is cheap; what it needs comes with load.

    Example:
        >>> class Parrot:
        ...     summary = "answers with the prompt"
        ...     def refusal(self, checkpoint): return None if checkpoint.engine == "parrot" else "it has no weights"
        ...     def load(self, checkpoint, options): return ParrotModel(checkpoint)
    """

    @property
    def summary(self) -> str:
        """One line for ``bench list``."""
        ...

    def refusal(self, checkpoint: Checkpoint) -> str | None:
        """Why it cannot run a checkpoint, with the command that gets what is missing; None where it can.

        Reads the checkpoint's files where they are here, and nothing heavy. It is asked of checkpoints in its own
        format: safetensors, or another that its attribute ``format`` names (``gguf``).
        """
        ...

    def load(self, checkpoint: Checkpoint, options: LoadOptions) -> Model:
        """The model, in memory and ready to answer. ``checkpoint`` as ``passkwh.adapters.prepare`` returned it."""
        ...


@runtime_checkable
class ResolvesNames(Protocol):
    """An engine with model names of its own, such as ``openai:URL#MODEL``."""

    def resolve(self, name: str, quant: str) -> Checkpoint | None:
        """The checkpoint that a name means to this engine, None for a name that is not its own; ``quant`` as --quant.

        Such a checkpoint is run by this engine and not prepared further (``Checkpoint.engine``, source ``engine``).
        UsageError where the name is its own but wrong.
        """
        ...


@runtime_checkable
class SupportsEarlyExit(Protocol):
    """An engine whose models can run an early-exit rule."""

    def check_exit(self, checkpoint: Checkpoint, exit: ExitRequest, language: str) -> None:
        """UsageError for a rule that does not fit the model, as far as its files are here."""
        ...


@runtime_checkable
class SupportsThinking(Protocol):
    """An engine whose models can be told whether, or how much, to think before they answer."""

    def check_thinking(self, checkpoint: Checkpoint, thinking: str) -> None:
        """UsageError for what a model cannot be told, as far as its files are here; ``thinking`` is never ``auto``."""
        ...


@runtime_checkable
class ChecksInstallation(Protocol):
    """An engine that needs more than this package brings. (A quantization always says so.)"""

    def missing(self) -> str | None:
        """What it lacks on this machine, with the command that gets it; None where it is ready (``bench doctor``)."""
        ...


@runtime_checkable
class TakesOptions(Protocol):
    """An engine with options of its own (``--engine-option``)."""

    def check_options(self, options: Mapping[str, Option]) -> None:
        """UsageError for an option that it does not have, or a value that it cannot take."""
        ...


@runtime_checkable
class PlansMemory(Protocol):
    """An engine that knows what a run takes of this machine's memory."""

    def memory_needed(self, checkpoint: Checkpoint, batch_size: int, max_tokens: int, device: str) -> int:
        """Bytes for weights, key-value cache and margin; ``max_tokens`` is prompt plus completion of one row."""
        ...


# ---------------------------------------------------------------- models


@dataclass(frozen=True)
class Decoding:
    """How completions are drawn. ``temperature`` 0 is greedy."""

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    """A completion ends before the first of these, a chat's where it stands in the answer and not in the thinking."""


@dataclass(frozen=True)
class Completion:
    """What a model answered to one request."""

    text: str
    """The answer, without what was thought before it."""
    prompt_tokens: int
    """Tokens of the prompt that the model read: none where the prompt does not fit its context."""
    completion_tokens: int
    """Tokens generated, of thinking, too."""
    finish_reason: FinishReason
    first_token_ns: int | None
    """Monotonic time at which the batch's first token was there; None where that cannot be known."""
    arrivals_ns: tuple[int, ...] = ()
    """Monotonic times at which pieces of the answer came, in order; empty where it came at once."""
    cached_tokens: int | None = None
    """Prompt tokens that were not computed, because a server had them from an earlier request; None: not known."""
    retries: int = 0
    """How often a server was asked again, because it was busy or broke off its answer."""
    exit_layers: tuple[int, ...] | None = None
    """Layers that each token ran through; None for a model without early exit."""
    drafts: Drafts | None = None
    """What became of drafted tokens; None for a model without drafts."""
    reasoning: Reasoning | None = None
    """What was thought before the answer; None where nothing was."""
    failure: str = ""
    """Why there is no completion, in a line; empty where there is one."""


def over_context(why: str) -> Completion:
    """The completion of a prompt that does not fit the model's context: there is none, and the run goes on."""
    return Completion("", 0, 0, "context", None, failure=why)


class Model(Protocol):
    """A model that answers batches of prompts. An engine loads it (see ``passkwh.adapters.load``)."""

    @property
    def info(self) -> ModelInfo:
        """The checkpoint and how it is run."""
        ...

    def render(self, prompt: Prompt) -> str:
        """The prompt exactly as the model reads it (a chat in its template); part of a sample's identity."""
        ...

    def generate(self, prompts: Sequence[Prompt], decoding: Decoding, seeds: Sequence[int]) -> list[Completion]:
        """Complete prompts as one batch, one seed a row; returns when the device has finished."""
        ...

    def close(self) -> None:
        """Free the model's memory."""
        ...


@runtime_checkable
class TakesRequests(Protocol):
    """A model that takes prompts one by one while it computes others (``bench run --concurrency``).

    Its engine says so with an attribute ``takes_requests``, so that a run can be planned before it is loaded.
    """

    def complete(self, prompt: Prompt, decoding: Decoding, seed: int) -> Completion:
        """Submit one prompt, and return its completion when it ends, with the times at which its pieces came.

        Called by as many threads at a time as ``LoadOptions.parallel`` says. UsageError, in a line, for whatever goes
        wrong, as in ``generate``.
        """
        ...


@runtime_checkable
class KeepsLog(Protocol):
    """A model whose engine writes a log."""

    def move_log(self, path: Path) -> None:
        """Go on writing it at ``path``, on the same disk as ``LoadOptions.log``."""
        ...


@runtime_checkable
class SupportsTokenOffsets(Protocol):
    """A model that can say where a text's tokens end, without running the model."""

    def token_ends(self, text: str) -> list[int]:
        """End offset, in characters, of each token of ``text`` as the model reads it; a start token ends at 0."""
        ...


@runtime_checkable
class SupportsTokenizerFile(Protocol):
    """A model whose prompts another process can count the tokens of."""

    def tokenizer_file(self) -> str | None:
        """The content of a ``tokenizer.json`` that gives the tokens of ``token_ends``; None where there is none."""
        ...


TextSoFar = Callable[[int], str]
"""A row's number in its batch -> the text it has so far: not cut at stop strings, the last character perhaps cut."""

Watch = Callable[[TextSoFar], Sequence[bool]]
"""Called after every token of a batch; True for each row that nobody waits for any more: it ends there."""


@runtime_checkable
class Watchable(Protocol):
    """A model whose batches can be followed, and rows of them ended, while they are generated."""

    watch: Watch | None
    """Follows the batches from now on; None for nobody. Set by the thread that calls ``generate``, between batches."""


@runtime_checkable
class SupportsTeacherForcing(SupportsTokenOffsets, Protocol):
    """A model that can read a text and say which of its tokens it would have written itself (teacher forcing)."""

    def teacher_force(self, texts: Sequence[str]) -> list[Completion]:
        """Read texts as one batch, in one forward pass; returns when the device has finished.

        A completion's ``text`` has one character for each token of ``token_ends``: ``FORCED_HIT`` where the most likely
        token after all before it is that token, ``FORCED_MISS`` where it is another, ``FORCED_FIRST`` for the first,
        which nothing stands before. No token is generated, so ``completion_tokens`` is 0.
        """
        ...
