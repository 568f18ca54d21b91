"""Code at a cursor: what an editor has is read into CodeXGLUE's form, and what the model writes becomes code again."""

from __future__ import annotations

import ast
import json
import random
import textwrap
from pathlib import Path
from types import ModuleType

import pytest

from passkwh.benchmarks.completion.at_cursor import AtCursor, is_token_form, kept_literals, language_of
from passkwh.benchmarks.completion.codexglue import render, tokens_of
from passkwh.benchmarks.completion.written_out import without_cut_mark

JAVA = """package org.example;

import java.util.List;
import java.util.Map;

@SuppressWarnings("unchecked")
public class Account<T extends Number> {
    private final Map<String, List<Integer>> entries;
    private int count = -1;

    public Account(Map<String, List<Integer>> entries) {
        this.entries = entries;
    }

    @Override
    public String toString() {
        for (int i = 0; i < count; i++) {
            if (entries.get("a") == null || !entries.isEmpty()) {
                throw new IllegalStateException("nothing");
            } else {
                count--;
            }
        }
        int[] sizes = { 1, 2 };
        char c = 'x';
        return sizes[0] > 1 ? "many" : null;
    }
}
"""
PYTHON_FILES = (textwrap, json.decoder, random)


def plain(code: str, language: str) -> str:
    """The tokens of code, literals without their values: a lost value cannot come back."""
    return render(tokens_of(code.encode(), language), {"STR": frozenset(), "NUM": frozenset(), "CHAR": frozenset()})


