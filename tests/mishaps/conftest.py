"""The library of faults, compiled, and a program that makes many attempts at a run under it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY

Attempt = Callable[..., dict[str, Any]]
FAULTS = Path(__file__).with_name("faults.c")


def compiled(folder: Path) -> Path:
    """The library, in ``folder``."""
    library = folder / "faults.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, FAULTS, "-ldl"], check=True)
    return library


class Attempts:
    """``attempts.py`` at work in a folder."""

    def __init__(self, library: Path, folder: Path, *modules: str) -> None:
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.mishaps.attempts", str(folder), *modules],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY,
            env=os.environ | {"LD_PRELOAD": str(library), "PYTHONPATH": str(REPOSITORY)},
        )  # fmt: skip

    def __call__(self, *arguments: object, **luck: Any) -> dict[str, Any]:
        """``bench ARGUMENTS`` once, with bad luck; how it ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"arguments": list(map(str, arguments)), **luck}) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert "Traceback" not in answer["err"], answer["err"]
        return answer

    @property
    def pid(self) -> int:
        """Of the process whose children the attempts are."""
        return self._process.pid

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@pytest.fixture(scope="module")
def attempts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attempts]:
    """Attempts at runs, all from one process that has imported everything."""
    if shutil.which("cc") is None or not sys.platform.startswith("linux"):
        pytest.skip("faults are injected by a library that a C compiler makes, on Linux")
    folder = tmp_path_factory.mktemp("mishaps")
    made = Attempts(compiled(tmp_path_factory.mktemp("faults")), folder)
    yield made
    made.close()
