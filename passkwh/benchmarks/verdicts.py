"""Verdicts by content: the same program, test, interpreter and limits need no second run."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict

from passkwh.benchmarks.sandbox import VERSION, Job, Limits, Outcome
from passkwh.cache import cache_dir
from passkwh.records import content_hash

_KEPT = ("pass", "fail", "timeout")


class Verdicts:
    """The cache, as a context manager."""

    def __init__(self, benchmark: str, interpreter: str, limits: Limits) -> None:
        self._context = [VERSION, interpreter, asdict(limits)]
        folder = cache_dir() / benchmark
        folder.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(folder / "verdicts.sqlite", timeout=60)
        self._database.execute("CREATE TABLE IF NOT EXISTS verdicts (key TEXT PRIMARY KEY, outcome TEXT NOT NULL)")

    def __enter__(self) -> Verdicts:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def get(self, job: Job) -> Outcome | None:
        """The outcome of an equal job, under this job's name."""
        row = self._database.execute("SELECT outcome FROM verdicts WHERE key = ?", [self._key(job)]).fetchone()
        if row is None:
            return None
        fields = json.loads(row[0])
        return Outcome(**{**fields, "key": job.key, "suspect": tuple(fields["suspect"])})

    def put(self, job: Job, outcome: Outcome) -> None:
        """Remember a verdict; failures of the evaluator itself are not verdicts."""
        if outcome.status in _KEPT:
            with self._database:
                self._database.execute(
                    "INSERT OR REPLACE INTO verdicts VALUES (?, ?)", [self._key(job), json.dumps(asdict(outcome))]
                )

    def _key(self, job: Job) -> str:
        limits = [job.kind, job.timeout_s, job.expected_tests, sorted(job.usual), job.network]
        return content_hash(self._context, job.code, job.test, [asdict(case) for case in job.cases], limits)
