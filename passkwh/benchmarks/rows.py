"""Rows of a data set: from a local file of JSON lines, or from the hub's parquet files."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from passkwh.errors import UsageError

Row = tuple[str, Any]
"""Where a row stands, in words for a message, and the row."""


def read(data: str, repository: str, pattern: str, file_name: str) -> tuple[Iterator[Row], str]:
    """Rows of ``data``, which is ``hub`` or a path, and what to call their source.

    Args:
        pattern: of the parquet files in the hub's ``repository``.
        file_name: what the file is called where it is published, for the message to someone who lacks it.

    Raises:
        UsageError: no such file, or a hub that cannot be reached; at reading, a line that is not JSON, named.
    """
    if data == "hub":
        return _hub(repository, pattern, file_name)
    path = Path(data).expanduser()
    if not path.is_file():
        raise UsageError(f"data file {path} does not exist: give {file_name}")
    return _json_lines(path), path.name


def _json_lines(path: Path) -> Iterator[Row]:
    number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield f"{path}:{number}", json.loads(line)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UsageError(f"{path}, after line {number}: the file is damaged ({error}): get it again") from None
    except ValueError as error:
        raise UsageError(f"{path}:{number}: not JSON ({error})") from None


def _hub(repository: str, pattern: str, file_name: str) -> tuple[Iterator[Row], str]:
    import pyarrow.parquet as parquet
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(repository, repo_type="dataset", allow_patterns=[pattern]))
        rows = [row for path in sorted(folder.glob(pattern)) for row in parquet.read_table(path).to_pylist()]
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{repository} is neither in the hub's cache nor to be reached ({type(error).__name__}): give the file "
            f"{file_name} with data=FILE"
        ) from None
    return ((f"{repository}, row {number}", row) for number, row in enumerate(rows)), f"{repository} {folder.name}"
