"""Tests for independent groups: what the thesis used (tables 5.16, 5.17, 5.22, 5.23, 5.28, 5.33, 5.38, 5.39).

Kruskal-Wallis is scipy's and Dunn scikit-posthocs'. They ask whether configurations differ while ignoring that all
solved the same tasks; ``paired_tests`` has the tests that use it. Groups are mappings from label to values; missing
values are the caller's to leave out.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from passkwh.analysis.multiplicity import Adjustment, adjusted_pairs
from passkwh.analysis.results import PairwiseResult, TestResult, no_pairs, no_result, pairwise_result


def kruskal_wallis(groups: Mapping[str, ArrayLike]) -> TestResult:
    """Do the groups' distributions of ranks differ? H with correction for ties, chi-squared with k - 1 degrees.

    The effect is epsilon squared, the share of rank variance between groups: H / (n - 1), 0 ... 1 (Kelley 1935).
    Missing, with a reason, for fewer than two groups or when all values are equal.
    """
    from scipy import stats

    name = "Kruskal-Wallis"
    values = [np.asarray(v, dtype=np.float64) for v in groups.values()]
    n = sum(map(len, values))
    if reason := _cannot_rank(values):
        return no_result(name, n, reason)
    statistic, p_value = stats.kruskal(*values)
    h = max(float(statistic), 0.0)
    return TestResult(
        test=name,
        statistic=h,
        p_value=float(p_value),
        n=n,
        df=len(values) - 1,
        effect=h / (n - 1),
        effect_name="epsilon squared",
    )


def dunn(groups: Mapping[str, ArrayLike], adjustment: Adjustment = "bonferroni") -> PairwiseResult:
    """Which pairs differ, after Kruskal-Wallis (Dunn 1964), with correction for ties.

    Bonferroni is what the thesis used: its printed p-values give its printed H only so.
    """
    values = [np.asarray(v, dtype=np.float64) for v in groups.values()]
    if reason := _cannot_rank(values):
        return no_pairs("Dunn", adjustment, tuple(groups), reason)
    from scikit_posthocs import posthoc_dunn

    p_values = adjusted_pairs(posthoc_dunn(values).to_numpy(), adjustment)
    return pairwise_result("Dunn", adjustment, tuple(groups), p_values)


def _cannot_rank(values: list[NDArray[np.float64]]) -> str | None:
    if len(values) < 2:
        return "a comparison needs two groups or more"
    if any(len(v) == 0 for v in values):
        return "a group has no values"
    pooled = np.concatenate(values)
    if np.isnan(pooled).any():
        return "a group has missing values"
    if (pooled == pooled[0]).all():
        return "all values are equal"
    return None
