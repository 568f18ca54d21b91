"""What programs did here, by content: verdicts, so that an equal program needs no second run, and reference solutions.

Both hold for one interpreter with its libraries, and are kept in the cache as JSON lines, the last of equal keys being
the one that counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from passkwh.benchmarks.sandbox import VERSION, Job, Limits, Outcome
from passkwh.cache import cache_dir
from passkwh.records import content_hash
from passkwh.stored import seal, unseal

MIN_TIMEOUT_S = 10.0
FACTOR = 5.0
_SLEEPS_BELOW = 0.3
_LONG_S = 3.0


class Remembered:
    """Rows by key, in a file of the cache."""

    def __init__(self, benchmark: str, kind: str, interpreter: str) -> None:
        self._file = cache_dir() / benchmark / kind / f"{interpreter[:32]}.jsonl"
        self._rows: dict[str, dict[str, Any]] = {}
        for line in self._file.read_bytes().split(b"\n") if self._file.is_file() else ():
            try:
                row = json.loads(unseal(line))
                self._rows[row.pop("key")] = row
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
                continue  # the end of the file, a torn line, or one that was damaged: it is worked out again

    def get(self, key: str) -> dict[str, Any] | None:
        """The row of a key."""
        return self._rows.get(key)

    def put(self, key: str, row: dict[str, Any]) -> None:
        """Remember, from now on and for later calls."""
        self._rows[key] = row
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("ab") as lines:
            lines.write(seal(json.dumps({"key": key, **row})) + b"\n")


@dataclass(frozen=True)
class Reference:
    """What a reference solution did: whether it passes, how long it takes, how many tests it runs.

    BigCodeBench's deadlines, its order of work and its expected numbers of tests come from it.
    """

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

    @classmethod
    def read(cls, row: dict[str, Any]) -> Reference:
        """From a remembered row."""
        return cls(**{name: row[name] for name in cls.__dataclass_fields__} | {"suspect": tuple(row["suspect"])})

    @property
    def timeout_s(self) -> float:
        """Deadline of solutions: five times what the reference took, at least 10 s."""
        return max(MIN_TIMEOUT_S, FACTOR * self.seconds)

    @property
    def sleeps(self) -> bool:
        """It takes long without computing."""
        return self.seconds > _LONG_S and self.cpu_s < _SLEEPS_BELOW * self.seconds


class Verdicts:
    """Outcomes of jobs; equal jobs under equal limits have one."""

    def __init__(self, benchmark: str, interpreter: str, limits: Limits) -> None:
        self._context = [VERSION, interpreter, asdict(limits)]
        self._outcomes = Remembered(benchmark, "verdicts", interpreter)

    def get(self, job: Job) -> tuple[Outcome, dict[str, float]] | None:
        """The outcome of an equal job, under this job's name, and the scores beside it."""
        row = self._outcomes.get(self._key(job))
        if row is None:
            return None
        kept = {name: value for name, value in row.items() if name != "scores"}
        return Outcome(key=job.key, **{**kept, "suspect": tuple(row["suspect"])}), dict(row.get("scores", {}))

    def put(self, job: Job, outcome: Outcome, scores: Mapping[str, float]) -> None:
        """Remember a verdict; failures of the evaluator itself are none. What calls returned is not kept."""
        if outcome.status in ("pass", "fail", "timeout"):
            row = asdict(outcome)
            del row["key"], row["returned"]
            self._outcomes.put(self._key(job), row | ({"scores": dict(scores)} if scores else {}))

    def _key(self, job: Job) -> str:
        limits: list[Any] = [job.kind, job.timeout_s, job.expected_tests, sorted(job.usual), job.network]
        if job.comparison != "lines":
            limits.append(job.comparison)
        if job.commands:
            limits += [job.files, job.commands, job.silent, job.watched]
        return content_hash(self._context, job.code, job.test, [asdict(case) for case in job.cases], limits)
