"""Code for a model that was fine-tuned on CodeXGLUE's token form: prompts are read into it, answers written out of it.

GREEN-CODE's fine-tuned models read ``def f ( a ) : <EOL> return a`` and write the like. What an editor sends and wants
is code. Only texts that are continued are turned, not chats; a text that is in the token form already stays, and so
does its answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from passkwh.adapters.engines.base import Decoding
from passkwh.errors import UsageError
from passkwh.prompts import Prompt, TextPrompt
from passkwh.serve.limits import CHARACTERS_PER_TOKEN, Limits, invalid
from passkwh.serve.request import GenerationRequest

if TYPE_CHECKING:
    from passkwh.adapters.checkpoint import Checkpoint
    from passkwh.adapters.early_exit.bundle import Bundle
    from passkwh.adapters.early_exit.request import ExitRequest

FORMS = ("auto", "code", "tokens")
LINE_END = "<EOL>"


@dataclass(frozen=True)
class ReadPrompt:
    """A prompt as the model gets it."""

    prompt: Prompt
    decoding: Decoding
    """With stops that the model can write."""
    written: Callable[[str, bool], str] | None
    """From what the model wrote, and whether nothing follows, to what is sent; None: as it is."""


class TextForm:
    """The form of a server's texts; ``language`` is the one of code that does not tell its own, None for no turning."""

    def __init__(self, language: str | None) -> None:
        self._language = language

    def read_all(self, request: GenerationRequest, limits: Limits) -> list[ReadPrompt]:
        """The prompts of a request in the model's form; as they are where one is too long to be read, and refused."""
        most = CHARACTERS_PER_TOKEN * limits.prompt_tokens
        too_long = any(isinstance(prompt, TextPrompt) and len(prompt.text) > most for prompt in request.prompts)
        form = TextForm(None) if too_long else self
        return [form.read(prompt, request.decoding) for prompt in request.prompts]

    def read(self, prompt: Prompt, decoding: Decoding) -> ReadPrompt:
        """A prompt in the model's form. Refused (400) for code that cannot be read."""
        as_it_is = ReadPrompt(prompt, decoding, None)
        if self._language is None or not isinstance(prompt, TextPrompt):
            return as_it_is
        from passkwh.benchmarks.completion.at_cursor import AtCursor, is_token_form, language_of

        if is_token_form(prompt.text):
            return as_it_is
        try:
            cursor = AtCursor(prompt.text, language_of(prompt.text, self._language))
        except UsageError as error:  # the library that reads Java is not here
            raise invalid(str(error)) from None
        if not cursor.prompt:  # no code yet: a comment, or nothing but space
            return as_it_is
        own = tuple(dict.fromkeys(LINE_END if stop == "\n" else stop for stop in decoding.stop))
        return ReadPrompt(
            TextPrompt(cursor.prompt),
            replace(decoding, stop=own),
            lambda text, complete: cursor.code(text, complete=complete),
        )


def check_form(form: str) -> None:
    """UsageError for a ``--text-form`` that there is not."""
    if form not in FORMS:
        raise UsageError(f"--text-form {form}: write {', '.join(FORMS[:-1])} or {FORMS[-1]}")


def of_rule(form: str, rule: ExitRequest | None, checkpoint: Checkpoint) -> TextForm:
    """The form that ``--text-form`` names, for a server's early-exit rule.

    Raises:
        UsageError: ``code`` without a fine-tuned bundle, whose form alone is known.
    """
    bundle = rule.find_bundle(checkpoint) if rule is not None and form != "tokens" else None
    tuned = bundle is not None and bundle.changes_weights
    if form == "code" and not tuned:
        raise UsageError("--text-form code is for a model fine-tuned on CodeXGLUE's form: give --exit with its bundle")
    return TextForm(_language(rule, bundle) if rule and bundle and tuned else None)


def _language(rule: ExitRequest, bundle: Bundle) -> str:
    """The language of the rule's agent; Java, too, where all of the bundle's agents are of it."""
    chosen = rule.spec.options.get("agent")
    names = [chosen] if chosen else bundle.agents()
    return "java" if names and all(name.startswith("java") for name in names) else "python"
