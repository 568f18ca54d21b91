"""p-values of a family of tests, adjusted: Bonferroni, Holm (1979) and, by scipy, Benjamini-Hochberg (1995).

Not statsmodels' ``multipletests``: it collects garbage whenever it is called, which takes longer than whole analyses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Adjustment = Literal["none", "bonferroni", "holm", "bh"]


def adjust(p_values: Sequence[float | None], method: Adjustment) -> list[float | None]:
    """Adjusted p-values in the given order. Missing ones stay missing and do not count towards the family's size."""
    from scipy import stats

    known = [i for i, p in enumerate(p_values) if p is not None]
    result: list[float | None] = list(p_values)
    p = np.array([p_values[i] for i in known], dtype=np.float64)
    if not known or method == "none":
        return result
    if method == "bh":
        adjusted = stats.false_discovery_control(p, method="bh")
    elif method == "bonferroni":
        adjusted = np.minimum(p * len(p), 1.0)
    else:
        order = np.argsort(p, kind="stable")
        adjusted = np.empty(len(p))
        adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    for i, value in zip(known, adjusted.tolist(), strict=True):
        result[i] = value
    return result


def adjusted_pairs(p_values: NDArray[np.float64], method: Adjustment) -> NDArray[np.float64]:
    """The same of a symmetric matrix of pairs, whose diagonal is no test."""
    rows, columns = np.triu_indices(len(p_values), 1)
    result = np.ones_like(p_values)
    result[rows, columns] = result[columns, rows] = adjust(p_values[rows, columns].tolist(), method)
    return result


def adjust_both_orders(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm over claims that come in pairs of which at most one is false (a not worse than b, b not worse than a).

    So as many as half of them can be false together, and no multiplier is larger (Shaffer 1986).

    Example:
        >>> adjust_both_orders([0.01, 0.9])
        [0.01, 0.9]
    """
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    result: list[float | None] = list(p_values)
    most, largest = (len(known) + 1) // 2, 0.0
    for step, (p, i) in enumerate(known):
        largest = max(largest, min(1.0, p * min(most, len(known) - step)))
        result[i] = largest
    return result
