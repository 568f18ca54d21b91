"""Rows of a data set: from a local file of lines, gzipped or not, or from the hub's parquet files."""

from __future__ import annotations

import gzip
import json
import logging
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from passkwh.errors import UsageError

Row = tuple[str, dict[str, Any]]
"""Where a row stands, in words for a message, and the row."""


def objects(path: Path, published_as: str) -> tuple[Iterator[Row], str]:
    """Rows of a file of JSON objects, one a line, and what to call their source.

    Args:
        published_as: what the file is called where it is published, for the message to someone who lacks it.

    Raises:
        UsageError: no such file; at reading, a line that is no JSON object, named.
    """
    if not path.is_file():
        raise UsageError(f"data file {path} does not exist: give {published_as}")
    return _objects(path), path.name


def _objects(path: Path) -> Iterator[Row]:
    for number, line in lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UsageError(
                f"{path}:{number}: not JSON ({error.msg} at column {error.colno}); the file may be truncated"
            ) from None
        if not isinstance(row, dict):
            raise UsageError(f"{path}:{number}: expected a JSON object, not a {type(row).__name__}")
        yield f"{path}:{number}", row


def text_fields(where: str, row: dict[str, Any], names: Sequence[str], what: str) -> dict[str, str]:
    """Those fields of a row, all texts.

    Raises UsageError for one that is missing or no text: the row is then not ``what`` it should be.
    """
    for name in names:
        if not isinstance(row.get(name), str):
            fault = "is missing" if row.get(name) is None else f"is a {type(row[name]).__name__}, not a text"
            raise UsageError(f"{where}: not {what}: the text {name!r} {fault}")
    return {name: row[name] for name in names}


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a file by number, from 1. Only a line feed ends one: a text may hold any other separator.

    Raises:
        UsageError: the file is cut off or damaged, or not UTF-8, with the line.
    """
    number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                yield number, line.decode("utf-8")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UsageError(f"{path}, after line {number}: truncated or damaged ({error}): get the file again") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}:{number}: not UTF-8 ({error.reason}): convert the file") from None


def hub_files(repository: str, pattern: str, otherwise: str) -> tuple[list[Path], str]:
    """Parquet files of the hub's data set ``repository`` that match ``pattern``, and their revision.

    They are downloaded unless they are in the hub's cache.

    Args:
        otherwise: what else the user can do, for the message.

    Raises:
        UsageError: the hub cannot be reached and they are not cached, or there are none.
    """
    from huggingface_hub import snapshot_download

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it warns of a missing network in its own words
    try:
        folder = Path(snapshot_download(repository, repo_type="dataset", allow_patterns=[pattern]))
    except (OSError, ValueError) as error:  # offline, not cached, no such repository: all derive from these two
        raise UsageError(
            f"{repository} is neither in the hub's cache nor to be reached ({type(error).__name__}): {otherwise}; on a "
            f"machine with network `hf download {repository} --repo-type dataset` gets it"
        ) from None
    files = sorted(folder.glob(pattern))
    if not files:
        raise UsageError(f"{repository} has no {pattern} in {folder}: {otherwise}")
    return files, folder.name


def hub_rows(repository: str, pattern: str, otherwise: str) -> tuple[Iterator[Row], str]:
    """Rows of the hub's parquet files, and what to call their source; raises UsageError as :func:`hub_files`."""
    import pyarrow.parquet as parquet

    files, revision = hub_files(repository, pattern, otherwise)
    rows = (row for path in files for row in parquet.read_table(path).to_pylist())
    return ((f"{repository}, row {number}", row) for number, row in enumerate(rows)), f"{repository} {revision}"
