"""Turns source trees into CodeXGLUE's token form: the layout and literals that PY150 and JavaCorpus have there.

Python is split by ``tokenize``, Java by ``javalang``. Comments, indentation and blank lines go; a Python line ends in
``<EOL>``; a string, number or character that is common in the training split keeps its value (``<STR_LIT:utf-8>``),
any other loses it (``<STR_LIT>``). Two peculiarities of CodeXGLUE's own data are kept, since data is to be alike: an
escaped Java character such as ``'\\n'`` counts as a string, and a Python prefix in capitals hides the quotes.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from passkwh.benchmarks.completion.data import EOL
from passkwh.errors import MissingExtra

KEPT = {"STR": 200, "NUM": 30, "CHAR": 30}
"""How many of the most common values of each kind keep their value, as in CodeXGLUE's ``literals.json``."""
SUFFIXES = {"python": ".py", "java": ".java"}

_QUOTES = ("'''", '"""', "'", '"')
_PREFIX = re.compile(r"[a-z]*")
_JAVA_TEXT = re.compile(r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|//[^\n]*|/\*|\*/")
_OPEN_STRING = re.compile(r"^(?:[^\"']|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*')*([\"'].*)$")
_ESCAPES = {" ": "U+0020", ",": "U+002C"}
UNESCAPES = {name: character for character, name in _ESCAPES.items()}
"""Characters of literals by what stands for them."""


@dataclass(frozen=True)
class Literal:
    """A literal of a source file: what stands before its value, the value, and what stands after."""

    kind: str
    """STR, NUM or CHAR."""
    opening: str
    value: str
    closing: str


Token = str | Literal


class NotSource(Exception):
    """A file that its language's tokenizer does not take; the message says why."""


def tokens_of(source: bytes, language: str) -> list[Token]:
    """A file's tokens with its literals marked.

    Raises:
        NotSource: it cannot be decoded or tokenized, or holds no code. MissingExtra: javalang is not installed.
    """
    tokens = list(_python_tokens(source) if language == "python" else _java_tokens(source))
    if not tokens:
        raise NotSource("no code in it")
    return tokens


def common_literals(files: Iterable[list[Token]]) -> dict[str, frozenset[str]]:
    """The most common values of each kind of literal, the empty string excepted (CodeXGLUE never keeps it)."""
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in KEPT}
    for tokens in files:
        for token in tokens:
            if isinstance(token, Literal) and token.value:
                counts[token.kind][token.value] += 1
    # Equal counts are ordered by value, so that the same tree gives the same data everywhere.
    ranked = {kind: sorted(counts[kind], key=lambda value: (-counts[kind][value], value)) for kind in KEPT}
    return {kind: frozenset(ranked[kind][:most]) for kind, most in KEPT.items()}


def render(tokens: Iterable[Token], kept: Mapping[str, frozenset[str]]) -> str:
    """Tokens in CodeXGLUE's form, one space between two; literals in ``kept`` keep their value."""
    return " ".join(token if isinstance(token, str) else _literal(token, kept) for token in tokens)


def _literal(literal: Literal, kept: Mapping[str, frozenset[str]]) -> str:
    keep = literal.value in kept[literal.kind] and not any(map(str.isspace, literal.value))
    value = f":{literal.value}" if keep else ""  # white space would make two tokens of it
    return f"{literal.opening}<{literal.kind}_LIT{value}>{literal.closing}"


def _quoted(text: str, *, characters: bool) -> Literal:
    """A quoted literal taken apart; with ``characters``, a single one between single quotes is a character."""
    match = _PREFIX.match(text)
    prefix = match[0] if match else ""
    value = text[len(prefix) :]
    quote = next((quote for quote in _QUOTES if value.startswith(quote)), "")
    closing = quote if value.endswith(quote) else ""
    value = value[len(quote) : len(value) - len(closing)]
    kind = "CHAR" if characters and quote == "'" and len(value) == 1 else "STR"
    for character, name in _ESCAPES.items():
        value = value.replace(character, name)
    return Literal(kind, prefix + quote, value, closing)


# ---------------------------------------------------------------- the beginning of a file, as an editor has it


def tokens_before(code: str, language: str) -> list[Token]:
    """The tokens of code up to a cursor, which need not be whole: an open bracket or string is taken as it is.

    Raises:
        MissingExtra: javalang is not installed.
    """
    tokens, whole = _as_far_as_possible(code, language)
    if whole:
        return tokens
    # What stands on the last line, or in the string that it opens, is in no language's form yet.
    before, newline, last = code.rpartition("\n")
    opened = _OPEN_STRING.search(last)
    if opened is not None:
        tokens, whole = _as_far_as_possible(code[: len(code) - len(opened[1])], language)
        if whole:
            return [*tokens, *opened[1].split()]
    return [*_as_far_as_possible(before + newline, language)[0], *last.split()]


