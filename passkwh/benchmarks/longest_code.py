"""The longest run of lines that parses, as ``code_extract`` of bigcodebench 0.2.5 finds it by trying all runs.

A run that parses is a sequence of top-level statements, each of which parses alone. So from a line on, the first
statement is parsed, then those after it, and what is known of a line holds for every run that comes by it. Where a
statement does not parse, the longest part of it that does is searched by halves: text that no following text can mend
(the parser gave up before its end) stays so when it is longer.
"""

from __future__ import annotations

import ast
import re
import warnings
from bisect import bisect_left
from codeop import PyCF_ALLOW_INCOMPLETE_INPUT  # type: ignore[attr-defined]
from itertools import accumulate
from typing import Literal, NamedTuple

from passkwh.benchmarks.lexing import LogicalLines

_LINE_END = re.compile(r"\r\n?|\n")
_CONTINUES_STATEMENT = frozenset({"elif", "else", "except", "finally"})
_DECORATED = frozenset({"@", "def", "class"})
_ASYNC_DEF = re.compile(r"async\s+def\b")

_PROBE_LINES = 8
"""A statement of more lines is broken where this much of it is: seen without reading all of it."""

Parsed = Literal["whole", "incomplete", "broken"]


def parsed(code: str) -> Parsed:
    """Whether code parses, might parse if more stood after it, or is broken whatever stands after it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(code, "<answer>", "exec", ast.PyCF_ONLY_AST | PyCF_ALLOW_INCOMPLETE_INPUT, dont_inherit=True)
    except SyntaxError as error:
        return "incomplete" if error.msg == "incomplete input" else "broken"
    except (ValueError, RecursionError, MemoryError):
        return "broken"
    return "whole"


def longest_code(text: str) -> str:
    """The run of two lines or more with the most non-blank ones that parses; the first of equals; the first line if
    none parses.
    """
    lines = text.split("\n")
    filled = list(accumulate((bool(line.strip()) for line in lines), initial=0))
    runs = _Runs(text)
    best, first, last = 0, 0, 0
    for start in range(len(lines)):
        if filled[-1] - filled[start] <= best:
            break
        end = runs.longest_from(start)
        if end is None or end <= start or filled[end + 1] - filled[start] <= best:
            continue
        best, first = filled[end + 1] - filled[start], start
        # Of equally long runs the official tool keeps the first, the one without blank lines at its end.
        while end > start + 1 and not lines[end].strip() and _may_lose_last(lines[start : end + 1]):
            end -= 1
        last = end
    return "\n".join(lines[first : last + 1])


def _may_lose_last(lines: list[str]) -> bool:
    """Whether lines that parse do so without the last one, which is blank: a backslash above may need it."""
    near = (line.rstrip() for line in lines[-3:-1])
    return not any(line.endswith("\\") for line in near) or parsed("\n".join(lines[:-1])) == "whole"


class _Step(NamedTuple):
    """What begins at a line: a statement, or nothing but a blank line or comment."""

    end: int | None
    """Where a run that ends with it may end at most; None where none can."""
    next: int | None
    """Where the next one begins; None where no run goes on."""


class _Runs:
    """Runs of a text's lines. Numbers within are of physical lines, which a carriage return ends, too."""

    def __init__(self, text: str) -> None:
        ends = list(_LINE_END.finditer(text))
        self._text = text
        self._starts = [0, *(match.end() for match in ends)]
        self._ends = [*(match.start() for match in ends), len(text)]
        self._may_end = [*(match[0].endswith("\n") for match in ends), True]
        self._line = [0, *accumulate(self._may_end[:-1])]
        self._first = [0, *(number + 1 for number, may_end in enumerate(self._may_end[:-1]) if may_end)]
        self._physical = [text[a:b] for a, b in zip(self._starts, self._ends, strict=True)]
        self._logical = LogicalLines(self._physical)
        self._top: dict[int, int | None] = {}
        self._longest: dict[int, int | None] = {}

    def longest_from(self, line: int) -> int | None:
        """Last line of the longest run from a line that parses."""
        start = self._first[line]
        steps: list[tuple[int, _Step]] = []
        place: int | None = start
        while place is not None and place < len(self._physical) and place not in self._longest:
            step = self._step(place)
            steps.append((place, step))
            place = step.next
        end = self._longest.get(place) if place is not None else None
        for number, step in reversed(steps):
            end = self._longest[number] = step.end if end is None else end
        return None if end is None else self._line[end]

    def _code(self, start: int, end: int) -> str:
        return self._text[self._starts[start] : self._ends[end]]

    def _step(self, start: int) -> _Step:
        end = self._logical.end(start)
        word = self._logical.first_word(start)
        if end is None or word in _CONTINUES_STATEMENT:
            return _Step(None, None)
        if not word:
            return _Step(end if self._may_end[end] and self._is_whole(start, end) else None, end + 1)
        if self._physical[start] == "\\":  # means nothing before a line that begins a statement
            return _Step(None, start + 1)
        if self._logical.indentation(start):
            return _Step(None, None)
        if end - start > _PROBE_LINES and parsed(self._code(start, start + _PROBE_LINES)) == "broken":
            return _Step(None, None)
        if word == "@":
            return _Step(None, self._decorated(start, end))
        top = self._next_top(end + 1)
        if top is None or parsed(self._code(start, top - 1) + "\n") != "whole":
            return _Step(self._within(start, top), None)
        if self._may_end[top - 1] and self._is_whole(start, top - 1):
            return _Step(top - 1, top)
        return _Step(self._within(start, top), top)

    def _is_whole(self, start: int, end: int) -> bool:
        """Whether code that parses with a line end after it does so without: a backslash may need that line end."""
        return not self._code(start, end).rstrip(" \t\f\r\n").endswith("\\") or (
            parsed(self._code(start, end)) == "whole"
        )

    def _decorated(self, start: int, end: int) -> int | None:
        """Where what a decorator decorates begins: another decorator, a function or a class."""
        place: int | None = end + 1
        while place is not None and place < len(self._physical) and not self._logical.first_word(place):
            end_of_blank = self._logical.end(place)
            place = None if end_of_blank is None else end_of_blank + 1
        if place is None or place == len(self._physical):
            return None
        word = self._logical.first_word(place)
        if word not in _DECORATED and not (word == "async" and _ASYNC_DEF.search(self._physical[place])):
            return None
        return place if parsed(self._code(start, end) + "\ndef f(): pass") == "whole" else None

    def _next_top(self, start: int) -> int | None:
        """The next top-level statement from a logical line on, the text's end for the last one; None where a logical
        line between never ends.
        """
        passed: list[int] = []
        place: int | None = start
        while place is not None and place < len(self._physical) and place not in self._top:
            word = self._logical.first_word(place)
            if word and word not in _CONTINUES_STATEMENT and not self._logical.indentation(place):
                break
            passed.append(place)
            end = self._logical.end(place)
            place = None if end is None else end + 1
        top = self._top.get(place, place) if place is not None else None
        self._top.update(dict.fromkeys(passed, top))
        return top

    def _within(self, start: int, top: int | None) -> int | None:
        """Where the longest part of a statement that parses may end; the next statement begins at ``top``."""
        ends = self._ends_within(start, len(self._physical) if top is None else top)
        place = bisect_left(ends, True, key=lambda end: parsed(self._code(start, end)) == "broken")
        while place:
            place -= 1
            if parsed(self._code(start, ends[place])) == "whole":
                return ends[place]
        return None

    def _ends_within(self, start: int, top: int) -> list[int]:
        """Ends of logical lines of a statement where it may be complete: neither a decorator nor a line with a colon is
        the last, and every ``try`` has its ``except`` or ``finally``.
        """
        ends: list[int] = []
        tries: list[int] = []
        pending = False
        place = start
        while place < top and (end := self._logical.end(place)) is not None:
            if word := self._logical.first_word(place):
                column = self._logical.indentation(place)
                while tries and tries[-1] >= column:
                    tries.pop()
                if word == "try":
                    tries.append(column)
                pending = word == "@" or self._logical.last_sign(place) == ":"
            if not pending and not tries and self._may_end[end]:
                ends.append(end)
            place = end + 1
        return ends
