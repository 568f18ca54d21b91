"""Where a file is cut: context before, reference after, counted in tokens of the model or of the data.

A *tokenization* is a function from a text to the end offset, in characters, of each of its tokens. GREEN-CODE counts
in the model's tokens; CodeXGLUE's own are the words of its files (``word_ends``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from passkwh.benchmarks.completion.data import EOL

TokenEnds = Callable[[str], list[int]]

WORD = re.compile(r"\S+")
_LITERAL = re.compile(r"<(?:STR|NUM|CHAR)_LIT:(.*?)>", re.DOTALL)
_JAVA_STOP = re.compile(r'"(?:\\.|[^"\\])*"|' + r"'(?:\\.|[^'\\])*'|[;{}]", re.DOTALL)


@dataclass(frozen=True)
class Cut:
    """A file's context and what follows it."""

    context: str
    reference: str


def word_ends(text: str) -> list[int]:
    """Ends of the tokens of a file in CodeXGLUE's form, where a space stands between two."""
    return [match.end() for match in WORD.finditer(text)]


def cut_fraction(text: str, ends: list[int], fraction: float, max_context: int, new_tokens: int) -> Cut | None:
    """Cut after the first ``fraction`` of a text's tokens, at most ``max_context``; the reference is the next
    ``new_tokens`` (GREEN-CODE, section VI-C). None where there is no context or less than a whole reference.

    Args:
        ends: end offset of each token of ``text`` (tokens without text, such as a start token, end at 0).
    """
    context = min(int(len(ends) * fraction), max_context)
    if context == 0 or ends[context - 1] == 0 or context + new_tokens > len(ends):
        return None
    start = ends[context - 1]
    return Cut(text[:start], text[start : ends[context + new_tokens - 1]])


def cut_start(text: str, ends: list[int], max_context: int) -> Cut | None:
    """The first ``max_context`` tokens of a text, with nothing after them; None where there are no two tokens."""
    start = ends[:max_context][-1] if ends else 0
    return Cut(text[:start], "") if len(ends) > 1 and start > 0 else None


def cut_line(text: str, language: str, rng: Random) -> Cut | None:
    """Cut at a random token, the reference being the rest of its line (CodeXGLUE, line-level task). None where no
    token has both a context and a rest of line.
    """
    tokens = text.split()
    places = [place for place in range(1, len(tokens)) if tokens[place] not in (EOL, "{")]
    if not places:
        return None
    place = rng.choice(places)
    rest = " ".join(tokens[place:])
    return Cut(" ".join(tokens[:place]), line_end(rest, language))


def line_end(text: str, language: str) -> str:
    """The part of ``text`` that completes a line, as CodeXGLUE ends it: in Python before ``<EOL>`` (or a line break,
    which a model may write instead), in Java after ``;`` or ``}`` or before ``{``, outside of literals.
    """
    if language == "python":
        return re.split(rf"{EOL}|\n", text, maxsplit=1)[0].strip()
    for match in _JAVA_STOP.finditer(text):
        if match[0] == "{":
            return text[: match.start()].strip()
        if match[0] in (";", "}"):
            return text[: match.end()].strip()
    return text.strip()


def keep_last(text: str, ends: list[int], max_context: int) -> str:
    """The last ``max_context`` tokens of a context."""
    return text if len(ends) <= max_context else text[ends[len(ends) - max_context - 1] :].lstrip()


def first_words(text: str, count: int) -> str:
    """The first ``count`` words of a text."""
    ends = word_ends(text)
    return text if len(ends) <= count else text[: ends[count - 1]]


def plain_literals(text: str) -> str:
    """Normalised literals turned back to source (CodeXGLUE's evaluator): ``<STR_LIT:x>`` to ``x``, ``<STR_LIT>`` to
    nothing, ``<NUM_LIT>`` to 0.
    """
    text = text.replace("<NUM_LIT>", "0").replace("<STR_LIT>", "").replace("<CHAR_LIT>", "")
    return _LITERAL.sub(r"\1", text)
