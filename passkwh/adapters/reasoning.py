"""Whether a model thinks before it answers, and how it is told to: read from its chat template and its tokenizer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from passkwh.adapters.model_files import ModelFiles

Switch = Literal["enable_thinking", "thinking", "reasoning_effort", "thinking_budget", "/think"]
"""The template's own variable that turns thinking on and off, or sets how much; ``/think``: it has none, and ``/think``
or ``/no_think`` in a message does."""

_SWITCHES: tuple[Switch, ...] = ("enable_thinking", "thinking", "reasoning_effort", "thinking_budget")
_STRING = re.compile(r"'[^']*'|\"[^\"]*\"")
_HARMONY = ("<|channel|>analysis<|message|>", "<|end|>")
"""OpenAI's harmony format: thinking is a message in a channel of its own."""
_MARKER = re.compile(
    r"<\|?(?:\w+:)?(?:think(?:ing)?|thought|reason(?:ing)?|START_THINKING|begin_of_thought|inner_prefix)\|?>"
    r"|\[THINK\]|◁think▷",
    re.IGNORECASE,
)
_LEVEL = re.compile(r"reasoning_effort\s*(?:==|!=|in)\s*(\[[^\]]*\]|\([^)]*\)|'[^']*'|\"[^\"]*\")")


@dataclass(frozen=True)
class Reasoning:
    """The thinking phase of a model that has one."""

    switch: Switch | None
    """None where the model always thinks and its template cannot change that."""
    levels: tuple[str, ...] = ()
    """Values of ``reasoning_effort`` that the template compares with; empty where it takes whatever it is given."""
    start: str | None = None
    """What opens the phase, as ``<think>``; None where neither template nor tokenizer shows it."""
    end: str | None = None
    """What closes it, as ``</think>``."""


def read_reasoning(files: ModelFiles) -> Reasoning | None:
    """The thinking phase of a model by its small files, see :func:`reasoning_of`."""
    return reasoning_of(files.chat_template, "\n".join(files.tokens.values()))


def reasoning_of(template: str | None, tokens: str) -> Reasoning | None:
    """The thinking phase that a model's chat template knows; None for a model that does not think, or has no template.

    A marker that only the tokenizer has is no sign: publishers keep one vocabulary for models that think and that do
    not. A template that is given a switch and shows no marker leaves the markers to the tokenizer.
    """
    if template is None:
        return None
    code = " ".join(re.findall(r"\{[{%].*?[%}]\}", template, re.DOTALL))
    variables = set(re.findall(r"(?<![.\w])[a-z_]+(?!\w)", _STRING.sub(" ", code)))
    switch = next((name for name in _SWITCHES if name in variables), "/think" if "/no_think" in template else None)
    if "<|channel|>" in template and "analysis" in template:
        return Reasoning(switch, _levels(code), *_HARMONY)
    start, end = _markers(template)
    if start is None and (opened := _MARKER.search(template)):  # it opens the phase and leaves the end to the model
        start, end = opened.group(), _closings(opened.group())[0]
    if switch is None and start is None:
        return None
    if start is None:
        start, end = _markers(tokens)
    return Reasoning(switch, _levels(code), start, end)


def _markers(text: str) -> tuple[str | None, str | None]:
    """The first opening marker of which the closing one stands in the text too; none where there is no such pair."""
    for match in _MARKER.finditer(text):
        start = match.group()
        for end in _closings(start):
            if end in text:
                return start, end
    return None, None


def _closings(start: str) -> tuple[str, ...]:
    """How what ``start`` opens may be closed."""
    if start.startswith("◁"):
        return ("◁/" + start[1:],)
    inner = start[1:].removeprefix("|")
    swapped = inner.replace("START", "END").replace("begin", "end").replace("prefix", "suffix")
    bar = "|" if start.startswith("<|") else ""
    closings = (f"{start[0]}/{start[1:]}", f"{start[0]}{bar}/{inner}", f"{start[0]}{bar}{swapped}")
    return tuple(closing for closing in closings if closing != start)


def _levels(code: str) -> tuple[str, ...]:
    """The values that a template compares its effort with, in its order, each once."""
    named = [value for group in _LEVEL.findall(code) for value in re.findall(r"['\"]([^'\"]+)['\"]", group)]
    return tuple(dict.fromkeys(named))
