"""Plans checked by carrying them out in simulation, and by the formula written out."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from conftest import MakeRun  # type: ignore[import-not-found]
from scipy import stats

from passkwh.analysis.frames import load
from passkwh.analysis.planning import achieved_power, plan_sample_size
from passkwh.analysis.pooling import Comparison, compare
from passkwh.errors import UsageError

TASKS = tuple(f"t{i}" for i in range(80))


def pilot(make_run: MakeRun, repeats: int = 1, ratio: float = 1.1, se_j: float | None = None) -> Comparison:
    rng = np.random.default_rng(0)
    difficulty = rng.normal(0, 0.4, len(TASKS))
    runs = []
    for name, factor, chance in (("a", ratio, 0.6), ("b", 1.0, 0.5)):
        for r in range(repeats):
            joules = factor * np.exp(5 + difficulty + rng.normal(0, 0.3, len(TASKS)))
            runs.append(
                make_run(
                    f"{name}{r}", model=f"family/{name}-1B", repeat=r, tasks=TASKS, energy_j=joules.tolist(),
                    passed=(rng.random(len(TASKS)) < chance).tolist(), se_j=se_j,
                )
            )  # fmt: skip
    return compare(load(runs))


def test_tasks_needed_follow_from_the_variance_of_influences(make_run: MakeRun) -> None:
    comparison = pilot(make_run)
    found = plan_sample_size(comparison, "a-1B", "b-1B", "energy", effect=0.1)
    samples = comparison.samples()
    energies = [samples[samples["configuration"] == c]["gross_j"].to_numpy() for c in ("a-1B", "b-1B")]
    influence = energies[0] / energies[0].mean() - energies[1] / energies[1].mean()
    z = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    needed = math.ceil(influence.var(ddof=1) * (z / math.log(1.1)) ** 2)
    first = found.rows[0]
    assert (first.repeats, first.speaks_of) == (1, "these runs")
    assert first.tasks is not None
    assert needed <= first.tasks <= needed + 3, "Student's t takes a little more than the normal"
    factor = 79 / stats.chi2.ppf(0.025, 79)
    assert first.tasks_high == pytest.approx(needed * factor, rel=0.03), "the pilot's variance may be too low"
    assert "repeats" in found.notes[0], "one sample a task cannot say what repeats gain"
    assert any("2%" in note and "assumption" in note for note in found.notes)


@pytest.mark.parametrize("margin", [0.05, 0.1])
def test_tasks_that_show_no_loss_within_a_margin(make_run: MakeRun, margin: float) -> None:
    """One-sided, at the margin, for configurations that are equal in truth: not the number that detects the margin."""
    comparison = pilot(make_run)
    found = plan_sample_size(comparison, "a-1B", "b-1B", "pass@1", goal="non-inferiority", margin=margin)
    samples = comparison.samples()
    verdicts = [samples[samples["configuration"] == c]["passed"].to_numpy(dtype=float) for c in ("a-1B", "b-1B")]
    z = stats.norm.ppf(0.95) + stats.norm.ppf(0.8)
    needed = math.ceil((verdicts[0] - verdicts[1]).var(ddof=1) * (z / margin) ** 2)
    assert (found.effect, found.effect_source) == (0.0, "none: equal in truth")
    assert needed <= (found.rows[0].tasks or 0) <= needed + 3
    detects = plan_sample_size(comparison, "a-1B", "b-1B", "pass@1", effect=margin)
    assert (detects.rows[0].tasks or 0) > 1.2 * needed, "which is tested on two sides"


def test_repeats_gain_what_varies_within_tasks(make_run: MakeRun) -> None:
    found = plan_sample_size(pilot(make_run, repeats=4), "a-1B", "b-1B", "pass@1", effect=0.05)
    assert found.variance_within is not None
    assert found.runs_source == "none", "verdicts are of tasks"
    needed = [row.tasks for row in found.rows]
    assert all(t is not None for t in needed)
    assert needed == sorted(needed, key=lambda t: -(t or 0))
    assert needed[0] is not None
    assert needed[-1] is not None
    assert needed[-1] < needed[0] / 3, "independent verdicts average out over repeats"


def test_no_number_of_tasks_makes_up_for_a_poor_meter(make_run: MakeRun) -> None:
    comparison = pilot(make_run)
    for run in comparison.frames.runs:
        summary = json.loads((run.path / "summary.json").read_text())
        summary.pop("crc32", None)
        summary["channels"][0]["generation"]["se_j"] = 0.05 * summary["gross_energy_j"]
        (run.path / "summary.json").write_text(json.dumps(summary))
    comparison = compare(load([run.path for run in comparison.frames.runs]))
    found = plan_sample_size(comparison, "a-1B", "b-1B", "energy", effect=0.05)
    assert found.rows[0].tasks is None
    assert "repeat more often" in str(found.rows[0].reason)


def test_a_planned_experiment_has_the_power_it_was_planned_for(make_run: MakeRun) -> None:
    """Draw experiments of the planned size from the pilot's tasks, shifted by the effect, and count detections."""
    comparison = pilot(make_run, ratio=1.0)
    found = plan_sample_size(comparison, "a-1B", "b-1B", "energy", effect=0.12)
    needed = found.rows[0].tasks
    assert needed is not None
    samples = comparison.samples()
    a, b = (samples[samples["configuration"] == c]["gross_j"].to_numpy() for c in ("a-1B", "b-1B"))
    a = a / a.mean() * b.mean() * 1.12
    rng = np.random.default_rng(1)
    detected = 0
    for _ in range(2000):
        rows = rng.integers(0, len(a), needed)
        log_ratio = math.log(a[rows].mean() / b[rows].mean())
        se = np.std(a[rows] / a[rows].mean() - b[rows] / b[rows].mean(), ddof=1) / math.sqrt(needed)
        detected += abs(log_ratio) / se > stats.norm.ppf(0.975)
    assert detected / 2000 == pytest.approx(0.8, abs=0.05)


