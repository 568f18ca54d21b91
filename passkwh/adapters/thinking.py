"""The thinking phase of a chat: what ``--thinking`` comes to for a model, and telling thought from answer in a text.

What a model's template knows of thinking is read by ``passkwh.adapters.reasoning``; how an engine follows the phase
token by token is its own affair (``engines/phases.py`` of transformers).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from passkwh.adapters.checkpoint import Checkpoint
from passkwh.adapters.model_files import ModelFiles
from passkwh.adapters.reasoning import Reasoning, read_reasoning
from passkwh.errors import UsageError

AUTO = "auto"
"""``Spec.thinking`` of a run that leaves it to the template."""
EFFORTS = ("low", "medium", "high")
_HARMONY_END = "<|channel|>final<|message|>"
_HARMONY_HEADERS = re.compile(r"<\|start\|>assistant|<\|end\|>")


@dataclass(frozen=True)
class Markers:
    """What opens and closes a thinking phase in a model's output."""

    start: str
    end: str

    @property
    def is_harmony(self) -> bool:
        """Thinking is a channel of OpenAI's harmony format: all before the channel ``final`` is no answer."""
        return self.end == _HARMONY_END

    @property
    def closing(self) -> str:
        """What is inserted to end a phase by force: the end marker as models write it."""
        return f"<|end|><|start|>assistant{self.end}" if self.is_harmony else f"\n{self.end}\n\n"

    def starts(self, text: str) -> list[int]:
        """Where phases are opened in ``text``, which begins a line.

        A start marker within a line is a word of code that handles such markers; one with ``<|`` cannot be written.
        """
        before = "" if self.start.startswith("<|") else r"^[ \t]*"
        pattern = rf"{before}({re.escape(self.start)})"
        return [opened.start(1) for opened in re.finditer(pattern, text, re.MULTILINE)]

    def find_start(self, text: str, place: int = 0) -> int:
        """Where a phase is first opened in ``text`` from ``place`` on, which begins a line; -1 where it is not."""
        return next((place + start for start in self.starts(text[place:])), -1)

    def thought(self, text: str) -> str:
        """What was thought, of a text with its markers."""
        text = text.replace(self.start, "").replace(self.end, "")
        return (_HARMONY_HEADERS.sub("", text) if self.is_harmony else text).strip("\n")


TAGS = Markers("<think>", "</think>")
"""What most models write, and servers without a reasoning parser hand on."""


def markers(reasoning: Reasoning | None) -> Markers | None:
    """The markers of a model's thinking phase; None for one that does not think or shows none."""
    if reasoning is None or reasoning.start is None or reasoning.end is None:
        return None
    is_harmony = reasoning.start.startswith("<|channel|>")
    return Markers(reasoning.start, _HARMONY_END if is_harmony else reasoning.end)


def reasoning_of(checkpoint: Checkpoint) -> Reasoning | None:
    """A checkpoint's thinking phase, read now where its files came only after its name was resolved."""
    if checkpoint.reasoning is not None or checkpoint.path is None:
        return checkpoint.reasoning
    return read_reasoning(ModelFiles(checkpoint.path))


def budget(thinking: str) -> int | None:
    """Most tokens of thinking, where ``--thinking`` is a number.

    Example:
        >>> budget("512"), budget("on")
        (512, None)
    """
    return int(thinking) if thinking.isdecimal() else None


def check(reasoning: Reasoning | None, thinking: str, name: str) -> None:
    """UsageError where a model cannot be told to think so, saying what it takes."""
    if thinking == AUTO:
        return
    asked = f"--thinking {thinking}"
    if reasoning is None:
        raise UsageError(f"{name} has no thinking phase that its chat template knows of: leave {asked} out")
    if budget(thinking) is not None:
        if markers(reasoning) is None:
            raise UsageError(f"{asked}: the template of {name} shows no marker that ends thinking: leave it out")
        return
    by_number = " or a number of tokens" if markers(reasoning) else ""
    if reasoning.switch is None:
        also = ", or give a number of tokens" if by_number else ""
        raise UsageError(f"{name} always thinks, and its template has no switch for it: leave {asked} out{also}")
    takes = _efforts(reasoning) if reasoning.switch == "reasoning_effort" else ("on", "off")
    if thinking not in takes:
        raise UsageError(f"{asked}: {name} takes {', '.join(takes)}{by_number} ({reasoning.switch} of its template)")


def _efforts(reasoning: Reasoning) -> tuple[str, ...]:
    """What ``--thinking`` may be where the template is given an effort: those it names, ``none`` being ``off``."""
    named = ["off" if level == "none" else level for level in reasoning.levels or EFFORTS]
    return tuple(level for level in named if level in (*EFFORTS, "off"))


def template_arguments(reasoning: Reasoning | None, thinking: str) -> dict[str, str | bool | int]:
    """What the template is given for ``--thinking``, which :func:`check` took; nothing where it is left to itself."""
    if reasoning is None or reasoning.switch in (None, "/think") or thinking == AUTO:
        return {}
    if reasoning.switch == "reasoning_effort":
        return {} if budget(thinking) else {reasoning.switch: "none" if thinking == "off" else thinking}
    if reasoning.switch == "thinking_budget":
        most = 0 if thinking == "off" else budget(thinking)
        return {} if most is None else {reasoning.switch: most}
    return {reasoning.switch: thinking != "off"}


def flag(reasoning: Reasoning | None, thinking: str) -> str:
    """The word that tells a model in a message, where its template has no variable for it; empty where it has one."""
    if reasoning is None or reasoning.switch != "/think" or thinking == AUTO:
        return ""
    return "/no_think" if thinking == "off" else "/think"


@dataclass(frozen=True)
class Split:
    """A text taken apart."""

    thought: str | None
    """None where nothing was thought: only the header of an answer stood before it."""
    answer: str
    is_closed: bool
    """Thinking was ended."""


def split(text: str, own: Markers = TAGS, *, may_be_open: bool = True) -> Split | None:
    """Thought and answer of a text that a model wrote; None where there is no marker.

    All up to the end of the last phase was thought. Where a template may have opened the first one (``may_be_open``),
    its end marker alone counts.

    Example:
        >>> split("<think>hm</think>x"), split("hm</think>x").answer, split("x")
        (Split(thought='hm', answer='x', is_closed=True), 'x', None)
    """
    place = ended = 0
    is_open = was_open = False
    while True:
        start = -1 if is_open else own.find_start(text, place)
        end = text.find(own.end, place) if is_open or (not ended and (may_be_open or own.is_harmony)) else -1
        if end >= 0 and (start < 0 or end < start):
            place = ended = end + len(own.end)
            is_open = False
        elif start >= 0:
            place = start + len(own.start)
            is_open = was_open = True
        else:
            break
    if is_open:
        return Split(own.thought(text), "", False)
    if not ended:
        return None
    thought = own.thought(text[:ended])
    return Split(thought if thought or was_open else None, text[ended:].lstrip("\n"), True)
