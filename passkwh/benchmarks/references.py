"""What the reference solutions did here: whether they pass, how long they take, how many tests they run.

BigCodeBench's deadlines, its order of work and its expected numbers of tests come from it. It holds for one interpreter
with its libraries and is kept in the cache, one line a task.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from passkwh.benchmarks.sandbox import Outcome
from passkwh.cache import cache_dir

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


class References:
    """What is known of a benchmark's reference solutions under one interpreter."""

    def __init__(self, benchmark: str, interpreter: str) -> None:
        self._file = cache_dir() / benchmark / "groundtruth" / f"{interpreter[:32]}.jsonl"
        self._known = dict(_read(self._file))

    def get(self, key: str) -> Reference | None:
        """What a reference solution did, if it was run; the key is a hash of it and of its test."""
        return self._known.get(key)

    def put(self, key: str, task_id: str, reference: Reference) -> None:
        """Remember, from now on and for later calls."""
        self._known[key] = reference
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a") as lines:
            lines.write(json.dumps({"key": key, "task_id": task_id, **asdict(reference)}) + "\n")


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
