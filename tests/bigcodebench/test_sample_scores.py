"""The embedded sample through the path that scores models: its own solutions are worth 1.0, empty answers 0.0."""

from __future__ import annotations

import json
from importlib import resources

import pytest

from passkwh import benchmarks
from passkwh.benchmarks.base import Candidate
from passkwh.passk import mean_pass_at_k


@pytest.fixture(scope="module")
def solutions() -> dict[str, str]:
    text = resources.files("passkwh.benchmarks.bigcodebench").joinpath("sample.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    return {row["task_id"]: row["canonical_solution"] for row in rows}


@pytest.mark.parametrize(("solve", "expected"), [(True, 1.0), (False, 0.0)])
def test_own_solutions_pass_and_empty_ones_fail(solutions: dict[str, str], solve: bool, expected: float) -> None:
    benchmark = benchmarks.open("bigcodebench", {"subset": "sample"})
    assert [task.task_id for task in benchmark.tasks] == list(solutions)
    candidates = [
        Candidate(task_id, task_id, solution if solve else "    pass\n", continues=True)
        for task_id, solution in solutions.items()
    ]
    scores = {score.key: score for score in benchmark.score(candidates)}
    assert len(scores) == len(solutions) >= 30
    verdicts = [score.verdict for score in scores.values()]
    assert all(verdict is not None and not verdict.suspect for verdict in verdicts)
    counts = [(1, int(verdict is not None and verdict.status == "pass")) for verdict in verdicts]
    assert mean_pass_at_k(counts, 1) == expected
