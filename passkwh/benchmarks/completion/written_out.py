"""From CodeXGLUE's token form back to code: what a model that was trained on it writes, as a person would type it.

The token form has lost the layout: indentation, blank lines, comments, the space between tokens, and the value of rare
literals. What can be had again: line ends (``<EOL>`` in Python; in Java after ``;``, ``{`` and ``}``), the usual space
between tokens, the values that literals kept (``<STR_LIT:utf-8>``), and indentation as far as the code before the
cursor and the words themselves tell it (:mod:`passkwh.benchmarks.completion.indentation`). A literal whose value was
lost is empty, or 0.
"""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass, field

from passkwh.benchmarks.completion.codexglue import UNESCAPES
from passkwh.benchmarks.completion.data import EOL

_MARK = (
    r"(?:(?P<prefix>[A-Za-z]{0,2})(?P<quote>\"\"\"|'''|\"|'))?<(?P<kind>STR|NUM|CHAR)_LIT(?::(?P<value>\S*?))?>"
    r"(?(quote)(?P=quote))"
)
_WORD = re.compile(
    rf"(?P<eol>{EOL})|(?P<mark>{_MARK})"
    r"|[A-Za-z]{0,2}(?:\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*')"
    r"|[^\W\d]\w*|\.?\d[\w.]*"
    r"|\*\*=|//=|<<=|>>=|\.\.\.|->|:=|::|==|!=|<=|>=|\+=|-=|\*=|/=|%=|&=|\|=|\^=|&&|\|\||\+\+|--|\*\*|//|<<|>>|\S"
)
_MARKS = ("<EOL>", "<STR_LIT", "<NUM_LIT", "<CHAR_LIT")
_QUOTES_BEFORE = re.compile(r"[A-Za-z]{0,2}(?:\"\"\"|'''|\"|')$")
_GENERIC = re.compile(r"[A-Z]\w*[a-z]\w*")
_PYTHON_OPERATES = frozenset(keyword.kwlist) - {"None", "True", "False"}
_JAVA_OPERATES = frozenset(
    [
        "if",
        "for",
        "while",
        "switch",
        "catch",
        "synchronized",
        "return",
        "throw",
        "try",
        "assert",
        "else",
        "do",
        "case",
        "instanceof",
    ]
)
_BEFORE_OPERAND = frozenset(["-", "+", "~", "*", "**", "!", "++", "--"])


@dataclass(frozen=True)
class Word:
    """One token of a text in the token form."""

    text: str
    """As it is written in code; ``<EOL>`` stays."""
    after_space: bool


def words_of(text: str) -> list[Word]:
    """The tokens of a text in the token form, literals with their values."""
    return [
        Word(_literal(match) if match["mark"] else match[0], text[match.start() - 1 : match.start()].isspace())
        for match in _WORD.finditer(text)
    ]


def _literal(match: re.Match[str]) -> str:
    kind, value = match["kind"], match["value"] or ""
    if kind == "NUM":
        return value or "0"
    for name, character in UNESCAPES.items():
        value = value.replace(name, character)
    quote = match["quote"] or ("'" if kind == "CHAR" else '"')
    if kind == "CHAR":
        value = value or " "  # Java has no empty character
    return f"{match['prefix'] or ''}{quote}{value}{quote}"


def without_cut_mark(text: str) -> str:
    """The text without a mark at its end that is not whole: a completion stops after so many tokens, wherever that is.

    Example:
        >>> without_cut_mark("x = '<STR_L"), without_cut_mark("return x <EO"), without_cut_mark("x <EOL>")
        ('x = ', 'return x ', 'x <EOL>')
    """
    start = len(text) - len(text.split()[-1]) if text and not text[-1].isspace() else len(text)
    last = text[start:]
    for place in (i for i, character in enumerate(last) if character == "<"):
        piece = last[place:]
        named = any(mark.startswith(piece) or piece.startswith(mark) for mark in _MARKS)
        quotes = _QUOTES_BEFORE.search(last, 0, place)
        begin = quotes.start() if quotes else place
        whole = any(m.start() == begin and (m["eol"] or m["mark"]) for m in _WORD.finditer(last, begin))
        if named and not whole:
            return text[: start + begin]
    return text


