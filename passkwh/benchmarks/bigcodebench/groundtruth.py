"""What the reference solutions did here: whether they pass, how long they take, how many tests they run.

Deadlines, the order of work and the expected number of tests come from it. It holds for one environment and is kept in
the cache, one line a task.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from passkwh.benchmarks.bigcodebench.data import Problem
from passkwh.benchmarks.sandbox import VERSION, Outcome
from passkwh.cache import cache_dir
from passkwh.records import content_hash

MIN_TIMEOUT_S = 10.0
FACTOR = 5.0
_SLEEPS_BELOW = 0.3
_LONG_S = 3.0


@dataclass(frozen=True)
class Reference:
    """The outcome of one reference solution."""

    status: str
    detail: str
    seconds: float
    cpu_s: float
    tests_run: int | None
    suspect: tuple[str, ...]

    @classmethod
    def of(cls, outcome: Outcome) -> Reference:
        """What of an outcome is remembered."""
        seconds = (outcome.end_ns - outcome.start_ns) / 1e9
        return cls(outcome.status, outcome.detail, seconds, outcome.cpu_s, outcome.tests_run, outcome.suspect)

    @property
    def timeout_s(self) -> float:
        """Deadline of solutions: five times what the reference took, at least 10 s."""
        return max(MIN_TIMEOUT_S, FACTOR * self.seconds)

    @property
    def sleeps(self) -> bool:
        """It takes long without computing."""
        return self.seconds > _LONG_S and self.cpu_s < _SLEEPS_BELOW * self.seconds


class GroundTruth:
    """The references known for one environment."""

    def __init__(self, environment: str) -> None:
        self._file = cache_dir() / "bigcodebench" / "groundtruth" / f"{environment[:32]}.jsonl"
        self._known = dict(_read(self._file))

    def get(self, problem: Problem) -> Reference | None:
        """What the problem's reference solution did, if it was run."""
        return self._known.get(_key(problem))

    def put(self, problem: Problem, reference: Reference) -> None:
        """Remember, from now on and for later calls."""
        self._known[_key(problem)] = reference
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a") as lines:
            lines.write(json.dumps({"key": _key(problem), "task_id": problem.task_id, **asdict(reference)}) + "\n")


def _key(problem: Problem) -> str:
    return content_hash(VERSION, problem.reference, problem.test)[:32]


def _read(file: Path) -> Iterable[tuple[str, Reference]]:
    if not file.is_file():
        return
    for line in file.read_text().splitlines():
        try:
            row = json.loads(line)
        except ValueError:  # a torn last line
            continue
        key = row.pop("key")
        del row["task_id"]
        yield key, Reference(**{**row, "suspect": tuple(row["suspect"])})