def ends_inside_text(code: str, language: str) -> bool:
    """Whether code ends inside a string of several lines (a docstring) or, in Java, a comment of several lines."""
    if language == "java":
        is_open = False
        for match in _JAVA_TEXT.finditer(code):  # each step goes on where the one before ended: in linear time
            is_open = match[0] != "*/" if is_open else match[0] == "/*"
        return is_open
    try:
        for _ in tokenize.generate_tokens(io.StringIO(code).readline):
            pass
    except tokenize.TokenError as error:
        return "triple-quoted" in str(error) or "multi-line string" in str(error)
    except SyntaxError:
        return False
    return False


def _as_far_as_possible(code: str, language: str) -> tuple[list[Token], bool]:
    """The tokens up to what cannot be one, and whether that is the end."""
    words = _whole_strings(code.encode("utf-8", "replace")) if language == "python" else _javalang().tokenize(code)
    seen: list[Any] = []
    whole = True
    try:
        for word in words:
            if language == "python" and word[0] == tokenize.ERRORTOKEN and word[1] in _QUOTES:
                whole = False  # Python up to 3.11 goes on after the quote of a string that has no end
                break
            seen.append(word)
    except tokenize.TokenError as error:
        whole = "multi-line statement" in str(error)  # an open bracket: all before it has been seen
    except Exception:  # SyntaxError of Python; javalang raises what it trips over
        whole = False
    return list(_marked_python(seen) if language == "python" else _marked_java(seen)), whole


# ---------------------------------------------------------------- Python

_IGNORED = {tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING, tokenize.ENDMARKER}
_FORMATTED_STARTS = {getattr(tokenize, name, -1) for name in ("FSTRING_START", "TSTRING_START")}
_FORMATTED_ENDS = {getattr(tokenize, name, -1) for name in ("FSTRING_END", "TSTRING_END")}


def _python_tokens(source: bytes) -> Iterator[Token]:
    try:
        raw_tokens = list(_whole_strings(source))
    except (tokenize.TokenError, SyntaxError, UnicodeDecodeError) as error:
        raise NotSource(f"not Python: {error.args[0] if error.args else error}") from None
    return _marked_python(raw_tokens)


def _marked_python(raw_tokens: Iterable[tuple[int, str]]) -> Iterator[Token]:
    tokens: list[Token] = []
    for kind, raw in raw_tokens:
        text = " ".join(raw.split())
        if kind in (tokenize.NEWLINE, tokenize.NL):
            if tokens and tokens[-1] != EOL:
                tokens.append(EOL)
        elif kind in _IGNORED or not text:
            continue
        elif kind == tokenize.STRING:
            tokens.append(_quoted(text, characters=False))
        elif kind == tokenize.NUMBER:
            tokens.append(Literal("NUM", "", text, ""))
        else:
            tokens.append(text)
    return iter(tokens[:-1] if tokens and tokens[-1] == EOL else tokens)


def _whole_strings(source: bytes) -> Iterator[tuple[int, str]]:
    """Kind and text of each token. A formatted string, which Python 3.12 and later split into parts, is one string as
    it was before, so that data does not depend on the Python that makes it.
    """
    lines: list[str] = []
    depth, start = 0, (0, 0)
    encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
    for token in tokenize.tokenize(io.BytesIO(source).readline):
        if token.type in _FORMATTED_STARTS:
            if depth == 0:
                start = token.start
            depth += 1
        elif token.type in _FORMATTED_ENDS:
            depth -= 1
            if depth == 0:
                lines = lines or io.StringIO(source.decode(encoding), newline=None).readlines()
                yield tokenize.STRING, _between(lines, start, token.end)
        elif depth == 0:
            yield token.type, token.string


def _between(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    """The text from one (line from 1, column) to another."""
    if start[0] == end[0]:
        return lines[start[0] - 1][start[1] : end[1]]
    inner = lines[start[0] : end[0] - 1]
    return "".join([lines[start[0] - 1][start[1] :], *inner, lines[end[0] - 1][: end[1]]])


# ---------------------------------------------------------------- Java


def _java_tokens(source: bytes) -> Iterator[Token]:
    tokenizer = _javalang()
    try:
        java_tokens = list(tokenizer.tokenize(source.decode("utf-8-sig")))
    except UnicodeDecodeError as error:
        raise NotSource(f"not UTF-8: {error.reason} at byte {error.start}") from None
    except Exception as error:  # beside its own LexerError it raises what it trips over, as TypeError for a lone "0"
        raise NotSource(f"not Java: {error}") from None
    return _marked_java(java_tokens)


def _javalang() -> Any:
    try:
        from javalang import tokenizer
    except ModuleNotFoundError:
        raise MissingExtra("Java source", "completion") from None
    return tokenizer


def _marked_java(java_tokens: Iterable[Any]) -> Iterator[Token]:
    tokenizer = _javalang()
    for token in java_tokens:
        if isinstance(token, (tokenizer.String, tokenizer.Character)):
            yield _quoted(token.value, characters=True)
        elif type(token).__name__.endswith(("Integer", "FloatingPoint")):  # siblings such as DecimalInteger
            yield Literal("NUM", "", token.value, "")
        else:
            yield token.value
