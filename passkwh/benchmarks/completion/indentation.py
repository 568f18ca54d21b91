"""Where a line begins: from the code before the cursor, whose indentation is real, and the words written since.

Python: a line after a colon goes in by one step; one after ``return``, ``raise``, ``break``, ``continue`` or ``pass``
comes out by one; ``else`` and its like stand below what they belong to; ``def``, ``class`` and decorators stand in the
class that is open, or at the margin. Where a block ends otherwise is not in CodeXGLUE's tokens: such a line stays where
the one before it was. Java: by braces.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

STEP = "    "
_ENDS_BLOCK = frozenset(["return", "raise", "break", "continue", "pass"])
_BELONGS_TO = {
    "else": ("if", "elif", "for", "while", "try", "except"), "elif": ("if", "elif"),
    "except": ("try", "except"), "finally": ("try", "except", "else"),
}  # fmt: skip
_SKIPPED = {tokenize.NL, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


@dataclass
class Block:
    """An open block of Python."""

    indent: str
    """Of the line that opens it."""
    keyword: str


@dataclass
class Indentation:
    """The line under way, and what is open around it."""

    java: bool
    step: str = STEP
    indent: str = ""
    """Of the line under way."""
    blocks: list[Block] = field(default_factory=list)

    @classmethod
    def of(cls, before: str, java: bool) -> Indentation:
        """As it is at the end of the code before the cursor."""
        lines = _java_lines(before) if java else _python_lines(before)
        own = cls(java, step_of(lines))
        for margin, first, last in lines:
            own.begin(margin)
            own.end(first, last)
        return own

    def begin(self, indent: str) -> None:
        """A line that stands where somebody put it."""
        self.blocks = [block for block in self.blocks if len(block.indent) < len(indent)]
        self.indent = indent

    def end(self, first: str, last: str) -> None:
        """The line under way is ended; its first and last word. In Python a colon opens a block."""
        if not self.java and last == ":":
            self.blocks = [block for block in self.blocks if block.indent != self.indent]
            self.blocks.append(Block(self.indent, first))

    def next(self, first: str, last: str, word: str) -> str:
        """Where the line that begins with ``word`` stands, after one with this first and last word (Python)."""
        if word in _BELONGS_TO:
            for block in reversed(self.blocks):
                if block.keyword in _BELONGS_TO[word]:
                    return block.indent
        if last == ":":
            return self.indent + self.step
        if first == "@":
            return self.indent
        if word in ("def", "class", "@"):
            classes = [block for block in self.blocks if block.keyword == "class"]
            return classes[-1].indent + self.step if classes and word != "class" else ""
        if first in _ENDS_BLOCK and self.blocks:
            return self.blocks[-1].indent
        return self.indent


Line = tuple[str, str, str]
"""Margin, first and last word."""


def step_of(lines: Sequence[Line]) -> str:
    """How far the code goes in where a block opens: what it does most often."""
    steps = Counter(
        below.removeprefix(margin)
        for (margin, _, last), (below, _, _) in pairwise(lines)
        if last in (":", "{") and below.startswith(margin) and below != margin
    )
    if steps:
        return steps.most_common(1)[0][0]
    return "\t" if any(margin.startswith("\t") for margin, _, _ in lines) else STEP


def _margin(line: str) -> str:
    match = re.match(r"[ \t]*", line)
    return match[0] if match else ""


def _java_lines(code: str) -> list[Line]:
    """Of each line that is not empty; its last word only as far as it is a brace."""
    return [(_margin(line), "", line.rstrip()[-1]) for line in code.split("\n") if line.strip()]


def _python_lines(code: str) -> list[Line]:
    """Margin, first and last word of each logical line, as far as the code can be read; the last may be under way."""
    lines: list[Line] = []
    margin = first = last = ""
    try:
        for token in tokenize.generate_tokens(io.StringIO(code).readline):
            if token.type == tokenize.NEWLINE:
                lines.append((margin, first, last))
                first = ""
            elif token.type not in _SKIPPED:
                if not first:
                    margin, first = _margin(token.line), token.string
                last = token.string
    except (tokenize.TokenError, SyntaxError):
        pass  # an open bracket or string: the line under way counts as it is
    return [*lines, (margin, first, last)] if first else lines
