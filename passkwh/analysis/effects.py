"""How large a difference is, beside whether there is one."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from passkwh.analysis.results import Interval, finite


def cliffs_delta(a: ArrayLike, b: ArrayLike) -> float | None:
    """P(a > b) - P(a < b) over all pairs of two independent samples (Cliff 1993). -1 ... 1; None when one is empty.

    From scipy's Mann-Whitney U, which counts the pairs with a > b and half of the ties.
    """
    from scipy import stats

    first, second = _values(a), _values(b)
    pairs = len(first) * len(second)
    if pairs == 0:
        return None
    u = stats.mannwhitneyu(first, second, method="asymptotic").statistic
    return float((2.0 * u - pairs) / pairs)


def geometric_mean_ratio(a: ArrayLike, b: ArrayLike, label: str, level: float = 0.95) -> Interval:
    """exp of the mean of log(a / b) over matched values, with a paired t interval: how many times b's, typically, a is.

    All values must be positive; otherwise the ratio is missing and says why.
    """
    from scipy import stats

    first, second = _values(a), _values(b)
    reason = None
    estimate = low = high = None
    if len(first) == 0:
        reason = "no matched values"
    elif not ((first > 0).all() and (second > 0).all()):
        reason = "a logarithm needs positive values"
    else:
        logs = np.log(first / second)
        mean = float(logs.mean())
        estimate = finite(np.exp(mean))
        if len(logs) > 1:
            half = float(stats.t.ppf((1 + level) / 2, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs)))
            low, high = finite(np.exp(mean - half)), finite(np.exp(mean + half))
        else:
            reason = "an interval needs two matched values"
    return Interval(
        measure="ratio of geometric means", label=label, estimate=estimate, low=low, high=high, level=level,
        reason=reason,
    )  # fmt: skip


def _values(values: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)
