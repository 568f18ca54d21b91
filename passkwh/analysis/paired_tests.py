"""Tests for matched samples: every configuration solved the same tasks, and these use it.

A matrix has a row per task and a column per configuration, without missing values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from passkwh.analysis.effects import kendall_w, matched_rank_biserial
from passkwh.analysis.independent_tests import missing_pairs, pairwise
from passkwh.analysis.multiplicity import Adjustment
from passkwh.analysis.results import PairwiseResult, TestResult, no_result


def friedman(matrix: ArrayLike) -> TestResult:
    """Do the configurations differ, task by task? Chi-squared of within-task ranks with correction for ties.

    The effect is Kendall's W. Valid for two configurations too, where it is the sign test with ties.
    """
    name = "Friedman"
    table = _table(matrix)
    reason = _cannot_compare(table)
    if reason:
        return no_result(name, len(table), reason)
    n, k = table.shape
    ranks = stats.rankdata(table, axis=1)
    chi2 = _friedman_chi2(ranks)
    return TestResult(
        test=name,
        statistic=chi2,
        p_value=float(stats.chi2.sf(chi2, k - 1)),
        n=n,
        df=k - 1,
        effect=kendall_w(chi2, n, k),
        effect_name="Kendall's W",
    )


def conover(matrix: ArrayLike, labels: Sequence[str], adjustment: Adjustment = "holm") -> PairwiseResult:
    """Which pairs differ, after Friedman (Conover 1999, 5.8): t tests on rank sums, more powerful than Nemenyi's."""
    table = _table(matrix)
    reason = _cannot_compare(table)
    if reason:
        return missing_pairs("Conover", adjustment, tuple(labels), reason)
    n, k = table.shape
    ranks = stats.rankdata(table, axis=1)
    sums = ranks.sum(axis=0)
    df = (n - 1) * (k - 1)
    unexplained = n * (ranks**2).sum() - (sums**2).sum()
    if df == 0:
        return missing_pairs("Conover", adjustment, tuple(labels), "a post-hoc test needs two tasks")
    distance = np.abs(sums[:, None] - sums[None, :])
    if unexplained <= 1e-9 * n * (ranks**2).sum():
        # Every task orders the configurations alike: t is infinite wherever rank sums differ.
        raw = np.where(distance > 0, 0.0, 1.0)
    else:
        raw = 2.0 * stats.t.sf(distance / np.sqrt(2.0 * unexplained / df), df)
    return pairwise("Conover", adjustment, tuple(labels), raw)


def nemenyi(matrix: ArrayLike, labels: Sequence[str]) -> PairwiseResult:
    """Which pairs differ, after Friedman, by the studentized range (Nemenyi 1963): adjusted in a single step."""
    table = _table(matrix)
    reason = _cannot_compare(table)
    if reason:
        return missing_pairs("Nemenyi", "single-step", tuple(labels), reason)
    n, k = table.shape
    means = stats.rankdata(table, axis=1).mean(axis=0)
    rows, columns = np.triu_indices(k, 1)
    q = np.abs(means[rows] - means[columns]) / np.sqrt(k * (k + 1.0) / (12.0 * n))
    distinct, where = np.unique(q, return_inverse=True)
    matrix_p = np.ones((k, k))
    matrix_p[rows, columns] = matrix_p[columns, rows] = stats.studentized_range.sf(distinct, k, np.inf)[where]
    p_values = tuple(tuple(float(p) for p in row) for row in matrix_p)
    return PairwiseResult(test="Nemenyi", adjustment="single-step", labels=tuple(labels), p_values=p_values)


def wilcoxon(a: ArrayLike, b: ArrayLike) -> TestResult:
    """Is a - b symmetric around 0? Signed ranks without zeros, normal approximation with ties above 50 or with them.

    The effect is the matched-pairs rank-biserial correlation.
    """
    name = "Wilcoxon signed-rank"
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    n = len(difference)
    if np.isnan(difference).any():
        return no_result(name, n, "a pair has a missing value")
    nonzero = difference[difference != 0]
    if len(nonzero) == 0:
        return no_result(name, n, "all pairs are equal" if n else "no matched values")
    found = stats.wilcoxon(nonzero)
    return TestResult(
        test=name,
        statistic=float(found.statistic),
        p_value=float(found.pvalue),
        n=n,
        effect=matched_rank_biserial(difference, np.zeros(n)),
        effect_name="rank-biserial correlation",
    )


def mcnemar(a: ArrayLike, b: ArrayLike) -> TestResult:
    """Do two configurations pass different tasks equally often? Mid-p of the exact binomial test on discordant tasks.

    ``a`` and ``b`` hold one verdict per task. The mid-p (Fagerland 2013) keeps close to its level where the exact test
    is conservative. The effect is the odds ratio of the discordant tasks, None where it would divide by zero.
    """
    first, second = np.asarray(a, dtype=bool), np.asarray(b, dtype=bool)
    only_a, only_b = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_a + only_b
    if len(first) == 0:
        return no_result("McNemar", 0, "no matched verdicts")
    fewer = min(only_a, only_b)
    exact = min(1.0, 2.0 * float(stats.binom.cdf(fewer, discordant, 0.5)))
    mid_p = 1.0 if only_a == only_b else exact - float(stats.binom.pmf(fewer, discordant, 0.5))
    return TestResult(
        test="McNemar",
        statistic=float(only_a - only_b),
        p_value=mid_p,
        n=len(first),
        effect=only_a / only_b if only_b else None,
        effect_name=f"odds ratio ({only_a} only in the first, {only_b} only in the second)",
        reason=None if discordant else "no task separates the two",
    )


def _table(matrix: ArrayLike) -> NDArray[np.float64]:
    table = np.asarray(matrix, dtype=np.float64)
    if table.ndim != 2:
        raise ValueError(f"expected a row per task and a column per configuration, got shape {table.shape}")
    return table


def _cannot_compare(table: NDArray[np.float64]) -> str | None:
    if table.shape[1] < 2:
        return "a comparison needs two configurations or more"
    if len(table) == 0:
        return "no matched tasks"
    if np.isnan(table).any():
        return "a task has missing values"
    if (table == table[:, :1]).all():
        return "all configurations are equal on every task"
    return None


def _friedman_chi2(ranks: NDArray[np.float64]) -> float:
    n, k = ranks.shape
    centre = n * k * (k + 1.0) ** 2 / 4.0
    between = ((ranks.sum(axis=0) - n * (k + 1.0) / 2.0) ** 2).sum()
    return float((k - 1.0) * between / ((ranks**2).sum() - centre))
