"""Reading CodeXGLUE's two forms, and every fault a user's file can have."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passkwh.benchmarks.completion.data import Files, Lines, open_data, read_files, read_lines
from passkwh.errors import UsageError

WORDS = st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: len(text.split()) == 1).map(str.strip)


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8", newline="\n")
    return path


@given(files=st.lists(st.lists(WORDS)))
def test_token_files_come_back_as_they_were(files: list[list[str]], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("data") / "test.txt"
    write(path, *(" ".join(["<s>", *words, "</s>"]) for words in files))
    assert [file.text.split(" ") if file.text else [] for file in read_files(path)] == files
    assert [file.index for file in read_files(path)] == list(range(len(files)))


def test_gzip_and_folders_are_read_like_files(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "dev.txt.gz", "wt", encoding="utf-8") as file:
        file.write("<s> a = 1 </s>\n")
    source = open_data(str(tmp_path), "python", "dev")
    assert isinstance(source, Files)
    assert [file.text for file in source.read()] == ["a = 1"]


def test_the_line_form_is_recognised_and_its_start_mark_taken_off(tmp_path: Path) -> None:
    path = write(tmp_path / "test.json", json.dumps({"input": "<s> x =", "gt": " 1 ", "id": 7}))
    source = open_data(str(path), "python", "test")
    assert isinstance(source, Lines)
    assert [(line.context, line.truth) for line in source.read()] == [("x =", "1")]


@pytest.mark.parametrize("line", ["a = 1 </s>", "<s> a = 1", "<s>", "{'a'} </s>"])
def test_a_malformed_token_line_is_named(line: str, tmp_path: Path) -> None:
    path = write(tmp_path / "test.txt", "<s> fine </s>", "", line)
    with pytest.raises(UsageError, match=r"test\.txt:3: .*<s>.*</s>"):
        list(read_files(path))


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"input": "<s> a", "gt": ', "not JSON"),
        ('{"input": "<s> a"}', "'gt' is missing"),
        ('{"input": 3, "gt": "b"}', "'input' is a int, not a text"),
        ("[1, 2]", "expected a JSON object"),
        ('{"input": "<s> a", "gt": " "}', "empty ground truth"),
    ],
)
def test_a_malformed_line_sample_is_named(line: str, fault: str, tmp_path: Path) -> None:
    path = write(tmp_path / "test.json", json.dumps({"input": "<s> x =", "gt": "1"}), line)
    with pytest.raises(UsageError, match=rf"test\.json:2: .*{fault}"):
        list(read_lines(path))


def test_bytes_that_are_not_utf8_are_named(tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_bytes(b"<s> a </s>\n<s> \xe9 </s>\n")
    with pytest.raises(UsageError, match=r"test\.txt:2: not UTF-8"):
        list(read_files(tmp_path / "test.txt"))


def test_a_broken_gzip_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "test.txt.gz").write_bytes(gzip.compress(b"<s> a </s>\n" * 5000)[:-40])
    with pytest.raises(UsageError, match="truncated or damaged"):
        list(read_files(tmp_path / "test.txt.gz"))


def test_missing_paths_splits_and_unknown_splits_are_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no data at"):
        open_data(str(tmp_path / "nothing"), "python", "test")
    with pytest.raises(UsageError, match=r"no test split in .*test\.txt"):
        open_data(str(tmp_path), "python", "test")
    with pytest.raises(UsageError, match="split is 'eval'"):
        open_data(str(tmp_path), "python", "eval")
