"""Files of a corpus that stand in a test split, whole or nearly, are left out of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passkwh.benchmarks.completion.codexglue import render, tokens_of
from passkwh.benchmarks.completion.corpus import make_corpus
from passkwh.benchmarks.completion.duplicates import NEAR, SHINGLE, Near
from passkwh.errors import UsageError

WORDS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=40)


def module(name: str, lines: int) -> str:
    return "".join(f"def {name}_{place}(value):\n    return value + {place}.5\n" for place in range(lines))


@pytest.fixture
def tested(tmp_path: Path) -> Path:
    """A file of test data: the module ``held``, in CodeXGLUE's form."""
    kept = {"STR": frozenset[str](), "NUM": frozenset({"0.5"}), "CHAR": frozenset[str]()}
    text = render(tokens_of(module("held", 20).encode(), "python"), kept)
    (tmp_path / "tested.txt").write_text(f"<s> {text} </s>\n")
    return tmp_path / "tested.txt"


def test_copies_and_near_copies_of_test_files_are_skipped_and_named(tmp_path: Path, tested: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    texts = {
        "same": module("held", 20),
        "other_numbers": module("held", 20).replace(".5", ".75"),  # literals do not tell files apart
        "longer": module("held", 20) + module("more", 5),
        "other": module("other", 20),
        "another": module("another", 20),
        "third": module("third", 20),
    }
    for name, text in texts.items():
        (source / f"{name}.py").write_text(text)
    corpus = make_corpus(source, tmp_path / "out", "python", apart_from=[str(tested)])
    assert set(corpus.skipped) == {"same.py", "other_numbers.py", "longer.py"}
    assert corpus.skipped["same.py"] == "100% the same as file 1 of tested.txt"
    assert sum(corpus.files.values()) == 3
    written = "".join((tmp_path / "out" / f"{split}.txt").read_text() for split in ("train", "dev", "test"))
    assert "held_0" not in written
    assert '"skipped": "100% the same' in (tmp_path / "out" / "files.jsonl").read_text()


def test_without_anything_to_keep_apart_from_all_files_stay(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("a", "b", "c"):
        (source / f"{name}.py").write_text(module("held", 20))
    assert make_corpus(source, tmp_path / "out", "python").skipped == {}


def test_data_that_holds_beginnings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lines.json").write_text('{"input": "<s> a = ", "gt": "1"}\n')
    source = tmp_path / "source"
    source.mkdir()
    for name in ("a", "b", "c"):
        (source / f"{name}.py").write_text("x = 1\n")
    with pytest.raises(UsageError, match="give data with whole files"):
        make_corpus(source, tmp_path / "out", "python", apart_from=[str(tmp_path / "lines.json")])


@given(st.lists(WORDS, min_size=1, max_size=6), WORDS)
def test_the_likest_file_is_that_of_the_greatest_jaccard_similarity(files: list[list[str]], text: list[str]) -> None:
    def shingles(words: list[str]) -> set[tuple[str, ...]]:
        return {tuple(words[begin : begin + SHINGLE]) for begin in range(max(1, len(words) - SHINGLE + 1))}

    near = Near((str(place), " ".join(words)) for place, words in enumerate(files))
    own = shingles(text)
    similar = [len(own & shingles(words)) / len(own | shingles(words)) for words in files]
    like = near.like(" ".join(text))
    if max(similar) < NEAR:
        assert like is None
    else:
        assert like is not None
        assert like[1] == pytest.approx(max(similar))
        assert similar[int(like[0])] == pytest.approx(like[1])
