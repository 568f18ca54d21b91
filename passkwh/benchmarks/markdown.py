"""Code blocks of markdown as models write it: in lists and quotes, with fences in docstrings, unended, begun by the
prompt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from passkwh.benchmarks.longest_code import parsed

_FENCE = re.compile(
    r"(?P<indent>[ \t]*(?:(?:[-*+]|\d+[.)])[ \t]+|>[ \t]?)*)(?P<fence>`{3,}|~{3,})[ \t]*(?P<info>[^`\r]*?)[ \t\r]*"
)
_AFTER_TEXT = re.compile(r"(?P<indent>)[^`]*[^`\s][ \t]*(?P<fence>```)(?P<info>python3?|py)[ \t\r]*", re.IGNORECASE)
_TAG = re.compile(r"[ \t]*\[(?P<end>/?)PYTHON\][ \t\r]*")
"""What Code Llama and its kin write for a fence."""
_QUOTED = re.compile(r"[ \t]*>[ \t]?")


class Fence(NamedTuple):
    """A line that begins or ends a block."""

    line: int
    indent: str
    """What stands before it: white space, markers of a list or of quotes."""
    mark: str
    info: str
    """The language, and whatever follows it; empty for a fence that may end a block."""

    def ends(self, opening: Fence) -> bool:
        """Whether a block ends at it: as long as the opening fence, of the same kind and no further in, or the
        beginning of another block.
        """
        return (bool(self.info) or self.mark.startswith(opening.mark)) and len(self.indent) <= len(opening.indent)


def blocks(text: str) -> list[str]:
    """Code of all blocks, in order, each without its own indentation.

    A text without a fence is one block. Where the first fence names no language, the text may begin in a block that the
    prompt opened: what stands before it is then the first block, and what would be blocks otherwise come, too.
    """
    lines = _lines(text)
    fences = [fence for number, line in enumerate(lines) if (fence := _fence(number, line))]
    if not fences:
        return [text]
    first = fences[0]
    if first.info:
        return _blocks(lines, fences)
    return ["\n".join(lines[: first.line]), *_blocks(lines, fences[1:]), *_blocks(lines, fences)]


def without_fences(text: str) -> str:
    """All lines but fences."""
    return "\n".join(line for number, line in enumerate(_lines(text)) if _fence(number, line) is None)


def _lines(text: str) -> list[str]:
    return (text if "\n" in text else text.replace("\r", "\n")).split("\n")


def _fence(number: int, line: str) -> Fence | None:
    if tag := _TAG.fullmatch(line):
        return Fence(number, "", "```", "" if tag["end"] else "python")
    match = _FENCE.fullmatch(line) or _AFTER_TEXT.fullmatch(line)
    return Fence(number, match["indent"], match["fence"], match["info"]) if match else None


def _blocks(lines: Sequence[str], fences: Sequence[Fence]) -> list[str]:
    blocks = []
    place = 0
    while place < len(fences):
        opening = fences[place]
        place, code = _block(lines, fences, place)
        if not (opening.info and opening.info.split()[0].lower() in _OTHER_LANGUAGES):
            blocks.append(code)
    return blocks


_OTHER_LANGUAGES = frozenset({"bash", "console", "css", "html", "json", "output", "sh", "shell", "sql", "text", "txt"})


def _block(lines: Sequence[str], fences: Sequence[Fence], place: int) -> tuple[int, str]:
    """A block's code, and the place of the fence that comes after it.

    Its end is the next fence that may end it, or one that names a language. One inside a string of the code (a
    docstring with an example) is passed over: the code is incomplete there, and whole at a later one.
    """
    opening = fences[place]
    first = None
    for number in range(place + 1, len(fences)):
        if not fences[number].ends(opening):
            continue
        code = _code(lines, opening, fences[number].line)
        state = parsed(code)
        if state == "whole":
            return _after(fences, number), code
        first = number if first is None else first
        if state == "broken":
            break
    if first is None:
        first = next((number for number in range(place + 1, len(fences)) if not fences[number].info), None)
    if first is None:
        return len(fences), _code(lines, opening, len(lines))
    return _after(fences, first), _code(lines, opening, fences[first].line)


def _after(fences: Sequence[Fence], end: int) -> int:
    """Where to go on: at a fence that begins the next block, else after the one that ended this."""
    return end if fences[end].info else end + 1


def _code(lines: Sequence[str], opening: Fence, end: int) -> str:
    quoted = opening.indent.count(">")
    width = len(opening.indent.rpartition(">")[2]) if quoted else len(opening.indent)
    own = []
    for line in lines[opening.line + 1 : end]:
        for _ in range(quoted):
            line = _QUOTED.sub("", line, count=1)
        blanks = len(line) - len(line.lstrip(" \t"))
        own.append(line[min(blanks, width) :])
    return "\n".join(own)
