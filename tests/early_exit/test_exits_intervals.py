"""Intervals of what early exit saves and loses, against scipy's bootstrap and on runs whose numbers are known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from passkwh.analysis.exits.study import study
from passkwh.analysis.exits.summary import ExitSummary, Savings
from passkwh.analysis.frames import load
from passkwh.records import Energy, Summary
from tests.analysis.conftest import write_run

TASKS = [f"t{i}" for i in range(60)]
RANDOM = np.random.default_rng(3)
ENERGY_J = RANDOM.lognormal(2.0, 0.6, len(TASKS))
EXIT_J = ENERGY_J * RANDOM.normal(0.8, 0.1, len(TASKS))
PASSED = [bool(solved) for solved in RANDOM.random(len(TASKS)) < 0.6]
EXIT_PASSED = [solved and i % 7 != 0 for i, solved in enumerate(PASSED)]
EXIT = {"exit": "fixed:4"}


def write(folder: Path, **settings: Any) -> Path:
    """A run whose summary says what its samples do: the share that passed, and no total where a reading failed."""
    path = write_run(folder, **settings)
    passed = settings["passed"]
    summary = Summary.model_validate_json((path / "summary.json").read_text("utf-8"))
    changed: dict[str, Any] = {"pass_at_k": {"1": sum(map(bool, passed)) / len(passed)}}
    if None in settings["energy_j"]:
        failed = Energy(gross_j=None, net_j=None, reason="the reading failed")
        changed["channels"] = tuple(c.model_copy(update={"generation": failed}) for c in summary.channels)
    (path / "summary.json").write_text(summary.model_copy(update=changed).model_dump_json(), "utf-8")
    return path


def compared(paths: Sequence[Path]) -> ExitSummary:
    (one,) = (c for c in study(load(list(paths))).configurations if c.rule != "none")
    return one


def against_base(paths: Sequence[Path]) -> Savings:
    savings = compared(paths).against_base
    assert savings is not None
    return savings


def pair(folder: Path, passed: Sequence[bool | None] = EXIT_PASSED) -> list[Path]:
    return [
        write(folder / "base", tasks=TASKS, energy_j=list(ENERGY_J), passed=PASSED, scoring_j=0.0),
        write(folder / "exit", tasks=TASKS, energy_j=list(EXIT_J), passed=passed, spec=EXIT, scoring_j=0.0),
    ]


def by_scipy(own: np.ndarray, base: np.ndarray) -> tuple[float, float]:
    drawn = stats.bootstrap(
        (own, base), lambda a, b, axis: 1 - a.sum(axis) / b.sum(axis), paired=True, vectorized=True,
        n_resamples=10_000, method="percentile", random_state=0,
    )  # fmt: skip
    return float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)


def test_shares_saved_and_lost_have_the_intervals_of_a_paired_bootstrap(tmp_path: Path) -> None:
    savings = against_base(pair(tmp_path))
    lost = savings.lost("pass@1")
    assert savings.energy_saved_interval is not None
    assert lost is not None
    assert savings.lost("rougeL") is None
    widths = []
    for interval, share, own, base in (
        (savings.energy_saved_interval, savings.gross_saved, EXIT_J, ENERGY_J),
        (lost, savings.quality_lost["pass@1"], np.array(EXIT_PASSED, float), np.array(PASSED, float)),
    ):
        low, high = by_scipy(own, base)
        assert interval.estimate == pytest.approx(share)
        assert interval.level == 0.95
        assert interval.low is not None
        assert interval.high is not None
        assert interval.low <= low + 0.04 * (high - low)
        assert interval.high >= high - 0.04 * (high - low)
        widths.append((interval.high - interval.low) / (high - low))
    # Energy: wider than percentiles, as a few dear tasks carry the totals. Scores: as t is wider than normal.
    assert 1.0 < widths[0] < 1.4
    assert widths[1] == pytest.approx(1.02, abs=0.06)


def test_scoring_is_no_part_of_what_is_saved(tmp_path: Path) -> None:
    cheap = against_base(pair(tmp_path / "cheap")).energy_saved_interval
    paths = [
        write(tmp_path / "base", tasks=TASKS, energy_j=list(ENERGY_J), passed=PASSED, scoring_j=500.0),
        write(tmp_path / "exit", tasks=TASKS, energy_j=list(EXIT_J), passed=EXIT_PASSED, spec=EXIT, scoring_j=500.0),
    ]
    dear = against_base(paths).energy_saved_interval
    assert cheap is not None
    assert dear is not None
    assert (dear.estimate, dear.low, dear.high) == pytest.approx((cheap.estimate, cheap.low, cheap.high))


def test_repeats_that_scatter_widen_what_is_saved(tmp_path: Path) -> None:
    widths = []
    for scatter in (0.001, 0.1):
        paths = [
            write(
                tmp_path / f"{scatter}-{name}-{repeat}", tasks=TASKS, passed=PASSED, repeat=repeat, spec=spec,
                energy_j=list(joules * (1 + scatter * (repeat - 1))), scoring_j=0.0,
            )
            for name, joules, spec in (("base", ENERGY_J, {}), ("exit", EXIT_J, EXIT))
            for repeat in range(3)
        ]  # fmt: skip
        saved = against_base(paths).energy_saved_interval
        assert saved is not None
        assert saved.low is not None
        assert saved.high is not None
        assert saved.estimate == pytest.approx(1 - EXIT_J.sum() / ENERGY_J.sum())
        widths.append(saved.high - saved.low)
    assert widths[1] > 3 * widths[0]


def test_what_was_not_evaluated_or_not_metered_has_no_interval(tmp_path: Path) -> None:
    savings = against_base(pair(tmp_path / "unjudged", [None, *EXIT_PASSED[1:]]))
    assert savings.lost("pass@1") is None
    assert savings.energy_saved_interval is not None
    paths = [
        write(tmp_path / "base", tasks=TASKS, energy_j=list(ENERGY_J), passed=PASSED),
        write(tmp_path / "exit", tasks=TASKS, energy_j=[None] * len(TASKS), passed=PASSED, spec=EXIT),
    ]
    unmetered = against_base(paths)
    assert unmetered.gross_saved is None
    assert unmetered.energy_saved_interval is None
    lost = unmetered.lost("pass@1")
    assert lost is not None
    assert (lost.estimate, lost.low, lost.high) == (0.0, 0.0, 0.0)


def test_totals_that_samples_do_not_add_up_to_have_no_interval(tmp_path: Path) -> None:
    paths = pair(tmp_path)
    file = paths[1] / "summary.json"
    summary = Summary.model_validate_json(file.read_text("utf-8"))
    halved = Energy(gross_j=float(EXIT_J.sum()) / 2, net_j=float(EXIT_J.sum()) / 2)
    channels = tuple(c.model_copy(update={"generation": halved}) for c in summary.channels)
    file.write_text(summary.model_copy(update={"channels": channels}).model_dump_json(), "utf-8")
    savings = against_base(paths)
    interval = savings.energy_saved_interval
    assert interval is not None
    assert savings.gross_saved == interval.estimate
    assert savings.gross_saved == pytest.approx(1 - EXIT_J.sum() / 2 / ENERGY_J.sum())
    assert (interval.low, interval.high) == (None, None)
    assert "do not add up" in str(interval.reason)


def test_too_few_tasks_say_so(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / name, tasks=TASKS[:2], energy_j=[joules, 2 * joules], passed=[True, True], spec=spec)
        for name, joules, spec in (("base", 10.0, {}), ("exit", 8.0, EXIT))
    ]
    savings = against_base(paths)
    lost = savings.lost("pass@1")
    for interval in (savings.energy_saved_interval, lost):
        assert interval is not None
        assert (interval.low, interval.high) == (None, None)
        assert interval.reason
