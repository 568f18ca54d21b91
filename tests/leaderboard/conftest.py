"""Synthetic runs and their packs, and a built site."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from passkwh.reports.leaderboard.build import Site, build
from passkwh.reports.leaderboard.pack import SUFFIX, members_of, write_pack
from tests.leaderboard.reader import Reader
from tests.leaderboard.synthetic import write_run

EVIL = "\x1b]0;hit\x07\u202e\x00<img src=x onerror=window.hit=1><script>window.hit=1</script>\"'`${window.hit=1}"


def make_pack(folder: Path, name: str, **settings: Any) -> Path:
    """A synthetic run, packed."""
    run = write_run(folder / "runs" / name, **settings)
    target = folder / "packs" / f"{name}{SUFFIX}"
    write_pack(members_of(run), target)
    return target


@pytest.fixture(scope="session")
def good_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A consistent run folder, never changed by a test."""
    return write_run(tmp_path_factory.mktemp("good") / "good")


@pytest.fixture(scope="session")
def packs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three configurations on one machine (one repeated), one elsewhere, one estimated, one hostile, one bad."""
    place = tmp_path_factory.mktemp("packs")
    common: dict[str, Any] = {"tasks": 60, "batch_size": 10}
    alpha: dict[str, Any] = {"model": "lab/Alpha-1.5B-Instruct", **common}
    made = [
        make_pack(place, "plain-r0", accuracy=0.7, seed=1, **alpha),
        make_pack(place, "plain-r1", accuracy=0.7, seed=2, repeat=1, **alpha),
        make_pack(place, "int4", quant="gptq-int4", accuracy=0.5, work_w=160.0, seed=3, **alpha),
        make_pack(place, "int8", quant="gptq-int8", accuracy=0.3, work_w=220.0, seed=4, **alpha),
        make_pack(place, "elsewhere", model="lab/Beta-7B", accuracy=0.9, seed=5, gpu="Another GPU", **common),
        make_pack(place, "guessed", model="lab/Beta-7B", accuracy=0.9, seed=6, provenance="estimated", **common),
        make_pack(
            place, "evil", accuracy=0.2, seed=7,
            model="lab/=cmd|calc!A1\x1b[31m\u202e\x9b1m\u200b<img src=x onerror=window.hit=1>",
            detail=EVIL, tasks=[f"{EVIL} {i}" for i in range(6)], batch_size=3,
        ),
    ]  # fmt: skip
    bad = place / "packs" / f"bad{SUFFIX}"
    bad.write_bytes(made[0].read_bytes()[:-300])
    return [*made, bad]


@pytest.fixture(scope="session")
def site(packs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A board of ``packs`` and the published rows."""
    place = tmp_path_factory.mktemp("site")
    return build(packs, place / "site", place / "cache", title="Test board", published=True)


@pytest.fixture
def reader(browser: Any, site: Site) -> Iterator[Reader]:
    context = browser.new_context(viewport={"width": 1366, "height": 900}, accept_downloads=True)
    made = Reader(context, site)
    yield made
    assert made.complaints == []
    assert made.page.evaluate("window.hit") is None  # nothing of a submission has run
    context.close()
