"""How large a difference is, beside whether there is one."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from passkwh.analysis.results import Interval, finite


def epsilon_squared(kruskal_h: float, n: int) -> float | None:
    """Share of rank variance between groups: H (n + 1) / (n^2 - 1), which is H / (n - 1) (Kelley 1935). 0 ... 1."""
    return kruskal_h / (n - 1) if n > 1 else None


def kendall_w(friedman_chi2: float, tasks: int, configurations: int) -> float | None:
    """Agreement of the tasks on the order of the configurations: chi2 / (tasks (k - 1)). 0 ... 1."""
    return friedman_chi2 / (tasks * (configurations - 1)) if tasks and configurations > 1 else None


def cliffs_delta(a: ArrayLike, b: ArrayLike) -> float | None:
    """P(a > b) - P(a < b) over all pairs of two independent samples (Cliff 1993). -1 ... 1; None when one is empty."""
    first, second = _values(a), np.sort(_values(b))
    if len(first) == 0 or len(second) == 0:
        return None
    below = np.searchsorted(second, first, side="left")
    above = len(second) - np.searchsorted(second, first, side="right")
    return float((below.sum() - above.sum()) / (len(first) * len(second)))


def matched_rank_biserial(a: ArrayLike, b: ArrayLike) -> float | None:
    """(W+ - W-) / (W+ + W-) of the signed ranks of a - b without zeros (Kerby 2014). -1 ... 1; None if all are zero."""
    difference = _values(a) - _values(b)
    difference = difference[difference != 0]
    if len(difference) == 0:
        return None
    ranks = stats.rankdata(np.abs(difference))
    return float((ranks * np.sign(difference)).sum() / ranks.sum())


def geometric_mean_ratio(a: ArrayLike, b: ArrayLike, label: str, level: float = 0.95) -> Interval:
    """exp of the mean of log(a / b) over matched values, with a paired t interval: how many times b's, typically, a is.

    All values must be positive; otherwise the ratio is missing and says why.
    """
    first, second = _values(a), _values(b)
    reason = None
    if len(first) == 0:
        reason = "no matched values"
    elif not ((first > 0).all() and (second > 0).all()):
        reason = "a logarithm needs positive values"
    if reason:
        return Interval(
            measure="ratio of geometric means",
            label=label,
            estimate=None,
            low=None,
            high=None,
            level=level,
            reason=reason,
        )
    logs = np.log(first / second)
    mean = float(logs.mean())
    low = high = None
    if len(logs) > 1:
        half = float(stats.t.ppf((1 + level) / 2, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs)))
        low, high = finite(np.exp(mean - half)), finite(np.exp(mean + half))
    else:
        reason = "an interval needs two matched values"
    return Interval(
        measure="ratio of geometric means",
        label=label,
        estimate=finite(np.exp(mean)),
        low=low,
        high=high,
        level=level,
        reason=reason,
    )


def _values(values: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)
