"""Where logical lines of Python text end, from whichever line one begins: linear in the text, for text of any kind.

Text that a model wrote is Python in places only, so nobody knows where to begin. The scan of a line depends on the
string that it begins in (none, or one of four kinds of quotes) and on nothing else; so the pairs of line and string
form a forest, and one pass backwards over it finds, for every line, where brackets that it opens are closed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

CODE = ""
"""State of a line that does not begin in a string; else the quotes of the string."""

_INTERESTING = re.compile(r"['\"#()\[\]{}\\`$?]")
_REST = {
    "'": re.compile(r"(?:[^'\\]|\\.)*'"),
    '"': re.compile(r'(?:[^"\\]|\\.)*"'),
    "'''": re.compile(r"(?:[^'\\]|\\.|'(?!''))*'''"),
    '"""': re.compile(r'(?:[^"\\]|\\.|"(?!""))*"""'),
}
"""From the inside of a string to its end."""
_FORMATTED = {
    quote: re.compile(rf"(?:[^{quote}\\{{]|\\.|\{{\{{|\{{[^{{}}]*\}})*{quote}") for quote in ("'", '"')
}  # fmt: skip
"""The same of a formatted string, whose braces may hold its own quotes (Python 3.12)."""
_ESCAPES_LINE_END = re.compile(r"(?:[^\\]|\\.)*\\")
_BLANKS = " \t\f"
_WORD = re.compile(r"\w+|.")


class Scan(NamedTuple):
    """One line, scanned from one state."""

    ends_in: str | None
    """State of the next line; None where no Python has such a line."""
    closers: int
    """Brackets closed that the line did not open, all of which stand before ..."""
    openers: int
    """... brackets opened that it does not close."""
    continued: bool
    """Ends in a backslash outside strings."""
    code: str
    """The line without its comment."""


def scan(line: str, state: str) -> Scan:
    """Scan a line, given without its line end, that begins in ``state``."""
    place = closers = openers = 0
    while True:
        if state:
            rest = _REST[state].match(line, place)
            if rest is None:
                goes_on = len(state) == 3 or _ESCAPES_LINE_END.fullmatch(line, place)
                return Scan(state if goes_on else None, closers, openers, False, line)
            place, state = rest.end(), CODE
        token = _INTERESTING.search(line, place)
        if token is None:
            return Scan(CODE, closers, openers, False, line)
        place = token.end()
        character = token[0]
        if character in "([{":
            openers += 1
        elif character in ")]}":
            openers, closers = (openers - 1, closers) if openers else (0, closers + 1)
        elif character == "#":
            return Scan(CODE, closers, openers, False, line[: token.start()])
        elif character in "'\"":
            if line.startswith(character * 2, place):
                state, place = character * 3, place + 2
            elif "f" in line[max(0, place - 3) : place - 1].lower() and (
                whole := _FORMATTED[character].match(line, place)
            ):
                place = whole.end()
            else:
                state = character
        else:  # a backslash, or what is no part of Python
            last = character == "\\" and place == len(line)
            return Scan(CODE if last else None, closers, openers, last, line)


def _column(line: str) -> int:
    column = 0
    for character in line[: len(line) - len(line.lstrip(_BLANKS))]:
        column = 0 if character == "\f" else column + 1 if character == " " else (column // 8 + 1) * 8
    return column


class _Closer(NamedTuple):
    """An unmatched closing bracket of a node's suffix, and the next one."""

    node: _Node
    is_last: bool
    """Of its line."""
    following: _Closer | None


@dataclass(slots=True, eq=False)
class _Node:
    """A line in one state."""

    number: int
    scan: Scan
    next: _Node | None
    """None where the text ends or the line is no Python."""
    closers: _Closer | None = None
    """First of the brackets that are closed, but not opened, from here on."""
    first: _Node = field(init=False)
    """Where the logical line has its first word: Python passes over lines that hold nothing but a backslash."""
    end: _Node | None = None
    """Last line of the logical line that this one belongs to, where it has closed all that was open before it."""


@dataclass
class LogicalLines:
    """Logical lines of a text that begin at each of its lines."""

    lines: Sequence[str]
    """Physical lines without their ends."""
    _nodes: list[_Node] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        states: list[dict[str, Scan]] = [{CODE: scan(line, CODE)} for line in self.lines]
        for here, following, line in zip(states, states[1:], self.lines[1:], strict=False):
            for scanned in here.values():
                if scanned.ends_in and scanned.ends_in not in following:
                    following[scanned.ends_in] = scan(line, scanned.ends_in)
        below: dict[str, _Node] = {}
        for number in range(len(self.lines) - 1, -1, -1):
            nodes = {}
            for state, scanned in states[number].items():
                nodes[state] = _Node(number, scanned, None if scanned.ends_in is None else below.get(scanned.ends_in))
                _link(nodes[state])
            self._nodes.append(nodes[CODE])
            below = nodes
        self._nodes.reverse()

    def end(self, start: int) -> int | None:
        """Last line of the logical line that begins at line ``start`` outside of strings; None where it never ends."""
        node = self._nodes[start]
        return None if node.scan.closers or node.end is None else node.end.number

    def first_word(self, start: int) -> str:
        """First word or sign of the logical line that begins at ``start``; empty for a blank line or a comment."""
        match = _WORD.match(self._nodes[start].first.scan.code.lstrip(_BLANKS))
        return match[0] if match else ""

    def indentation(self, start: int) -> int:
        """The column in which the logical line that begins at ``start`` does, as Python counts tabs and form feeds."""
        last = self._nodes[start].first.number
        return next((column for number in range(start, last + 1) if (column := _column(self.lines[number]))), 0)

    def last_sign(self, start: int) -> str:
        """Last character of code of the logical line that begins at ``start``; empty where it has no end or no code."""
        end = self._nodes[start].end
        return end.scan.code.rstrip(_BLANKS)[-1:] if end else ""


def _link(node: _Node) -> None:
    """Fill in a node whose next one is filled in."""
    scanned, below = node.scan, node.next
    is_empty = scanned.continued and scanned.code.strip(_BLANKS) == "\\"
    node.first = below.first if below and is_empty else node
    closer, popped = (below.closers if below else None), None
    for _ in range(scanned.openers):
        if closer is None:
            break
        closer, popped = closer.following, closer
    else:
        if popped is not None:
            node.end = popped.node.end if popped.is_last else None
        elif scanned.ends_in == CODE and not scanned.continued:
            node.end = node
        elif below is not None and not below.scan.closers:
            node.end = below.end
    for index in range(scanned.closers):
        closer = _Closer(node, index == 0, closer)
    node.closers = closer
