"""Every test statistic against its definition written out (``reference``), published values, or enumeration."""

from __future__ import annotations

import math
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import pytest
import reference  # type: ignore[import-not-found]
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as sm_mcnemar

from passkwh.analysis.assumptions import durbin_watson, levene, levene_over_time, shapiro_wilk
from passkwh.analysis.independent_tests import dunn, kruskal_wallis
from passkwh.analysis.multiplicity import adjust
from passkwh.analysis.paired_tests import conover, friedman, mcnemar, nemenyi, wilcoxon

EXACT = 1e-9


def samples(seed: int, ties: bool, sizes: tuple[int, ...] = (20, 25, 31)) -> dict[str, NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    groups = {f"g{i}": rng.lognormal(0.2 * i, 1.0, n) for i, n in enumerate(sizes)}
    return {k: np.round(v, 0) for k, v in groups.items()} if ties else groups


def matrix(seed: int, ties: bool, tasks: int = 40, configurations: int = 4) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    table = rng.normal(0, 1, (tasks, 1)) + rng.normal(0, 1, (tasks, configurations)) + 0.2 * np.arange(configurations)
    return np.round(table, 0) if ties else table


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_kruskal_wallis_and_dunn(seed: int, ties: bool) -> None:
    groups = samples(seed, ties)
    values = list(groups.values())
    found = kruskal_wallis(groups)
    h, n = reference.kruskal_h(values), sum(map(len, values))
    assert found.statistic == pytest.approx(h, rel=EXACT)
    assert found.p_value == pytest.approx(stats.chi2.sf(h, 2), rel=EXACT)
    assert found.effect == pytest.approx(h * (n + 1) / (n**2 - 1), rel=EXACT)
    raw = reference.dunn_p(values)
    assert np.allclose(dunn(groups, "none").p_values, raw, rtol=EXACT, atol=0)
    upper = np.triu_indices(3, 1)
    for method in ("bonferroni", "holm", "bh"):
        expected = reference.adjusted(raw[upper].tolist(), method)
        assert np.allclose(np.array(dunn(groups, method).p_values)[upper], expected, rtol=EXACT, atol=0)  # type: ignore[arg-type]


def test_many_groups_keep_their_order() -> None:
    """More than ten, so that an order by name would not be that of the labels."""
    groups = samples(9, ties=False, sizes=(15,) * 12)
    found = dunn(groups, "none")
    assert found.labels == tuple(groups)
    assert np.allclose(found.p_values, reference.dunn_p(list(groups.values())), rtol=EXACT, atol=0)
    table, labels = matrix(9, ties=False, configurations=12), tuple(f"c{i}" for i in range(12))
    assert np.allclose(conover(table, labels, "none").p_values, reference.conover_p(table), rtol=EXACT, atol=0)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_friedman_conover_nemenyi(seed: int, ties: bool) -> None:
    table = matrix(seed, ties)
    labels = ["a", "b", "c", "d"]
    found, chi2 = friedman(table), reference.friedman_chi2(table)
    assert found.statistic == pytest.approx(chi2, rel=EXACT)
    assert found.p_value == pytest.approx(stats.chi2.sf(chi2, 3), rel=EXACT)
    ranks = stats.rankdata(table, axis=1).sum(axis=0)
    if not ties:
        n, k = table.shape
        by_hand = 12 * ((ranks - ranks.mean()) ** 2).sum() / (n**2 * (k**3 - k))
        assert found.effect == pytest.approx(by_hand, rel=EXACT)
    raw, upper = reference.conover_p(table), np.triu_indices(4, 1)
    assert np.allclose(conover(table, labels, "none").p_values, raw, rtol=EXACT, atol=0)
    holm = reference.adjusted(raw[upper].tolist(), "holm")
    assert np.allclose(np.array(conover(table, labels).p_values)[upper], holm, rtol=EXACT, atol=0)
    assert np.allclose(nemenyi(table, labels).p_values, reference.nemenyi_p(table), rtol=EXACT, atol=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_friedman_of_two_is_the_sign_test(ties: bool) -> None:
    table = matrix(7, ties, configurations=2)
    assert friedman(table).statistic == pytest.approx(reference.friedman_chi2(table), rel=EXACT)
    if not ties:
        wins = int((table[:, 0] > table[:, 1]).sum())
        assert friedman(table).statistic == pytest.approx((2 * wins - len(table)) ** 2 / len(table), rel=EXACT)


@pytest.mark.parametrize("ties", [False, True])
def test_wilcoxon_by_hand(ties: bool) -> None:
    table = matrix(5, ties, tasks=120, configurations=2)
    difference = table[:, 0] - table[:, 1]
    difference = difference[difference != 0]
    ranks = stats.rankdata(np.abs(difference))
    plus, minus = ranks[difference > 0].sum(), ranks[difference < 0].sum()
    n = len(difference)
    tie_sizes = np.unique(np.abs(difference), return_counts=True)[1]
    variance = n * (n + 1) * (2 * n + 1) / 24 - (tie_sizes**3 - tie_sizes).sum() / 48
    z = (min(plus, minus) - n * (n + 1) / 4) / math.sqrt(variance)
    found = wilcoxon(table[:, 0], table[:, 1])
    assert found.statistic == pytest.approx(min(plus, minus), rel=EXACT)
    assert found.p_value == pytest.approx(2 * stats.norm.cdf(z), rel=EXACT)
    assert found.effect == pytest.approx((plus - minus) / (plus + minus), rel=EXACT)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_mcnemar_by_enumeration(verdicts: list[tuple[bool, bool]]) -> None:
    only_a = sum(a and not b for a, b in verdicts)
    only_b = sum(b and not a for a, b in verdicts)
    m = only_a + only_b
    weights = [math.comb(m, i) / 2**m for i in range(m + 1)]
    low = min(only_a, only_b)
    mid = 1.0 if only_a == only_b else 2 * (sum(weights[:low]) + weights[low] / 2)
    found = mcnemar([a for a, _ in verdicts], [b for _, b in verdicts])
    assert found.p_value == pytest.approx(mid, abs=EXACT)
    exact = sm_mcnemar([[0, only_a], [only_b, 0]], exact=True).pvalue if m else 1.0
    assert found.p_value is not None
    assert found.p_value <= exact + EXACT


@pytest.mark.parametrize("ties", [False, True])
def test_levene_durbin_watson(ties: bool) -> None:
    groups = samples(11, ties)
    found = levene(groups)
    assert (found.statistic, found.p_value) == pytest.approx(reference.brown_forsythe(list(groups.values())), rel=EXACT)
    residuals = groups["g2"] - groups["g2"].mean()
    steps = sum((b - a) ** 2 for a, b in pairwise(residuals))
    assert durbin_watson(residuals).statistic == pytest.approx(steps / sum(e**2 for e in residuals), rel=EXACT)
    halves = reference.brown_forsythe([residuals[:15], residuals[15:]])
    assert levene_over_time(residuals).statistic == pytest.approx(halves[0], rel=EXACT)


def test_shapiro_wilk_of_published_data() -> None:
    """The weights of eleven men in Shapiro and Wilk 1965, example 3, which R gives W = 0.78881 and p = 0.006704."""
    weights = np.array([148, 154, 158, 160, 161, 162, 166, 170, 182, 195, 236.0])
    for scaled in (weights, weights * 1e6 + 5e9):
        found = shapiro_wilk(scaled)
        assert (found.statistic, found.p_value) == pytest.approx((0.78881, 0.006704), rel=1e-4)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=30))
