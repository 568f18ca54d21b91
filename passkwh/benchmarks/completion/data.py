"""Reads CodeXGLUE's two forms of completion data, and refuses what cannot be scored.

Token form (``train.txt``, ``dev.txt``, ``test.txt``): one file a line, ``<s> token token ... </s>``, ``<EOL>`` where a
Python line ends, ``<STR_LIT:...>``, ``<NUM_LIT:...>``, ``<CHAR_LIT:...>`` for literals. Line form (``test.json``): one
JSON object a line with ``input`` (a file's beginning, in the token form) and ``gt`` (the rest of its line).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from passkwh.benchmarks import rows
from passkwh.errors import UsageError

HUB_DATASET = "google/code_x_glue_cc_code_completion_token"
_HUB_SPLITS = {"train": "train", "dev": "validation", "test": "test"}
_HUB_ROWS = 64
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
        return hub_files(language, split)
    path = _find(Path(data).expanduser(), split)
    if _holds_lines(path):
        return Lines(path.name, lambda: read_lines(path))
    return Files(path.name, lambda: read_files(path))


def embedded_files(language: str, split: str) -> Files:
    """The samples that ship with the package (``samples/NOTICE.md`` names their sources and licences)."""
    path = Path(__file__).with_name("samples") / language / f"{split}.txt.gz"
    return Files(f"embedded samples, {language}, {split}", lambda: read_files(path))


def hub_files(language: str, split: str) -> Files:
    """A split of the hub's token-level data, downloaded unless it is in the hub's cache.

    Raises:
        UsageError: the hub cannot be reached and the split is not cached, or the corpus has no such split.
    """
    otherwise = (
        "use data=embedded, or give data a file or folder in CodeXGLUE's form (`bench data codexglue` makes one)"
    )
    paths, revision = rows.hub_files(HUB_DATASET, f"{language}/{_HUB_SPLITS[split]}-*.parquet", otherwise)
    return Files(f"{HUB_DATASET}@{revision}, {language}, {split}", lambda: read_parquet(paths))


def read_parquet(paths: list[Path]) -> Iterator[CodeFile]:
    """Files in the hub's form: one row each, ``code`` being its list of tokens with ``<s>`` and ``</s>``."""
    import pyarrow.parquet as parquet

    index = 0
    for path in paths:
        for batch in parquet.ParquetFile(path).iter_batches(_HUB_ROWS, columns=["code"]):
            for tokens in batch.column("code").to_pylist():
                words = [token for token in tokens if token.strip()]
                if words[:1] != [START] or words[-1:] != [END]:
                    raise UsageError(
                        f"{path}: row {index} is not {START} ... {END}: the hub's data has changed its form"
                    )
                yield CodeFile(index, " ".join(words[1:-1]))
                index += 1


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


def _holds_lines(path: Path) -> bool:
    """Whether a file is of the line form: it begins as JSON does. An empty one is taken for the token form."""
    first = next((line for _, line in rows.lines(path) if line.strip()), "")
    return first.lstrip().startswith(("{", "["))


def read_files(path: Path) -> Iterator[CodeFile]:
    """Files in the token form.

    Raises:
        UsageError: a line that is not ``<s> ... </s>``, named with file and line number.
    """
    for number, line in rows.lines(path):
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
    for index, (where, row) in enumerate(rows.objects(path, "CodeXGLUE's line-level samples")[0]):
        example = rows.text_fields(where, row, ("input", "gt"), "a line-level sample")
        if not example["gt"].strip():
            raise UsageError(
                f"{where}: 'gt' is empty, so nothing can be scored; CodeXGLUE's line-level test set on the "
                "hub has empty ground truth throughout: use the token-level test files (data=hub cuts lines there)"
            )
        yield LineExample(index, example["input"].strip().removeprefix(START).strip(), example["gt"].strip())


def _excerpt(line: str, width: int = 60) -> str:
    text = line.strip()
    return repr(text if len(text) <= width else f"{text[: width // 2]} ... {text[-width // 2 :]}")
