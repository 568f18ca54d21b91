"""Studies of a tiny model, with machine locks of their own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

StudyFile = Callable[..., Path]


@pytest.fixture(autouse=True)
def _own_locks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """These tests must not wait for runs that someone else meters on this machine."""
    monkeypatch.setenv("PASSKWH_LOCKS", str(tmp_path / "locks"))


@pytest.fixture
def study_file(tmp_path: Path, tiny_llama: Path) -> StudyFile:
    """Writes a study of the tiny model on embedded tasks with simulated energy: top-level lines, then tables."""

    def write(tables: str = "", top: str = "", model: object = None, defaults: str = "") -> Path:
        path = tmp_path / "tiny.toml"
        path.write_text(
            'name = "tiny"\ncool_down_s = 0\n' + top + "\n[defaults]\n"
            f'model = "{model or tiny_llama}"\n'
            'benchmark = "bigcodebench"\nbenchmark_options = { subset = "sample" }\nmeter = "simulated:counter-50ms"\n'
            "idle_s = 0.2\nlimit = 2\nmax_new_tokens = 8\n" + defaults + "\n" + tables
        )
        return path

    return write


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path | None]:
    """A disk of 8 MiB; None where this user may not make one."""
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(path)]
    if os.getuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        yield None
        return
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def fill(path: Path) -> Path:
    """Leave not a byte free."""
    filler = path / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    return filler