@settings(max_examples=15)  # statsmodels collects all garbage on each call
def test_adjusted_p_values(thousandths: list[int]) -> None:
    p = [n / 1000 for n in thousandths]
    for method in ("bonferroni", "holm", "bh"):
        assert np.allclose(adjust(p, method), reference.adjusted(p, method), rtol=EXACT, atol=1e-15)  # type: ignore[arg-type]
    assert adjust([0.01, None, 0.02], "holm") == [0.02, None, 0.02]
    assert adjust([None], "bh") == [None]
    assert adjust([], "bonferroni") == []


def test_degenerate_groups_say_why() -> None:
    for found in (kruskal_wallis, levene):
        assert "two groups" in str(found({"a": [1.0, 2.0]}).reason)
        assert "no values" in str(found({"a": [1.0, 2.0], "b": []}).reason)
        assert "missing" in str(found({"a": [1.0, 2.0], "b": [float("nan")]}).reason)
    assert "equal" in str(kruskal_wallis({"a": [1.0, 1.0], "b": [1.0]}).reason)
    assert dunn({"a": [1.0, 1.0], "b": [1.0]}).p_values == ((None, None), (None, None))
    assert "do not vary" in str(levene({"a": [1.0, 1.0], "b": [2.0, 2.0]}).reason)
    assert kruskal_wallis({"a": [1.0], "b": [2.0]}).statistic == pytest.approx(1.0), "n = 1 a group still has ranks"
    constant = kruskal_wallis({"a": [1.0, 1.0, 1.0], "b": [1.0, 2.0, 3.0]})
    assert constant.statistic == pytest.approx(reference.kruskal_h([np.ones(3), np.array([1.0, 2, 3])]), rel=EXACT)
    assert "three" in str(shapiro_wilk([1.0, 2.0]).reason)
    assert "equal" in str(shapiro_wilk([1.0] * 9).reason)
    assert "missing" in str(shapiro_wilk([1.0, 2.0, float("nan"), 3.0]).reason)
    assert "zero" in str(durbin_watson([0.0, 0.0]).reason)
    assert durbin_watson([1.0]).statistic is None


