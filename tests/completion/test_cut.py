"""Where files are cut, by the definitions of GREEN-CODE and CodeXGLUE."""

from __future__ import annotations

from itertools import accumulate
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passkwh.benchmarks.completion.cut import (
    cut_fraction,
    cut_line,
    first_words,
    keep_last,
    line_end,
    plain_literals,
    word_ends,
)

PIECES = st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=60)


@given(pieces=PIECES, fraction=st.floats(0.05, 0.95), most=st.integers(1, 40), new=st.integers(1, 20))
def test_context_and_reference_are_the_first_and_the_next_tokens(
    pieces: list[str], fraction: float, most: int, new: int
) -> None:
    text, ends = "".join(pieces), list(accumulate(map(len, pieces)))
    context = min(int(fraction * len(pieces)), most)
    cut = cut_fraction(text, ends, fraction, most, new)
    if context == 0 or context + new > len(pieces):
        assert cut is None
    else:
        assert cut is not None
        assert cut.context == "".join(pieces[:context])
        assert cut.reference == "".join(pieces[context : context + new])


def test_a_start_token_counts_but_is_no_context_on_its_own() -> None:
    assert cut_fraction("a b c d e", [0, 1, 3, 5, 7, 9], 0.2, 512, 2) is None
    cut = cut_fraction("a b c d e", [0, 1, 3, 5, 7, 9], 0.4, 512, 2)
    assert cut is not None
    assert (cut.context, cut.reference) == ("a", " b c")


@given(st.lists(st.sampled_from(["x", "=", "1", "<EOL>", "f", "(", ")"]), max_size=40), st.integers(0, 5))
def test_a_python_line_ends_before_its_eol(tokens: list[str], seed: int) -> None:
    cut = cut_line(" ".join(tokens), "python", Random(seed))
    if cut is None:
        assert all(token == "<EOL>" for token in tokens[1:])
        return
    before, rest = cut.context.split(), cut.reference.split()
    assert before
    assert rest
    assert "<EOL>" not in rest
    assert tokens[: len(before) + len(rest)] == before + rest
    assert tokens[len(before) + len(rest) :][:1] in ([], ["<EOL>"])


@given(st.lists(st.sampled_from(["x", "=", "1", ";", "{", "}", '"<STR_LIT:;>"', "'<CHAR_LIT:{>'"]), max_size=40))
def test_a_java_line_ends_with_semicolon_or_brace_but_without_an_opening_one(tokens: list[str]) -> None:
    cut = cut_line(" ".join(tokens), "java", Random(1))
    if cut is None:
        assert all(token == "{" for token in tokens[1:])
        return
    before, rest = cut.context.split(), cut.reference.split()
    assert tokens[: len(before) + len(rest)] == before + rest
    assert not {";", "{", "}"} & set(rest[:-1])
    assert rest[-1] in (";", "}") or tokens[len(before) + len(rest) :][:1] in ([], ["{"])


@pytest.mark.parametrize(
    ("language", "answer", "line"),
    [
        ("python", " return x <EOL> def f", "return x"),
        ("python", "return x\nprint()", "return x"),
        ("python", "", ""),
        ("java", " x = 1 ; y = 2 ;", "x = 1 ;"),
        ("java", "foo(1);bar();", "foo(1);"),
        ("java", "if (x) { return", "if (x)"),
        ("java", 'print ( "a;b" ) ; x', 'print ( "a;b" ) ;'),
        ("java", "c = ';' ; x", "c = ';' ;"),
        ("java", "} }", "}"),
        ("java", "no end", "no end"),
    ],
)
def test_an_answer_is_cut_to_its_line(language: str, answer: str, line: str) -> None:
    assert line_end(answer, language) == line


def test_the_last_tokens_of_a_context_are_kept() -> None:
    assert keep_last("aa bb cc", word_ends("aa bb cc"), 2) == "bb cc"
    assert keep_last("aa bb cc", word_ends("aa bb cc"), 3) == "aa bb cc"
    assert first_words("aa  bb\ncc", 2) == "aa  bb"
    assert first_words(" aa", 2) == " aa"


def test_literals_go_back_to_source() -> None:
    text = "f ( '<STR_LIT:a>' , \"<STR_LIT>\" , <NUM_LIT> , <NUM_LIT:1.5> , '<CHAR_LIT:x>' , '<CHAR_LIT>' )"
    assert plain_literals(text) == "f ( 'a' , \"\" , 0 , 1.5 , 'x' , '' )"
