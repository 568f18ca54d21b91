"""Files that an export writes: named after runs, in folders made where they are missing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from passkwh.errors import UsageError
from passkwh.harness.runs.files import write_atomic

_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """The folder, made where it is missing; what the file system refuses within is a UsageError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise UsageError(f"--out {path}: cannot be written ({error.strerror}); choose another folder") from error


def file_name(text: str) -> str:
    """A text as part of a path that every system takes: no separators, no dot in front, at most 120 characters.

    >>> file_name("../lab/Model: 7B")
    'lab-Model-7B'
    """
    return _UNSAFE.sub("-", text).strip("-.")[:120] or "unnamed"


def write_json(path: Path, content: Mapping[str, Any], indent: int | None = 1) -> None:
    """A JSON file, in folders made where they are missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(content, ensure_ascii=False, allow_nan=False, indent=indent) + "\n")
