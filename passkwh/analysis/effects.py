"""How large a difference is, beside whether there is one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from passkwh.analysis.results import Interval, finite


def cliffs_delta(a: ArrayLike, b: ArrayLike) -> float | None:
    """P(a > b) - P(a < b) over all pairs of two independent samples (Cliff 1993). -1 ... 1; None when one is empty.

    From Mann and Whitney's U, the sum of a's ranks less the least it can be: the pairs with a > b and half of the ties.
    """
    from scipy import stats

    first, second = _values(a), _values(b)
    pairs = len(first) * len(second)
    if pairs == 0:
        return None
    u = stats.rankdata(np.concatenate([first, second]))[: len(first)].sum() - len(first) * (len(first) + 1) / 2.0
    return float((2.0 * u - pairs) / pairs)


def geometric_mean_ratio(
    a: ArrayLike,
    b: ArrayLike,
    label: str,
    level: float = 0.95,
    common: tuple[float, float] = (0.0, np.inf),
    units: Sequence[ArrayLike] = (),
    noise: float = 0.0,
    widened: float = 1.0,
) -> Interval:
    """exp of the mean of log(a / b) over matched values, with a paired t interval: how many times b's, typically, a is.

    ``common`` is a variance that all logs share (of whole runs, of idle power), and its degrees of freedom. All values
    must be positive; otherwise the ratio is missing and says why. ``units`` says which values were measured as one;
    ``noise`` is what of their variance is in ``common`` already, and ``widened`` what neighbours in time add to it.
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
            own, number = _clustered(logs - mean, units)
            shared = common[0]
            own = max(own * widened - noise, 0.0)
            lost = own**2 / (number - 1) + shared**2 / common[1]
            df = (own + shared) ** 2 / lost if lost > 0 else number - 1  # Satterthwaite
            half = float(stats.t.ppf((1 + level) / 2, df) * np.sqrt(own + shared))
            low, high = finite(np.exp(mean - half)), finite(np.exp(mean + half))
        else:
            reason = "an interval needs two matched values"
    return Interval(
        measure="ratio of geometric means", label=label, estimate=estimate, low=low, high=high, level=level,
        reason=reason,
    )  # fmt: skip


def _clustered(d: NDArray[np.float64], units: Sequence[ArrayLike]) -> tuple[float, int]:
    """Variance of a mean from its deviations, by units that were measured once; and the number of the fewest.

    Of two cuts that do not meet, both count and single values once less (Cameron, Gelbach and Miller 2011).
    """
    single = float((d**2).sum()) * len(d) / (len(d) - 1)
    total, fewest = -single * max(len(units) - 1, 0), len(d)
    for cut in units:
        _, number = np.unique(np.asarray(cut), return_inverse=True)
        of_unit = np.bincount(number.ravel(), d)
        if len(of_unit) < 2:
            return float("nan"), 2
        total += float((of_unit**2).sum()) * len(of_unit) / (len(of_unit) - 1)
        fewest = min(fewest, len(of_unit))
    return max(total if units else single, 0.0) / len(d) ** 2, fewest


def _values(values: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)
