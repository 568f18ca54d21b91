"""Tests for matched samples: every configuration solved the same tasks, and these use it.

Friedman and Wilcoxon are scipy's, Conover and Nemenyi scikit-posthocs'. McNemar's mid-p is ours on scipy's binomial
distribution (statsmodels has the exact and the chi-squared test only), and so is Friedman of two configurations, which
scipy refuses. A matrix has a row per task (or other unit of measurement) and a column per configuration. All of these
are about the runs at hand: what the same runs would show again is not in them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from passkwh.analysis.error_model import FEWEST_UNITS
from passkwh.analysis.multiplicity import Adjustment, adjusted_pairs
from passkwh.analysis.results import PairwiseResult, TestResult, no_pairs, no_result, pairwise_result


def friedman(matrix: ArrayLike) -> TestResult:
    """Do the configurations differ, task by task? Chi-squared of within-task ranks with correction for ties.

    The effect is Kendall's W, the agreement of the tasks on the configurations' order: chi2 / (tasks (k - 1)), 0 ... 1.
    Valid for two configurations too, where it is the sign test with ties.
    """
    from scipy import stats

    name = "Friedman"
    table = _table(matrix)
    if reason := _cannot_compare(table):
        return no_result(name, len(table), reason)
    n, k = table.shape
    if k == 2:
        wins, losses = (table[:, 0] > table[:, 1]).sum(), (table[:, 0] < table[:, 1]).sum()
        chi2 = float((wins - losses) ** 2 / (wins + losses))
        p_value = float(stats.chi2.sf(chi2, 1))
    else:
        result = stats.friedmanchisquare(*table.T)
        chi2, p_value = max(float(result.statistic), 0.0), float(result.pvalue)
    return TestResult(
        test=name,
        statistic=chi2,
        p_value=p_value,
        n=n,
        df=k - 1,
        effect=chi2 / (n * (k - 1)),
        effect_name="Kendall's W",
    )


def conover(matrix: ArrayLike, labels: Sequence[str], adjustment: Adjustment = "holm") -> PairwiseResult:
    """Which pairs differ, after Friedman (Conover 1999, 5.8): t tests on rank sums, more powerful than Nemenyi's."""
    table = _table(matrix)
    if reason := _cannot_compare(table):
        return no_pairs("Conover", adjustment, tuple(labels), reason)
    from scipy import stats

    ranks = stats.rankdata(table, axis=1)
    if (ranks == ranks[0]).all():
        # Every task orders the configurations alike: t is infinite wherever ranks differ. So are at most as many ways
        # of ordering them, and the chance of one is the test by permutation; adjusted by Bonferroni.
        k = table.shape[1]
        least = min(1.0, math.factorial(k) ** (1.0 - len(table)) * k * (k - 1) / 2)
        p_values = np.where(ranks[0][:, None] == ranks[0][None, :], 1.0, least)
    else:
        from scikit_posthocs import posthoc_conover_friedman

        p_values = adjusted_pairs(posthoc_conover_friedman(table).to_numpy(), adjustment)
    return pairwise_result("Conover", adjustment, tuple(labels), p_values)


def nemenyi(matrix: ArrayLike, labels: Sequence[str]) -> PairwiseResult:
    """Which pairs differ, after Friedman, by the studentized range (Nemenyi 1963): adjusted in a single step."""
    table = _table(matrix)
    if reason := _cannot_compare(table):
        return no_pairs("Nemenyi", "single-step", tuple(labels), reason)
    from scikit_posthocs import posthoc_nemenyi_friedman

    return pairwise_result("Nemenyi", "single-step", tuple(labels), posthoc_nemenyi_friedman(table).to_numpy())


def wilcoxon(a: ArrayLike, b: ArrayLike) -> TestResult:
    """Is a - b symmetric around 0? Signed ranks without zeros, normal approximation with ties above 50 or with them.

    The effect is the matched-pairs rank-biserial correlation, (W+ - W-) / (W+ + W-), -1 ... 1 (Kerby 2014).
    """
    from scipy import stats

    name = "Wilcoxon signed-rank"
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    n = len(difference)
    if np.isnan(difference).any():
        return no_result(name, n, "a pair has a missing value")
    nonzero = difference[difference != 0]
    if len(nonzero) == 0:
        return no_result(name, n, "all pairs are equal" if n else "no matched values")
    result, ranks = stats.wilcoxon(nonzero), stats.rankdata(np.abs(nonzero))
    return TestResult(
        test=name,
        statistic=float(result.statistic),
        p_value=float(result.pvalue),
        n=n,
        effect=float((ranks * np.sign(nonzero)).sum() / ranks.sum()),
        effect_name="rank-biserial correlation",
    )


def mcnemar(a: ArrayLike, b: ArrayLike) -> TestResult:
    """Do two configurations pass different tasks equally often? Mid-p of the exact binomial test on discordant tasks.

    ``a`` and ``b`` hold one verdict per task. The mid-p (Fagerland 2013) keeps close to its level where the exact test
    is conservative. The effect is the odds ratio of the discordant tasks, None where it would divide by zero.
    """
    from scipy import stats

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
    if len(table) < FEWEST_UNITS:
        return f"{len(table)} of what was measured once is too few: nothing can be said of other tasks"
    return None
