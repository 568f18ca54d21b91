"""Rows of a data set or of samples: from a local file in any of the forms that people have them in, or from the hub.

A file is JSON lines or a JSON array, gzipped or not (its first bytes say, not its name), in UTF-8, UTF-16 or UTF-32. A
line ends at a line feed and nowhere else: a text may hold any other separator. NaN, which is not JSON but what pandas
writes where a value is missing, is a missing value, unless the data are known to mean the number.
"""

from __future__ import annotations

import gzip
import json
import logging
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from passkwh.errors import UsageError
from passkwh.records import well_formed

Row = tuple[str, dict[str, Any]]
"""Where a row stands, in words for a message, and the row."""

_GZIP = b"\x1f\x8b"
_OTHER_FORMATS = {
    b"PK\x03\x04": "a zip archive: unpack it",
    b"BZh": "bzip2: unpack it",
    b"\xfd7zXZ": "xz: unpack it",
    b"\x28\xb5\x2f\xfd": "zstd: unpack it",
    b"PAR1": "Parquet: write it as JSON lines (pandas: read_parquet(...).to_json(..., orient='records', lines=True))",
    b"ARROW1": "Arrow: write it as JSON lines",
    b"SQLite format 3": "an SQLite database: write its rows as JSON lines",
}
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def objects(path: Path, published_as: str, constants: bool = False) -> tuple[Iterator[Row], str]:
    """Rows of a file of JSON objects, and what to call their source.

    Args:
        published_as: what the file is called where it is published, for the message to someone who lacks it.
        constants: NaN and Infinity are numbers.

    Raises:
        UsageError: no such file; at reading, a file of another format or a line that is no JSON object, named.
    """
    if not path.is_file():
        why = "is a folder" if path.is_dir() else "does not exist"
        raise UsageError(f"data file {path} {why}: give {published_as}")
    return _objects(path, float if constants else _missing), path.name


_Constant = Callable[[str], float | None]


def _missing(_constant: str) -> None:
    """What NaN and infinities are, as a rule."""


def _objects(path: Path, constant: _Constant) -> Iterator[Row]:
    first = True
    for number, line in lines(path):
        if not line.strip():
            continue
        whole_file = first and (line.strip() == "{" or line.lstrip().startswith("["))
        first = False
        if whole_file and (content := _whole(path, constant)) is not None:
            yield from _elements(path, content)
            return
        try:
            row = _parsed(line, constant)
        except ValueError as error:
            place = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
            raise UsageError(f"{path}:{number}: not JSON ({_why(error)}{place}); the file may be truncated") from None
        if not isinstance(row, dict):
            raise UsageError(f"{path}:{number}: expected a JSON object, not a {type(row).__name__}")
        yield f"{path}:{number}", row


def _whole(path: Path, constant: _Constant) -> Any:
    """The JSON value that a file is as a whole; None where it is none."""
    try:
        return _parsed("".join(line for _, line in lines(path)), constant)
    except ValueError:
        return None


def _elements(path: Path, content: Any) -> Iterator[Row]:
    """Rows of a file that is one JSON value: an array of objects, or a single one over several lines."""
    if isinstance(content, dict):
        if "task_id" not in content:
            keys = ", ".join(list(content)[:5])
            raise UsageError(
                f"{path}: one JSON object ({keys}), not rows: give an object a line, or an array of objects"
            )
        content = [content]
    for number, row in enumerate(content, start=1):
        if not isinstance(row, dict):
            raise UsageError(
                f"{path}, element {number}: expected a JSON object, not a {type(row).__name__} (a list of lists is "
                "what bigcode-evaluation-harness writes: its completions have no task_id)"
            )
        yield f"{path}, element {number}", row


def _parsed(text: str, constant: _Constant) -> Any:
    """A JSON value; ValueError for what is none, a key that stands twice, or lists nested too deeply."""
    try:
        content = json.loads(text, parse_constant=constant, object_pairs_hook=_with_keys_once)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return _well_formed(content) if _SURROGATE.search(text) else content


def _with_keys_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in content if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} stands twice")
    return content


def _well_formed(content: Any) -> Any:
    if isinstance(content, str):
        return well_formed(content)
    if isinstance(content, list):
        return [_well_formed(item) for item in content]
    if isinstance(content, dict):
        return {well_formed(key): _well_formed(value) for key, value in content.items()}
    return content


def _why(error: ValueError) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else str(error)


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
    """Lines of a file by number, from 1, each with its line feed and without a byte-order mark.

    Raises:
        UsageError: the file is of another format, cut off or damaged, or in an unknown encoding, with the line.
    """
    number = 0
    try:
        with _opened(path) as file:
            encoding = json.detect_encoding(file.peek(4)[:4])  # type: ignore[attr-defined]
            if not encoding.startswith("utf-8"):
                text = file.read().decode(encoding)
                yield from enumerate(re.findall(r"[^\n]*\n|[^\n]+", text.removeprefix("\ufeff")), start=1)
                return
            for number, line in enumerate(file, start=1):
                yield number, line.decode("utf-8").removeprefix("\ufeff")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UsageError(f"{path}, after line {number}: truncated or damaged ({error}): get the file again") from None
    except UnicodeDecodeError as error:
        place = f"{path}:{number}" if number else f"{path}"
        raise UsageError(f"{place}: not {error.encoding.upper()} ({error.reason}): convert the file") from None


def _opened(path: Path) -> IO[bytes]:
    """A file's content as it was before gzip."""
    with path.open("rb") as file:
        beginning = file.read(16)
    for magic, what in _OTHER_FORMATS.items():
        if beginning.startswith(magic):
            raise UsageError(f"{path} is {what}; it should be JSON lines, gzipped or not")
    return gzip.open(path) if beginning.startswith(_GZIP) else path.open("rb")  # type: ignore[return-value]


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


def hub_lines(repository: str, pattern: str, otherwise: str) -> tuple[Iterator[Row], str]:
    """Rows of the hub's files of JSON lines, and what to call their source; raises UsageError as :func:`hub_files`."""
    files, revision = hub_files(repository, pattern, otherwise)
    return (row for path in files for row in objects(path, otherwise)[0]), f"{repository} {revision}"


def hub_rows(repository: str, pattern: str, otherwise: str) -> tuple[Iterator[Row], str]:
    """Rows of the hub's parquet files, and what to call their source; raises UsageError as :func:`hub_files`."""
    import pyarrow.parquet as parquet

    files, revision = hub_files(repository, pattern, otherwise)
    rows = (row for path in files for row in parquet.read_table(path).to_pylist())
    return ((f"{repository}, row {number}", row) for number, row in enumerate(rows)), f"{repository} {revision}"
