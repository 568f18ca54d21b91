"""Prompts: what a benchmark asks, in the forms that models are asked in. Stands below models and benchmarks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TextPrompt:
    """A text that the model continues as it is."""

    text: str


@dataclass(frozen=True)
class ChatPrompt:
    """A conversation that the model answers, in its own chat template."""

    user: str
    system: str | None = None
    answer: str = ""
    """How the answer begins; it is not part of the completion. Left out where the answer follows a thinking phase."""


Prompt = TextPrompt | ChatPrompt
"""What engines are given."""


@dataclass(frozen=True)
class InfillPrompt:
    """A gap between two texts that the model fills: a text to continue, once the model's tokens for it are known."""

    prefix: str
    suffix: str


@dataclass(frozen=True)
class Request:
    """One task as a model may be asked it: the form is chosen by what kind of model it is (:meth:`prompt`)."""

    text: str
    """What a base model continues."""
    instruction: str
    """What a chat model is asked (the user's turn)."""
    response_prefix: str = ""
    """How the answer of a chat begins; it is not part of the completion."""
    stop: tuple[str, ...] = ()
    """A base model's completion is cut before the first of these."""
    chat_stop: tuple[str, ...] = ()
    """A chat's answer is cut before the first of these; what is thought before the answer is not."""
    raw: bool = False
    """Every model continues ``text`` as it is, a chat model too."""
    suffix: str | None = None
    """What stands after a gap that follows ``text``: the model fills it. Goes with ``raw``."""
    forced: bool = False
    """Nothing is written: the model reads ``text`` and says what it would have written (teacher forcing)."""

    def continued(self, completion: str) -> str:
        """``text`` with a completion of it, and what stands after the gap where there is one."""
        return f"{self.text}{completion}{self.suffix or ''}"

    def is_chat(self, chat: bool) -> bool:
        """Whether a model that is a chat model (``chat``) is asked in a chat."""
        return chat and not self.raw

    def stops(self, chat: bool) -> tuple[str, ...]:
        """What ends the completion of such a model."""
        return self.chat_stop if self.is_chat(chat) else self.stop

    @property
    def characters(self) -> int:
        """Of the prompt of a model that continues text."""
        return len(self.text) + len(self.suffix or "")

    def prompt(self, chat: bool, system: str | None = None) -> Prompt | InfillPrompt:
        """The prompt for a chat model, ``system`` being its system prompt, or for one that continues or fills text.

        Example:
            >>> Request("def f():", "Write f.").prompt(chat=True)
            ChatPrompt(user='Write f.', system=None, answer='')
        """
        if self.is_chat(chat):
            return ChatPrompt(self.instruction, system, self.response_prefix)
        return TextPrompt(self.text) if self.suffix is None else InfillPrompt(self.text, self.suffix)


FORCED_HIT, FORCED_MISS, FORCED_FIRST = "1", "0", "-"
"""Teacher forcing's answer for one token: the model would have written it, would have written another one, and the
first token, which has nothing before it."""
