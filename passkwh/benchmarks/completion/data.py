"""Reads CodeXGLUE's two forms of completion data, and refuses what cannot be scored.

Token form (``train.txt``, ``dev.txt``, ``test.txt``): one file a line, ``<s> token token ... </s>``, ``<EOL>`` where a
Python line ends, ``<STR_LIT:...>``, ``<NUM_LIT:...>``, ``<CHAR_LIT:...>`` for literals. Line form (``test.json``): one
JSON object a line with ``input`` (a file's beginning, in the token form) and ``gt`` (the rest of its line).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

from passkwh.errors import UsageError

SPLITS = ("train", "dev", "test")
START, END, EOL = "<s>", "</s>", "<EOL>"


@dataclass(frozen=True)
class CodeFile:
    """One source file in the token form."""

    index: int
    """Its place in the split, from 0."""
    text: str
    """Its tokens, one space between two, without ``<s>`` and ``</s>``."""


@dataclass(frozen=True)
class LineExample:
    """One sample of CodeXGLUE's line-level task."""

    index: int
    context: str
    truth: str
    """The rest of the line, never empty."""


@dataclass(frozen=True)
class Files:
    """Whole files."""

    description: str
    read: Callable[[], Iterator[CodeFile]]
    """Opens the data anew and reads it lazily: a split of 50,000 files is never held whole."""


@dataclass(frozen=True)
class Lines:
    """Ready-made samples of the line-level task."""

    description: str
    read: Callable[[], Iterator[LineExample]]


def open_data(data: str, language: str, split: str) -> Files | Lines:
    """The data that ``data`` names: ``embedded``, ``hub``, a file, or a folder as ``bench data codexglue`` writes it.

    Raises:
        UsageError: unknown split, nothing at that path, or the hub cannot be reached. Faults in the content raise it
            when the content is read, with file and line.
    """
    if split not in SPLITS:
        raise UsageError(f"split is {split!r}: use one of {', '.join(SPLITS)}")
    if data == "embedded":
        return embedded_files(language, split)
    if data == "hub":
        from passkwh.benchmarks.completion.hub import hub_files

        return hub_files(language, split)
    path = _find(Path(data).expanduser(), split)
    kind = _kind(path)
    if kind == "lines":
        return Lines(path.name, lambda: read_lines(path))
    return Files(path.name, lambda: read_files(path))


def embedded_files(language: str, split: str) -> Files:
    """The samples that ship with the package (``samples/NOTICE.md`` names their sources and licences)."""

    def read() -> Iterator[CodeFile]:
        packed = resources.files(__package__) / "samples" / language / f"{split}.txt.gz"
        with resources.as_file(packed) as path:
            yield from read_files(path)

    return Files(f"embedded samples, {language}, {split}", read)


def _find(path: Path, split: str) -> Path:
    if not path.exists():
        raise UsageError(f"no data at {path}: give a file or folder in CodeXGLUE's form, or 'hub', or 'embedded'")
    if path.is_file():
        return path
    names = [f"{split}{suffix}" for suffix in (".txt", ".txt.gz", ".json", ".jsonl")]
    for name in names:
        if (path / name).is_file():
            return path / name
    raise UsageError(f"no {split} split in {path}: none of {', '.join(names)} is there")


def _kind(path: Path) -> Literal["files", "lines"]:
    """A line-form file begins with ``{``; an empty one is taken for the token form."""
    for _, line in _lines(path):
        if line.strip():
            return "lines" if line.lstrip().startswith("{") else "files"
    return "files"


def read_files(path: Path) -> Iterator[CodeFile]:
    """Files in the token form.

    Raises:
        UsageError: a line that is not ``<s> ... </s>``, named with file and line number.
    """
    for number, line in _lines(path):
        tokens = line.split()
        if not tokens:
            continue
        if len(tokens) < 2 or tokens[0] != START or tokens[-1] != END:
            raise UsageError(
                f"{path}:{number}: not a file in CodeXGLUE's token form: it must begin with {START} and end with "
                f"{END}, here it is {_excerpt(line)}"
            )
        yield CodeFile(number - 1, " ".join(tokens[1:-1]))


def read_lines(path: Path) -> Iterator[LineExample]:
    """Samples of the line-level task.

    Raises:
        UsageError: a line that is not such an object, or has an empty ``gt``, named with file and line number.
    """
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UsageError(f"{path}:{number}: not JSON ({error.msg} at column {error.colno})") from None
        for key in ("input", "gt"):
            if not isinstance(row, dict) or not isinstance(row.get(key), str):
                raise UsageError(f'{path}:{number}: needs the texts "input" and "gt"; {key!r} is missing or not a text')
        if not row["gt"].strip():
            raise UsageError(
                f"{path}:{number}: 'gt' is empty, so nothing can be scored; CodeXGLUE's line-level test set on the "
                "hub has empty ground truth throughout: use the token-level test files (data=hub cuts lines there)"
            )
        yield LineExample(number - 1, row["input"].strip().removeprefix(START).strip(), row["gt"].strip())


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines of a file; only a line feed ends one, for a literal may hold any other separator."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        number = 0
        while True:
            try:
                line = file.readline()
            except (EOFError, gzip.BadGzipFile) as error:
                raise UsageError(f"{path}: not a whole gzip file ({error}): fetch it again") from None
            if not line:
                return
            number += 1
            try:
                yield number, line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise UsageError(f"{path}:{number}: not UTF-8 ({error.reason}): convert the file") from None


def _excerpt(line: str, width: int = 60) -> str:
    text = line.strip()
    return repr(text if len(text) <= width else f"{text[: width // 2]} ... {text[-width // 2 :]}")
