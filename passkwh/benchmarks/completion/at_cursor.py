"""Code at a cursor, for a model that was trained on CodeXGLUE's token form: its prompt, and its answer as code."""

from __future__ import annotations

import copy
import re
from functools import cache, cached_property

from passkwh.benchmarks.completion.codexglue import ends_inside_text, render, tokens_before
from passkwh.benchmarks.completion.data import EOL, embedded_files
from passkwh.benchmarks.completion.indentation import Indentation
from passkwh.benchmarks.completion.written_out import Spacing, without_cut_mark, words_of

_KEPT = re.compile(r"<(STR|NUM|CHAR)_LIT:(\S+)>")
_TOKEN_FORM = re.compile(r"<EOL>|<(?:STR|NUM|CHAR)_LIT[:>]")
_JAVA_LINE = re.compile(r".*[;{}]\s*$|\s*(?:package|public|private|protected|import static)\b.*")
_PYTHON_LINE = re.compile(r".*:\s*$|\s*(?:def|from|elif|@\w|import\s+[\w., ]+$|#).*")
_AFTER_BRACE = frozenset(["else", "catch", "finally", ")", ";", ",", "."])


class AtCursor:
    """The place of the cursor in a file.

    Args:
        before: the code before the cursor, as the editor has it.
        language: ``python`` or ``java``.

    Example:
        >>> cursor = AtCursor("def f(a):\\n    if a:", "python")
        >>> cursor.prompt
        'def f ( a ) : <EOL> if a :'
        >>> cursor.code(" <EOL> return a . b <EOL> return <NUM_LIT:1>")
        '\\n        return a.b\\n    return 1'
    """

    def __init__(self, before: str, language: str) -> None:
        self._before, self._java = before, language == "java"
        tokens = tokens_before(before, language)
        tail = before.rpartition("\n")[2]
        self._in_text = ends_inside_text(before, language)
        self._in_comment = _ends_in_comment(tail, self._java)
        self._fresh = not tail.strip() and "\n" in before
        prompt = render(tokens, kept_literals(language))
        if not self._java and prompt and (self._fresh or self._in_comment):
            prompt += f" {EOL}"
        self.prompt = prompt
        """What the model continues; empty where there is no code yet."""

    def code(self, text: str, *, complete: bool = True) -> str:
        """What the model wrote after the prompt, as code to be inserted at the cursor.

        Args:
            text: in the token form.
            complete: nothing follows. Otherwise the last word, which may grow, is left out, so that what is given for a
                text begins what is given for a longer one.

        Returns:
            nothing inside a docstring or a comment of several lines: the token form has neither.
        """
        if self._in_text:
            return ""
        words = words_of(without_cut_mark(text))
        if not complete:
            words = words[:-1]
        writer = copy.deepcopy(self._at_prompt)
        return "".join(writer.write(word.text, word.after_space) for word in words)

    @cached_property
    def _at_prompt(self) -> _Writer:
        """A writer that has read the prompt: a stream asks for its text after every token, and goes on from here."""
        return _Writer(self._before, self._java, self.prompt, self._fresh, self._in_comment)