def test_a_pilot_without_a_difference_is_no_promise_of_a_small_study(make_run: MakeRun) -> None:
    """Four tasks with equal verdicts do not show that verdicts never differ: a sixth of the tasks may, by Laplace."""
    paths = [
        make_run(f"{name}0", model=f"family/{name}-1B", tasks=TASKS[:4], passed=[True, False, True, True])
        for name in "ab"
    ]
    plan = plan_sample_size(compare(load(paths)), "a-1B", "b-1B", "pass@1", effect=0.05)
    assert plan.variance_between == pytest.approx(1 / 6)
    once = plan.rows[0].tasks
    assert once is not None
    assert once >= (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) ** 2 / 6 / 0.05**2
    assert any("no task of the pilot tells the two apart" in note for note in plan.notes)


def test_power_of_a_normal_test() -> None:
    assert achieved_power(0.0, 1.0) == pytest.approx(0.05)
    assert achieved_power(stats.norm.ppf(0.975) + stats.norm.ppf(0.8), 1.0) == pytest.approx(0.8, abs=1e-5)


def test_what_cannot_be_planned_says_why(make_run: MakeRun) -> None:
    same = make_run("s0", model="family/a-1B"), make_run("s1", model="family/b-1B")
    with pytest.raises(UsageError, match="--effect"):
        plan_sample_size(compare(load(same)), "a-1B", "b-1B", "energy")
    unjudged = make_run("u", model="family/c-1B", passed=[None] * 4)
    with pytest.raises(UsageError, match="no verdicts"):
        plan_sample_size(compare(load([same[0], unjudged])), "a-1B", "c-1B", "pass@1")
    failing = make_run("f", model="family/d-1B", passed=[False] * 4)
    with pytest.raises(UsageError, match="plan pass@1"):
        plan_sample_size(compare(load([same[0], failing])), "a-1B", "d-1B", "pass@kWh")
