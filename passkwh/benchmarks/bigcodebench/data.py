"""The tasks: from the embedded sample, a local file in the official format, or the hub's cache."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from passkwh.errors import UsageError

HUB_REPOSITORY = "bigcode/bigcodebench"
HUB_VERSION = "v0.1.4"
"""The version that bigcodebench 0.2.5 evaluates."""

SAMPLE = Path(__file__).with_name("sample.jsonl")


@dataclass(frozen=True)
class Problem:
    """One task, with the official field names."""

    task_id: str
    complete_prompt: str
    """Imports, signature and docstring: a base model continues it."""
    instruct_prompt: str
    """The same task in prose."""
    canonical_solution: str
    """Continues ``complete_prompt``."""
    code_prompt: str
    """Imports and signature, without docstring."""
    test: str
    """Source of ``class TestCases``."""
    entry_point: str

    @property
    def reference(self) -> str:
        """The complete reference program, as the official evaluator checks it."""
        return self.complete_prompt + "\n" + self.canonical_solution


def load_sample() -> tuple[list[Problem], str]:
    """The embedded sample, and what to call its source."""
    return _problems(_json_lines(SAMPLE), SAMPLE.name), "embedded"


def load_file(path: Path) -> tuple[list[Problem], str]:
    """Tasks of a ``.jsonl`` or ``.jsonl.gz`` file. Raises UsageError naming the line that cannot be used."""
    if not path.is_file():
        raise UsageError(f"data file {path} does not exist: give a .jsonl or .jsonl.gz file of BigCodeBench tasks")
    return _problems(_json_lines(path), path.name), path.name


def load_hub(subset: str) -> tuple[list[Problem], str]:
    """Tasks of the hub's data set (``full`` or ``hard``), from its cache or downloaded into it."""
    repository = HUB_REPOSITORY + ("-hard" if subset == "hard" else "")
    from huggingface_hub import snapshot_download

    pattern = f"data/{HUB_VERSION}-*.parquet"
    try:
        folder = Path(snapshot_download(repository, repo_type="dataset", allow_patterns=[pattern]))
    except (OSError, ValueError) as error:  # offline, not cached, no such repository: all derive from these two
        raise UsageError(
            f"{repository} is neither in the hub's cache nor to be reached ({type(error).__name__}): on a machine with "
            f"network run `hf download {repository} --repo-type dataset`, or give its tasks as a file with data=FILE, "
            "or use the embedded tasks with subset=sample"
        ) from error
    files = sorted(folder.glob(pattern))
    if not files:
        raise UsageError(f"{repository} has no {pattern} in {folder}: delete that folder and try again")
    import pyarrow.parquet

    rows = [row for file in files for row in pyarrow.parquet.read_table(file).to_pylist()]
    return _problems(enumerate(rows, 1), repository), f"{repository} {HUB_VERSION} {folder.name}"


def _json_lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    number = 0
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise UsageError(
                        f"{path}, line {number}: not JSON ({error.msg} at column {error.colno}); "
                        "the file may be truncated: download it again"
                    ) from error
                if not isinstance(row, dict):
                    raise UsageError(f"{path}, line {number}: expected a JSON object, found {type(row).__name__}")
                yield number, row
    except (EOFError, zlib.error, gzip.BadGzipFile, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path}, after line {number}: the file is truncated or damaged ({error}); download it again"
        ) from error


def _problems(rows: Iterable[tuple[int, Mapping[str, Any]]], source: str) -> list[Problem]:
    problems: dict[str, Problem] = {}
    for number, row in rows:
        where = f"{source}, line {number}"
        values: dict[str, str] = {}
        for field in fields(Problem):
            value = row.get(field.name)
            if not isinstance(value, str):
                found = "is missing" if value is None else f"is a {type(value).__name__}, not a text"
                raise UsageError(f"{where}: field {field.name} {found}; not a BigCodeBench task")
            values[field.name] = value
        problem = Problem(**values)
        if "class TestCases" not in problem.test:
            raise UsageError(f"{where}: task {problem.task_id} has no tests (no class TestCases in its field test)")
        if problem.task_id in problems:
            raise UsageError(f"{where}: task {problem.task_id} stands twice in the data")
        problems[problem.task_id] = problem
    if not problems:
        raise UsageError(f"{source}: no tasks in it")
    return list(problems.values())
