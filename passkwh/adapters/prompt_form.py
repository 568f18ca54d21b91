"""Base or chat: whether a model continues a text or answers in its chat template, and what says so."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from passkwh.adapters.model_files import ModelFiles

PromptForm = Literal["base", "chat"]

_BASE_NAME = re.compile(r"(?i)(^|[-_.])(base|pt|pretrained)([-_.]|$)")
_CHAT_NAME = re.compile(r"(?i)(^|[-_.])(instruct|chat|it)([-_.]|$)")


@dataclass(frozen=True)
class Reading:
    """How a model is asked, with what says so."""

    chat: bool
    why: str
    guess: bool = False
    """The files leave it open, or the name speaks against them."""


def read_form(files: ModelFiles, name: str) -> Reading:
    """How a model is asked, by its files.

    A template alone is no sign: base models carry their family's. A model that answers ends its turns, so a chat model
    has among its end tokens one that its template writes. The name decides only where the files leave the
    question open, and against a template where it says that the model is a base model; then it is a guess.
    """
    template, short = files.chat_template, name.rstrip("/").rpartition("/")[2]
    if template is None:
        return Reading(False, "it has no chat template")
    base_name = is_base_name(short)
    ends = {text for number in files.end_tokens if (text := files.tokens.get(number))}
    if files.end_token_text is not None:
        ends.add(files.end_token_text)
    if not ends:
        if base_name:
            return Reading(False, "it has a chat template, and its name says base", guess=True)
        return Reading(True, "it has a chat template", guess=True)
    written = sorted(end for end in ends if end in template)
    if not written and re.search(r"\beos_token\b", template) and files.end_token_text is not None:
        written = [files.end_token_text]
    if written and base_name:
        return Reading(False, f"its name says base, though its chat template ends turns with {written[0]}", guess=True)
    if written:
        return Reading(True, f"its chat template ends turns with its end token {written[0]}")
    if _CHAT_NAME.search(short):
        return Reading(
            True, "it has a chat template, and its name says so, though no end token ends a turn", guess=True
        )
    return Reading(False, f"its chat template ends turns with no end token of the model ({', '.join(sorted(ends))})")


def is_base_name(name: str) -> bool:
    """The name is one that publishers give to models that continue text."""
    return bool(_BASE_NAME.search(name)) and not _CHAT_NAME.search(name)
