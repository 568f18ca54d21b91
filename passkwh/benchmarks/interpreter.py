"""The Python that a benchmark's programs run in, and what identifies its libraries."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path


@dataclass(frozen=True)
class Interpreter:
    """An interpreter for judged programs."""

    python: Path
    identity: str
    """Hash of its version and of what is installed: verdicts hold for it."""


def own() -> Interpreter:
    """The interpreter this program runs in."""
    return Interpreter(Path(sys.executable), _checksum_of_versions())


@lru_cache
def _checksum_of_versions() -> str:
    from importlib.metadata import distributions

    versions = sorted({f"{item.metadata['Name']}=={item.version}" for item in distributions()})
    return hashlib.sha256(json.dumps([sys.version, versions]).encode()).hexdigest()


@lru_cache
def missing(python: Path, libraries: frozenset[str]) -> frozenset[str]:
    """Those of the top-level ``libraries`` that ``python`` cannot find."""
    code = (
        "import importlib.util, json, sys\n"
        "print(json.dumps([n for n in json.load(sys.stdin) if importlib.util.find_spec(n) is None]))"
    )
    answer = subprocess.run(
        [str(python), "-I", "-c", code], input=json.dumps(sorted(libraries)), capture_output=True, text=True, check=True
    )
    return frozenset(json.loads(answer.stdout))
