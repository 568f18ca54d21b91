"""What the runner needs of a model: an adapter is a model made callable in one way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from passkwh.records import ModelInfo


@dataclass(frozen=True)
class Request:
    """One task as a model may be asked it; the adapter picks the form that fits its model."""

    text: str
    """What a base model continues."""
    instruction: str
    """What an instruct model is asked (the user's turn)."""
    response_prefix: str = ""
    """How the assistant's turn begins; it is not part of the completion."""
    stop: tuple[str, ...] = ()
    """A base model's completion is cut before the first of these."""
    raw: bool = False
    """Every model continues ``text`` as it is, an instruct model too: no chat template, no ``instruction``."""
    forced: bool = False
    """Nothing is written: the model reads ``text`` and tells what it would have written (see ``Forces``)."""


@dataclass(frozen=True)
class Decoding:
    """How completions are drawn. ``temperature`` 0 is greedy."""

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    """Requests' ``stop``: a base model's completion ends before the first of these; a chat model ignores them."""


@dataclass(frozen=True)
class Completion:
    """What a model answered to one request."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: Literal["stop", "length"]
    first_token_ns: int | None
    """Monotonic time at which the batch's first token was there; None where the adapter cannot know."""
    exit_layers: tuple[int, ...] | None = None
    """Layers that each token ran through; None for an adapter without early exit."""


class Adapter(Protocol):
    """A model that answers batches of requests. Loading happens on construction (see ``passkwh.adapters.load``)."""

    @property
    def info(self) -> ModelInfo:
        """The checkpoint and how it is run."""
        ...

    def render(self, request: Request) -> str:
        """The prompt exactly as the model reads it (chat template applied where it has one)."""
        ...

    def generate(self, prompts: Sequence[str], decoding: Decoding, seeds: Sequence[int]) -> list[Completion]:
        """Complete rendered prompts as one batch, one seed a row; returns when the device has finished."""
        ...

    def close(self) -> None:
        """Free the model's memory."""
        ...


@runtime_checkable
class TellsTokens(Protocol):
    """An adapter that can say where a text's tokens end, without running the model."""

    def token_ends(self, text: str) -> list[int]:
        """End offset, in characters, of each token of ``text`` as the model reads it; a start token ends at 0."""
        ...


TextSoFar = Callable[[int], str]
"""A row's number in its batch -> the text it has so far: not cut at stop strings, the last character perhaps cut."""

Watch = Callable[[TextSoFar], Sequence[bool]]
"""Called after every token of a batch; True for each row that nobody waits for any more: it ends there."""


@runtime_checkable
class Watchable(Protocol):
    """An adapter whose batches can be followed, and rows of them ended, while they are generated."""

    watch: Watch | None
    """Follows the batches from now on; None for nobody. Set by the thread that calls ``generate``, between batches."""


FORCED_HIT, FORCED_MISS, FORCED_FIRST = "1", "0", "-"


@runtime_checkable
class Forces(TellsTokens, Protocol):
    """An adapter that can read a text and say which of its tokens it would have written itself (teacher forcing)."""

    def force(self, texts: Sequence[str]) -> list[Completion]:
        """Read texts as one batch, in one forward pass; returns when the device has finished.

        A completion's ``text`` has one character for each token of ``token_ends``: ``FORCED_HIT`` where the most likely
        token after all before it is that token, ``FORCED_MISS`` where it is another, ``FORCED_FIRST`` for the first,
        which nothing stands before. No token is generated, so ``completion_tokens`` is 0.
        """
        ...