@dataclass
class Spacing:
    """How much space stands before the next token, by the tokens of its line and the brackets that are open."""

    java: bool
    brackets: list[str] = field(default_factory=list)
    first: str = ""
    """Of the line; empty where nothing stands on it."""
    previous: str = ""
    _binds: bool = False
    """The previous token belongs to what follows: an operator before its operand, an opened generic."""
    _generics: int = 0
    _typed: bool = False
    """A colon since the last comma of the innermost bracket: ``=`` is of an annotated parameter."""

    @property
    def innermost(self) -> str:
        """The innermost open bracket; empty outside of all."""
        return self.brackets[-1] if self.brackets else ""

    def new_line(self) -> None:
        """A line begins, or where a bracket is open goes on."""
        self.previous = ""
        if not self.brackets or self.java:
            self.first = ""
        self._binds = False

    def gap(self, word: str) -> str:
        """A space or nothing."""
        previous = self.previous
        if not previous or self._binds or word in (",", ";", ")", "]") or previous in ("(", "["):
            return ""
        if "." in (word, previous) or "::" in (word, previous):
            return " " if self._is_import_dot(word) else ""
        if previous == "@" and (self.java or self.first == "@"):
            return ""
        own = self._java_gap(word) if self.java else self._python_gap(word)
        if own is not None:
            return own
        if word in ("(", "["):
            return "" if self._is_operand(previous) else " "
        return " "

    def _is_import_dot(self, word: str) -> bool:
        if self.java or self.first not in ("from", "import"):
            return False
        return self.previous in ("from", "import") if word == "." else word == "import"

    def _python_gap(self, word: str) -> str | None:
        if word in (":", "}") or self.previous == "{":
            return ""
        if self.previous == ":" and self.innermost == "[":
            return ""
        if "=" in (word, self.previous) and self.innermost == "(" and not self._typed:
            return ""
        return None

    def _java_gap(self, word: str) -> str | None:
        previous = self.previous
        if word == ":" and self.first in ("case", "default"):
            return ""
        if word in ("++", "--", "...") and self._is_operand(previous):
            return ""
        if (word == "<" and _GENERIC.fullmatch(previous)) or (self._generics and word in (">", ">>")):
            return ""
        if previous == ">>>" and word in ("(", "[", ">"):  # a closed generic, see add
            return ""
        return None

    def _is_operand(self, word: str) -> bool:
        operates = _JAVA_OPERATES if self.java else _PYTHON_OPERATES
        ends_value = word in (")", "]", "}", ">>>") or word[-1:] in ("'", '"') or word[:1].isalnum() or word[:1] == "_"
        return ends_value and word not in operates

    def add(self, word: str) -> None:
        """The next token of the line."""
        previous = self.previous
        self._binds = word in _BEFORE_OPERAND and not self._is_operand(previous)
        if word in ("(", "[", "{"):
            self.brackets.append(word)
            self._typed = False
        elif word in (")", "]", "}") and self.brackets:
            self.brackets.pop()
        elif word == ",":
            self._typed = False
        elif word == ":" and self.innermost == "(":
            self._typed = True
        if self.java:
            word = self._generic(word, previous)
        self.first = self.first or word
        self.previous = word

    def _generic(self, word: str, previous: str) -> str:
        if word == "<" and (_GENERIC.fullmatch(previous) or previous in ("static", "public", "private", "final")):
            self._generics += 1
            self._binds = True
        elif word in (">", ">>") and self._generics:
            self._generics = max(self._generics - len(word), 0)
            return ">>>"  # told from a comparison
        elif word in (";", "{"):
            self._generics = 0
        return word
