"""Effect sizes and equivalence tests against definitions written out and numerical maximisation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from statsmodels.stats.weightstats import DescrStatsW

from passkwh.analysis.effects import cliffs_delta, geometric_mean_ratio
from passkwh.analysis.equivalence import paired_t, tango, tango_z

EXACT = 1e-9
numbers = st.lists(st.integers(0, 6), min_size=1, max_size=12)


@given(numbers, numbers)
def test_cliffs_delta_counts_pairs(a: list[int], b: list[int]) -> None:
    signs = [np.sign(x - y) for x in a for y in b]
    assert cliffs_delta(a, b) == pytest.approx(sum(signs) / len(signs), abs=EXACT)


def test_geometric_mean_ratio_is_a_paired_t_interval_of_logs() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.lognormal(1, 1, 50), rng.lognormal(0.5, 1, 50)
    low, high = DescrStatsW(np.log(a) - np.log(b)).tconfint_mean(alpha=0.1)
    found = geometric_mean_ratio(a, b, "a vs b", level=0.9)
    assert found.estimate == pytest.approx(stats.gmean(a) / stats.gmean(b), rel=EXACT)
    assert (found.low, found.high) == pytest.approx((math.exp(low), math.exp(high)), rel=EXACT)


def test_degenerate_effects() -> None:
    assert cliffs_delta([], [1.0]) is None
    assert geometric_mean_ratio([1.0, 0.0], [1.0, 1.0], "x").estimate is None
    assert geometric_mean_ratio([], [], "x").reason == "no matched values"
    single = geometric_mean_ratio([2.0], [1.0], "x")
    assert (single.estimate, single.low) == (2.0, None)
    assert geometric_mean_ratio([2.0, 2.0], [1.0, 1.0], "x").low == pytest.approx(2.0)


def test_two_one_sided_t_tests() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.binomial(5, 0.5, 80) / 5, rng.binomial(5, 0.5, 80) / 5
    found = paired_t(a, b, margin=0.1)
    worse = stats.ttest_1samp(a - b, -0.1, alternative="greater").pvalue
    better = stats.ttest_1samp(a - b, 0.1, alternative="less").pvalue
    assert found.p_non_inferior == pytest.approx(worse, rel=EXACT)
    assert found.p_equivalent == pytest.approx(max(worse, better), rel=EXACT)
    half = stats.t.isf(0.05, 79) * (a - b).std(ddof=1) / math.sqrt(80)
    assert (found.low, found.high) == pytest.approx(((a - b).mean() - half, (a - b).mean() + half), rel=EXACT)
    assert paired_t([0.5, 0.5], [0.5, 0.5], 0.1).p_equivalent is None
    assert "two matched" in str(paired_t([0.5], [0.4], 0.1).reason)


def score_by_maximisation(only_a: int, only_b: int, n: int, delta: float) -> float:
    """The score statistic with the nuisance parameter found numerically, as its definition says."""

    def minus_log_likelihood(q: float) -> float:  # q: chance that only b passes; q + delta: only a
        cells = ((only_b, q), (only_a, q + delta), (n - only_a - only_b, 1 - 2 * q - delta))
        return -sum(count * math.log(max(p, 1e-300)) for count, p in cells if count)

    low, high = max(0.0, -delta), (1 - delta) / 2
    q = optimize.minimize_scalar(minus_log_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-14}).x
    return (only_a - only_b - n * delta) / math.sqrt(n * (2 * q + delta - delta**2))


@given(st.integers(0, 15), st.integers(0, 15), st.integers(1, 200), st.sampled_from([-0.2, -0.05, 0.02, 0.1]))
@settings(max_examples=60)
def test_tango_score(only_a: int, only_b: int, agreeing: int, delta: float) -> None:
    n = only_a + only_b + agreeing
    assert tango_z(only_a, only_b, n, delta) == pytest.approx(score_by_maximisation(only_a, only_b, n, delta), rel=1e-5)


def test_tango_interval_is_where_the_test_is_at_its_level() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.random(150) < 0.5, rng.random(150) < 0.45
    found = tango(a, b, margin=0.1)
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    assert found.low is not None
    assert found.high is not None
    assert found.difference == pytest.approx(a.mean() - b.mean(), abs=EXACT)
    assert tango_z(only_a, only_b, 150, found.low) == pytest.approx(stats.norm.isf(0.05), abs=1e-8)
    assert tango_z(only_a, only_b, 150, found.high) == pytest.approx(-stats.norm.isf(0.05), abs=1e-8)
    inside = found.low > -0.1 and found.high < 0.1
    assert found.equivalent == inside, "the interval and the test decide alike"


def test_tango_without_discordant_tasks_still_has_a_variance() -> None:
    same = np.ones(400, dtype=bool)
    found = tango(same, same, margin=0.02)
    assert found.p_equivalent is not None
    assert found.p_equivalent == pytest.approx(stats.norm.sf(0.02 * 400 / math.sqrt(400 * 0.02 * 0.98)), rel=1e-6)
    assert found.equivalent
    few = tango(same[:10], same[:10], margin=0.02)
    assert not few.equivalent, "ten agreements prove nothing about two per cent"
    assert tango([], [], 0.02).p_equivalent is None
