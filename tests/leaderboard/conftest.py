"""Synthetic runs and their packs."""

from __future__ import annotations

from pathlib import Path

import pytest

from passkwh.reports.leaderboard.pack import SUFFIX, members_of, write_pack
from tests.leaderboard.synthetic import write_run


def make_pack(folder: Path, name: str, **settings: object) -> Path:
    """A synthetic run, packed."""
    run = write_run(folder / "runs" / name, **settings)  # type: ignore[arg-type]
    target = folder / "packs" / f"{name}{SUFFIX}"
    write_pack(members_of(run), target)
    return target


@pytest.fixture(scope="session")
def good_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A consistent run folder, never changed by a test."""
    return write_run(tmp_path_factory.mktemp("good") / "good")
