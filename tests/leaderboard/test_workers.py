"""Processes for many packs: results in order, with settings of their own, and a word where one of them is killed."""

from __future__ import annotations

import os

import pytest

from passkwh.errors import UsageError
from passkwh.reports.leaderboard.workers import ENVIRONMENT, FEW, Workers


def settings() -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in ENVIRONMENT}


def where(number: int) -> tuple[int, int, dict[str, str | None]]:
    return number, os.getpid(), settings()


def die_at_seven(number: int) -> int:
    if number == 7:
        os.kill(os.getpid(), 9)
    return number


def test_many_jobs_are_done_elsewhere_and_few_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    before = settings()
    told: list[tuple[str, int, int]] = []
    with Workers(lambda *words: told.append(words)) as workers:
        assert [pid for _, pid, _ in workers.map(where, range(FEW))] == [os.getpid()] * FEW
        found = list(workers.map(where, range(20), "jobs"))
    assert told[-21:] == [("jobs", done, 20) for done in range(21)]
    assert [number for number, _, _ in found] == [*range(20)]
    assert os.getpid() not in {pid for _, pid, _ in found}
    assert all(settings_there == ENVIRONMENT for _, _, settings_there in found)
    assert settings() == before


def test_a_killed_process_ends_the_work_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    with Workers() as workers, pytest.raises(UsageError, match="killed"):
        list(workers.map(die_at_seven, range(20)))