def test_degenerate_matches_say_why() -> None:
    assert "two configurations" in str(friedman([[1.0], [2.0]]).reason)
    assert "equal" in str(friedman([[1.0, 1.0], [2.0, 2.0]]).reason)
    assert "missing" in str(friedman([[1.0, float("nan")]]).reason)
    assert "no matched" in str(friedman(np.empty((0, 3))).reason)
    assert "too few" in str(conover([[1.0, 2.0]], ["a", "b"]).reason)
    unanimous = conover([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], ["a", "b"])
    assert unanimous.p_values[0][1] == 0.25, "by permutation: three tasks in one order of two show little"
    assert "equal" in str(wilcoxon([1.0, 2.0], [1.0, 2.0]).reason)
    assert "no matched" in str(wilcoxon([], []).reason)
    assert wilcoxon([2.0], [1.0]).p_value == pytest.approx(1.0)
    assert mcnemar([False] * 5, [False] * 5).p_value == 1.0
    assert mcnemar([], []).p_value is None


def test_thesis_prints_dunn_with_bonferroni() -> None:
    """Table 5.17's two printed p-values for Qwen-Coder give table 5.16's H = 21.30 only if they were times three."""
    z14, z48 = (stats.norm.isf(p / 3 / 2) for p in (0.0801, 0.0494))
    h = 2 / 3 * (z14**2 + z48**2 + (z14 + z48) ** 2)
    assert h == pytest.approx(21.2995, abs=0.02)
    # The identity used, on data of our own with groups of one size and no ties.
    groups = samples(3, ties=False, sizes=(30, 30, 30))
    raw = dunn(groups, "none").p_values
    squares = [stats.norm.isf(p / 2) ** 2 for i, j in combinations(range(3), 2) if (p := raw[i][j]) is not None]
    assert kruskal_wallis(groups).statistic == pytest.approx(2 / 3 * sum(squares), rel=EXACT)


def test_pandas_series_are_taken_as_they_are() -> None:
    groups = {k: pd.Series(v) for k, v in samples(4, ties=False).items()}
    assert kruskal_wallis(groups).statistic == pytest.approx(reference.kruskal_h(list(groups.values())), rel=EXACT)
