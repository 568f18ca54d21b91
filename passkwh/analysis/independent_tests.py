"""Tests for independent groups: what the thesis used (tables 5.16, 5.17, 5.22, 5.23, 5.28, 5.33, 5.38, 5.39).

They ask whether configurations differ while ignoring that all solved the same tasks; ``matched`` has the tests that
use it. Groups are mappings from label to values; missing values are the caller's to leave out.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from passkwh.analysis.effects import epsilon_squared
from passkwh.analysis.multiplicity import Adjustment, adjust
from passkwh.analysis.results import PairwiseResult, TestResult, no_result


def kruskal_wallis(groups: Mapping[str, ArrayLike]) -> TestResult:
    """Do the groups' distributions of ranks differ? H with correction for ties, chi-squared with k - 1 degrees.

    The effect is epsilon squared. Missing, with a reason, for fewer than two groups or when all values are equal.
    """
    name = "Kruskal-Wallis"
    values = [np.asarray(v, dtype=np.float64) for v in groups.values()]
    pooled = np.concatenate(values) if values else np.empty(0)
    reason = _cannot_rank(values, pooled)
    if reason:
        return no_result(name, len(pooled), reason)
    n, ranks, tie_sum = _pooled_ranks(pooled)
    sums = [chunk.sum() for chunk in _split(ranks, values)]
    h = 12.0 / (n * (n + 1.0)) * sum(s**2 / len(v) for s, v in zip(sums, values, strict=True)) - 3.0 * (n + 1.0)
    h /= 1.0 - tie_sum / (n**3 - n)
    h = max(float(h), 0.0)
    df = len(values) - 1
    return TestResult(
        test=name,
        statistic=h,
        p_value=float(stats.chi2.sf(h, df)),
        n=n,
        df=df,
        effect=epsilon_squared(h, n),
        effect_name="epsilon squared",
    )


def dunn(groups: Mapping[str, ArrayLike], adjustment: Adjustment = "bonferroni") -> PairwiseResult:
    """Which pairs differ, after Kruskal-Wallis (Dunn 1964), with correction for ties.

    Bonferroni is what the thesis used: its printed p-values give its printed H only so.
    """
    labels = tuple(groups)
    values = [np.asarray(v, dtype=np.float64) for v in groups.values()]
    pooled = np.concatenate(values) if values else np.empty(0)
    reason = _cannot_rank(values, pooled)
    if reason:
        return missing_pairs("Dunn", adjustment, labels, reason)
    n, ranks, tie_sum = _pooled_ranks(pooled)
    means = np.array([chunk.mean() for chunk in _split(ranks, values)])
    sizes = np.array([len(v) for v in values], dtype=np.float64)
    spread = n * (n + 1.0) / 12.0 - tie_sum / (12.0 * (n - 1.0))
    z = np.abs(means[:, None] - means[None, :]) / np.sqrt(spread * (1.0 / sizes[:, None] + 1.0 / sizes[None, :]))
    return pairwise("Dunn", adjustment, labels, 2.0 * stats.norm.sf(z))


def pairwise(test: str, adjustment: Adjustment, labels: tuple[str, ...], raw: NDArray[np.float64]) -> PairwiseResult:
    """A symmetric matrix of p-values from the upper triangle of ``raw``, adjusted as one family."""
    rows, columns = np.triu_indices(len(labels), 1)
    adjusted = adjust([float(p) for p in raw[rows, columns]], adjustment)
    matrix = np.ones(raw.shape)
    matrix[rows, columns] = matrix[columns, rows] = adjusted
    p_values = tuple(tuple(float(p) for p in row) for row in matrix)
    return PairwiseResult(test=test, adjustment=adjustment, labels=labels, p_values=p_values)


def missing_pairs(test: str, adjustment: str, labels: tuple[str, ...], reason: str) -> PairwiseResult:
    """Post-hoc tests that could not be done, and why."""
    empty = tuple(tuple(None for _ in labels) for _ in labels)
    return PairwiseResult(test=test, adjustment=adjustment, labels=labels, p_values=empty, reason=reason)


def _cannot_rank(values: list[NDArray[np.float64]], pooled: NDArray[np.float64]) -> str | None:
    if len(values) < 2:
        return "a comparison needs two groups or more"
    if any(len(v) == 0 for v in values):
        return "a group has no values"
    if np.isnan(pooled).any():
        return "a group has missing values"
    if (pooled == pooled[0]).all():
        return "all values are equal"
    return None


def _pooled_ranks(pooled: NDArray[np.float64]) -> tuple[int, NDArray[np.float64], float]:
    ranks = stats.rankdata(pooled)
    ties = np.unique(pooled, return_counts=True)[1].astype(np.float64)
    return len(pooled), ranks, float((ties**3 - ties).sum())


def _split(ranks: NDArray[np.float64], values: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    return np.split(ranks, np.cumsum([len(v) for v in values])[:-1])