class _Writer:
    """Writes words one after the other: each gives the white space before it and itself."""

    def __init__(self, before: str, java: bool, prompt: str, fresh: bool, in_comment: bool) -> None:
        self._java = java
        self._lines = Indentation.of(before, java)
        self._spacing = Spacing(java)
        self._blocks: list[bool] = []
        """Of open braces: whether each is a block, and no list of values."""
        self._ends = False
        """The line under way is ended by the next word."""
        self._ended = ("", "")
        """First and last word of the line that was ended last."""
        self._reads = True
        """What is taken stands before the cursor: its lines are where they are."""
        for word in words_of(prompt):
            self._take(word.text)
        self._reads = False
        if in_comment:
            self._ends = True
        if fresh and java:
            self._ends = True
        self._at_cursor = True
        self._tail = before.rpartition("\n")[2] if fresh else None
        self._spaced = before[-1:].isspace()
        self._opens = before.rstrip().endswith("{")
        """The line above the next one opens a block; a comment may stand between the brace and the cursor."""

    def write(self, word: str, after_space: bool) -> str:
        """The text that the word adds."""
        if word == EOL:
            self._take(word)
            return ""
        if self._closes_line(word):
            self._ends = True
        if self._ends or self._annotated(word):
            space = self._new_line(word)
        elif self._at_cursor and (self._spaced or not after_space):
            space = ""
        else:
            space = self._spacing.gap(word)
        self._at_cursor = False
        self._take(word)
        self._opens = word == "{"
        return space + word

    def _take(self, word: str) -> None:
        """The word becomes the last one."""
        spacing = self._spacing
        if word == EOL:
            if not self._java:
                self._end_line()
            return
        block = word == "{" and self._java and spacing.previous not in ("=", "]", ",", "{")
        closes = word == "}" and self._java and bool(self._blocks) and self._blocks.pop()
        if word == "{" and self._java:
            self._blocks.append(block)
        if self._ends:  # only where words are read that stand before the cursor
            self._ends = False
            spacing.new_line()
        spacing.add(word)
        if self._java:
            self._ends = block or closes or (word == ";" and spacing.innermost in ("", "{"))

    def _end_line(self) -> None:
        if not self._ends and self._spacing.first:
            self._ended = self._spacing.first, self._spacing.previous
            if not self._spacing.brackets and not self._reads:
                self._lines.end(*self._ended)
        self._ends = True

    def _closes_line(self, word: str) -> bool:
        """A closing brace of a Java block stands on a line of its own."""
        return self._java and word == "}" and bool(self._blocks) and self._blocks[-1]

    def _annotated(self, word: str) -> bool:
        """An annotation of Java is over: what it is of stands below it."""
        spacing = self._spacing
        over = self._java and spacing.first == "@" and spacing.previous != "@" and spacing.innermost in ("", "{")
        return over and word not in ("(", ".") and (word[:1].isalpha() or word == "@")

    def _new_line(self, word: str) -> str:
        self._ends = False
        if self._java and self._spacing.previous == "}" and word in _AFTER_BRACE and self._tail is None:
            return "" if word in (")", ";", ",", ".") else " "
        indent = self._java_indent(word) if self._java else self._python_indent(word)
        self._spacing.new_line()
        if self._tail is not None:  # the editor has begun the line already
            typed, self._tail = self._tail, None
            if typed:
                self._lines.begin(typed)
                return ""
            self._begin(indent)
            return indent
        self._begin(indent)
        return f"\n{indent}"

    def _begin(self, indent: str) -> None:
        if self._java or not self._spacing.brackets:  # a line that goes on is no line of its own
            self._lines.begin(indent)

    def _python_indent(self, word: str) -> str:
        if self._spacing.brackets:
            return self._lines.indent + self._lines.step
        return self._lines.next(*self._ended, word)

    def _java_indent(self, word: str) -> str:
        lines = self._lines
        indent = lines.indent + lines.step if self._opens else lines.indent
        return indent.removesuffix(lines.step) if word == "}" else indent


def is_token_form(text: str) -> bool:
    """Whether a text is in the token form already: it has marks that no code has."""
    return _TOKEN_FORM.search(text) is not None


def language_of(code: str, default: str) -> str:
    """Python or Java, by how its lines begin and end; ``default`` where they do not tell."""
    lines = code.splitlines()
    java = sum(_JAVA_LINE.match(line) is not None for line in lines)
    python = sum(_PYTHON_LINE.match(line) is not None and not _JAVA_LINE.match(line) for line in lines)
    return default if java == python else "java" if java > python else "python"


@cache
def kept_literals(language: str) -> dict[str, frozenset[str]]:
    """Values that literals keep: those of the embedded training data; a bundle does not say which its own kept."""
    kept: dict[str, set[str]] = {"STR": set(), "NUM": set(), "CHAR": set()}
    for file in embedded_files(language, "train").read():
        for kind, value in _KEPT.findall(file.text):
            kept[kind].add(value)
    return {kind: frozenset(values) for kind, values in kept.items()}


def _ends_in_comment(line: str, java: bool) -> bool:
    without_strings = re.sub(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'", "", line)
    return ("//" if java else "#") in without_strings
