"""Simulated experiments: do intervals cover, and do tests err as often as they say?"""

from __future__ import annotations

import numpy as np
import pytest

from passkwh.analysis.bootstrap import draw
from passkwh.analysis.independent_tests import kruskal_wallis
from passkwh.analysis.intervals import contrasts, intervals
from passkwh.analysis.paired_tests import friedman, mcnemar, wilcoxon
from passkwh.analysis.tasks import TaskTable

TASKS, SAMPLES = 150, 3
SE = np.array([0.01, 0.02])
ABILITY, COST = np.array([-0.3, 0.1]), np.array([5.0, 5.5])


def experiment(rng: np.random.Generator) -> TaskTable:
    """Two configurations on tasks drawn from a population in which hard tasks take more energy and pass less."""
    difficulty = rng.normal(0, 0.8, TASKS)
    chance = 1 / (1 + np.exp(1.5 * difficulty - ABILITY[:, None]))
    joules = np.exp(COST[:, None] + 0.4 * difficulty + rng.normal(0, 0.5, (2, TASKS)))
    energy = joules * (1 + SE * rng.standard_normal(2))[:, None]
    ones = np.ones((2, TASKS))
    return TaskTable(
        ("a", "b"), tuple(str(i) for i in range(TASKS)), np.full((2, TASKS), SAMPLES), rng.binomial(SAMPLES, chance),
        energy, energy, ones, ones, {"meter": SE},
    )  # fmt: skip


def truth() -> tuple[float, float]:
    """pass@kWh of the first configuration and its ratio to the second's, by integration over the difficulty."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    chance = (weights / weights.sum()) @ (1 / (1 + np.exp(1.5 * 0.8 * nodes[:, None] - ABILITY)))
    energy_kwh = TASKS * np.exp(COST + 0.5 * (0.4 * 0.8) ** 2 + 0.5 * 0.25) / 3.6e6
    per_kwh = chance / energy_kwh
    return float(per_kwh[0]), float(per_kwh[0] / per_kwh[1])


def coverage(experiments: int, resamples: int, seed: int) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    value, ratio = truth()
    covered = np.zeros(2)
    for number in range(experiments):
        draws = draw(experiment(rng), resamples, seed=number)
        own = next(i for i in intervals(draws) if (i.measure, i.label) == ("pass_at_kwh", "a"))
        (contrast,) = contrasts(draws, ["pass_at_kwh"], [(0, 1)])
        for i, (interval, true) in enumerate(((own, value), (contrast.ratio, ratio))):
            assert interval.low is not None
            assert interval.high is not None
            covered[i] += interval.low <= true <= interval.high
    return float(covered[0] / experiments), float(covered[1] / experiments)


def error_rates(experiments: int, seed: int) -> dict[str, float]:
    """How often each test at 5 % finds a difference between configurations that have none."""
    rng = np.random.default_rng(seed)
    rejected = dict.fromkeys(("wilcoxon", "friedman", "mcnemar", "kruskal-wallis"), 0)
    for _ in range(experiments):
        task = rng.normal(0, 1.0, (TASKS, 1))
        energy = np.exp(task + rng.normal(0, 0.4, (TASKS, 3)))
        passes = rng.random((TASKS, 2)) < 1 / (1 + np.exp(1.5 * task))
        groups = {str(i): energy[:, i] for i in range(3)}
        p_values = {
            "wilcoxon": wilcoxon(energy[:, 0], energy[:, 1]),
            "friedman": friedman(energy),
            "mcnemar": mcnemar(passes[:, 0], passes[:, 1]),
            "kruskal-wallis": kruskal_wallis(groups),
        }
        for name, result in p_values.items():
            assert result.p_value is not None
            rejected[name] += result.p_value < 0.05
    return {name: count / experiments for name, count in rejected.items()}


def test_intervals_cover_and_tests_keep_their_level_in_a_small_simulation() -> None:
    """300 experiments, fixed seeds; bounds are five binomial standard errors around 95 % and 5 %."""
    for share in coverage(300, 400, seed=10):
        assert 0.887 <= share <= 1.0
    rates = error_rates(300, seed=11)
    for name in ("wilcoxon", "friedman", "mcnemar"):
        assert rates[name] <= 0.113, name
    assert rates["kruskal-wallis"] < 0.02


@pytest.mark.slow
def test_95_per_cent_intervals_cover_93_to_97_per_cent_of_2000_experiments() -> None:
    per_kwh, ratio = coverage(2000, 1000, seed=1)
    print(f"coverage: pass@kWh {per_kwh:.4f}, ratio {ratio:.4f}")
    assert 0.93 <= per_kwh <= 0.97
    assert 0.93 <= ratio <= 0.97


@pytest.mark.slow
def test_paired_tests_err_4_to_6_per_cent_and_kruskal_wallis_hardly_ever() -> None:
    rates = error_rates(4000, seed=2)
    print(f"type-I error at 5 %: {rates}")
    for name in ("wilcoxon", "friedman", "mcnemar"):
        assert 0.04 <= rates[name] <= 0.06, name
    assert rates["kruskal-wallis"] < 0.01, "conservative: it does not see that tasks are matched"
