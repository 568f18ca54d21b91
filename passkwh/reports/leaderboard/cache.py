"""What was found out about a pack once is not found out again: results by content, valid for one state of the code."""

from __future__ import annotations

import hashlib
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

import passkwh
from passkwh.errors import UsageError

SHAPES_RESULTS = (
    "records",
    "passk.py",
    "units.py",
    "harness",
    "analysis",
    "reports/leaderboard",
    "measures.py",
)
DEPENDS_ON = (".py", ".json", ".toml", ".csv")
"""Code and data on which a cached result depends; not templates and scripts, which only show it."""


def default_place() -> Path:
    """``$XDG_CACHE_HOME/passkwh/leaderboard``, usually under ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "passkwh" / "leaderboard"


class Cache:
    """JSON values and tables by key; one that cannot be read counts as missing."""

    def __init__(self, root: Path) -> None:
        self._root = root / code_version()
        try:
            self._root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"the cache {root} cannot be made: {error.strerror}; choose another --cache") from error

    def get(self, kind: str, key: str) -> dict[str, Any] | None:
        """The value, or None."""
        try:
            value = json.loads((self._root / kind / f"{key}.json").read_bytes())
        except (OSError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    def has(self, kind: str, key: str) -> bool:
        """Whether there is a value, without reading it."""
        return (self._root / kind / f"{key}.json").is_file()

    def put(self, kind: str, key: str, value: dict[str, Any]) -> None:
        """Keep a value."""
        self._write(kind, f"{key}.json", json.dumps(value, ensure_ascii=True, allow_nan=False).encode("ascii"))

    def get_table(self, kind: str, key: str) -> pa.Table | None:
        """The table, or None."""
        try:
            return pa.ipc.open_file((self._root / kind / f"{key}.arrow").read_bytes()).read_all()
        except (OSError, pa.ArrowException):
            return None

    def put_table(self, kind: str, key: str, table: pa.Table) -> None:
        """Keep a table."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
            writer.write_table(table)
        self._write(kind, f"{key}.arrow", sink.getvalue().to_pybytes())

    def _write(self, kind: str, name: str, content: bytes) -> None:
        folder = self._root / kind
        folder.mkdir(exist_ok=True)
        partial = folder / f".{name}.{os.getpid()}"
        partial.write_bytes(content)
        partial.replace(folder / name)


@cache
def code_version() -> str:
    """Hash over the code that results depend on: after a change everything is worked out again."""
    root = Path(passkwh.__file__).parent
    digest = hashlib.sha256(passkwh.__version__.encode())
    for part in SHAPES_RESULTS:
        place = root / part
        files = [place] if place.is_file() else sorted(f for f in place.rglob("*") if f.suffix in DEPENDS_ON)
        for file in files:
            digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]