@pytest.mark.parametrize("module", PYTHON_FILES, ids=lambda module: module.__name__)
def test_a_python_file_that_is_written_on_from_any_line_is_the_same_tokens(module: ModuleType) -> None:
    code = Path(str(module.__file__)).read_text("utf-8")
    starts = [node.lineno for node in ast.walk(ast.parse(code)) if isinstance(node, ast.stmt)]
    whole = render(tokens_of(code.encode(), "python"), kept_literals("python"))
    lines = code.splitlines(keepends=True)
    for line in sorted(set(starts))[:: max(1, len(starts) // 12)]:
        before = "".join(lines[: line - 1])
        cursor = AtCursor(before, "python")
        if not cursor.prompt:
            continue
        assert whole.startswith(cursor.prompt)
        rest = whole.removeprefix(cursor.prompt)
        assert plain(before + cursor.code(rest), "python") == plain(code, "python")


@pytest.mark.parametrize("module", PYTHON_FILES, ids=lambda module: module.__name__)
def test_the_next_statement_of_a_python_file_fits_where_the_cursor_is(module: ModuleType) -> None:
    """An editor that has begun the line gets code that parses, whatever the statement."""
    code = Path(str(module.__file__)).read_text("utf-8")
    lines = code.splitlines(keepends=True)
    tree = ast.parse(code)
    tried = {id(node) for block in ast.walk(tree) if isinstance(block, ast.Try) for node in ast.walk(block)}
    statements = [  # in a try, no code parses before its except
        node for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.Return | ast.Expr | ast.Raise) and node.lineno == node.end_lineno
        and id(node) not in tried
    ]  # fmt: skip
    for node in statements[:: max(1, len(statements) // 15)]:
        before = "".join(lines[: node.lineno - 1]) + lines[node.lineno - 1][: node.col_offset]
        own = lines[node.lineno - 1][node.col_offset : node.end_col_offset]
        token_form = f" {render(tokens_of(own.encode(), 'python'), kept_literals('python'))} <EOL>"
        written = AtCursor(before, "python").code(token_form)
        ast.parse(before + written + "\n")
        assert plain(written, "python") == plain(own, "python")


def test_a_java_file_is_written_on_as_a_person_would_type_it() -> None:
    whole = render(tokens_of(JAVA.encode(), "java"), kept_literals("java"))
    lines = JAVA.splitlines(keepends=True)
    for line in range(7, len(lines)):
        before = "".join(lines[:line])
        cursor = AtCursor(before, "java")
        assert whole.startswith(cursor.prompt)
        assert plain(before + cursor.code(whole.removeprefix(cursor.prompt)), "java") == plain(JAVA, "java")
    before = "".join(lines[:16])  # at the end of toString's first line
    written = AtCursor(before, "java").code(whole.removeprefix(AtCursor(before, "java").prompt))
    wanted = "".join(lines[16:]).rstrip("\n")
    for value in ('"a"', '"nothing"', '"many"', "'x'"):  # values that are not common are lost
        if value not in written:
            wanted = wanted.replace(value, value[0] + (" " if value[0] == "'" else "") + value[0])
    assert written == wanted


@pytest.mark.parametrize(
    ("before", "token_form", "code"),
    [
        ("def f(a):\n    if a:", " <EOL> return a . b <EOL> return <NUM_LIT:1>", "\n        return a.b\n    return 1"),
        ("x = self.na", "me [ <NUM_LIT:0> : - <NUM_LIT:1> ]", "me[0:-1]"),
        ("x =", " [ ]", " []"),
        ("x = ", " f ( a , * b , key = '<STR_LIT:utf-8>' )", "f(a, *b, key='utf-8')"),
        ("a = 1\n# sort it", " b = - a <EOL> c = <STR_LIT>", '\nb = -a\nc = ""'),
        ("for i in x:\n", " print ( i ) <EOL> @ cached <EOL> def f ( ) :", "    print(i)\n@cached\ndef f():"),
        ("\tx = 1\n\tif x:", " <EOL> y = { a : b , ** c }", "\n\t\ty = {a: b, **c}"),
        (
            "try:\n  a()", " <EOL> except E as e : <EOL> raise <EOL> else : <EOL> pass <EOL> finally : <EOL> b ( )",
            "\nexcept E as e:\n  raise\nelse:\n  pass\nfinally:\n  b()",
        ),
        ("class A:\n    def f(self):\n        return 1\n\n    ", " def g ( self ) : <EOL> pass",
         "def g(self):\n        pass"),
        ("f(a,", " <EOL> b ) <EOL> c", "\n    b)\nc"),
        ("x = 1", " <EOL> y = '<STR_L", "\ny ="),
        ("x = 1", " <EOL> y = '<STR_LIT:aU+0020bU+002C>' <EO", "\ny = 'a b,'"),
        ("def f(a", ": int = <NUM_LIT:1> , b = <NUM_LIT> ) -> int :", ": int = 1, b=0) -> int:"),
        ("from", " . import a <EOL> from . b import c", " . import a\nfrom .b import c"),
    ],
)  # fmt: skip
def test_what_a_model_writes_becomes_code(before: str, token_form: str, code: str) -> None:
    cursor = AtCursor(before, "python")
    assert cursor.code(token_form) == code
    assert not is_token_form(cursor.code(token_form))
    for length in range(len(token_form)):  # a stream only ever adds
        assert code.startswith(cursor.code(token_form[:length], complete=False))


def test_code_that_is_not_whole_is_read_as_far_as_it_goes() -> None:
    for before, prompt in (
        ('x = f("ab', 'x = f ( "ab'),
        ("x = f(1,\n      b", "x = f ( <NUM_LIT:1> , <EOL> b"),
        ("if x:\n    ", "if x : <EOL>"),
        ("é = 'ü'", "é = '<STR_LIT>'"),
        ("", ""),
        ("# only a comment\n", ""),
    ):
        assert AtCursor(before, "python").prompt == prompt
    assert AtCursor('String s = "ab', "java").prompt == 'String s = "ab'


def test_nothing_is_written_into_a_docstring_or_a_comment_of_several_lines() -> None:
    assert AtCursor('def f():\n    """Adds', "python").code(" <EOL> x = a") == ""
    assert AtCursor("class A {\n /* adds", "java").code(" int x ;") == ""
    assert AtCursor('class A {\n /* a */ String s = "/*"; // /*', "java").code(" int x ;") == "\n int x;"
    assert AtCursor('x = """a"""\n', "python").code(" y = x") == "y = x"


def test_which_language_it_is() -> None:
    assert language_of(JAVA, "python") == "java"
    assert language_of(Path(textwrap.__file__).read_text("utf-8"), "java") == "python"
    assert (language_of("x", "java"), language_of("", "python")) == ("java", "python")
    assert language_of("def f():\n    x = 1;\n    if y:\n        pass\n", "java") == "python"


def test_marks_that_are_cut_off_are_left_out() -> None:
    for text in ("<EOL>", "a < b", "x = '<STR_LIT:a>'", "if a <b", "<NUM_LIT:1>"):
        assert without_cut_mark(text) == text
    for cut in ("<", "<E", "'<STR_LIT:ab", '"""<STR_LIT', "<NUM_LIT:1", "'<STR_LIT:a>"):
        assert without_cut_mark(f"x = {cut}") == "x = "
