"""Is a difference small enough? Equivalence and non-inferiority against a margin stated beforehand.

A test that finds no difference shows nothing; these put the burden of proof the other way round. The paired t tests
are statsmodels'; Tango's score test and interval are ours, as no library here has them. Of rates that differ on few
tasks no spread can be known: Tango's test then takes for the number of tasks what their differences are worth.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from passkwh.records import Record

Method = Literal["paired t", "Tango score"]


class EquivalenceResult(Record):
    """Verdict on a mean paired difference a - b against a margin."""

    method: Method
    margin: Annotated[float, Field(gt=0)]
    n: int
    difference: float | None
    low: Annotated[float | None, Field(description="interval that decides equivalence: level 1 - 2 alpha")]
    high: float | None
    alpha: float
    p_non_inferior: Annotated[float | None, Field(description="of a being worse than b by the margin or more")]
    p_equivalent: Annotated[float | None, Field(description="of a differing from b by the margin or more (TOST)")]
    p_b_non_inferior: Annotated[
        float | None, Field(description="of b being worse than a by the margin or more: the other order")
    ] = None
    reason: str | None = None

    @property
    def non_inferior(self) -> bool | None:
        """Whether a is shown to be worse than b by less than the margin."""
        return None if self.p_non_inferior is None else self.p_non_inferior < self.alpha

    @property
    def equivalent(self) -> bool | None:
        """Whether a is shown to be within the margin of b, either way."""
        return None if self.p_equivalent is None else self.p_equivalent < self.alpha


def paired_t(a: ArrayLike, b: ArrayLike, margin: float, alpha: float = 0.05) -> EquivalenceResult:
    """Two one-sided paired t tests (Schuirmann 1987) on the mean of a - b; more is better.

    For rates of several samples a task. Missing where n < 2 or the differences do not vary.
    """
    from statsmodels.stats.weightstats import DescrStatsW

    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    n = len(difference)
    mean = float(difference.mean()) if n else float("nan")
    if np.isnan(mean) or n < 2 or difference.std() == 0.0:
        reason = "needs two matched tasks" if n < 2 else "the differences do not vary or some are missing"
        return _undecided("paired t", margin, n, None if np.isnan(mean) else mean, alpha, reason)
    described = DescrStatsW(difference)
    lower = float(described.ttest_mean(-margin, alternative="larger")[1])
    upper = float(described.ttest_mean(margin, alternative="smaller")[1])
    low, high = described.tconfint_mean(alpha=2 * alpha)
    return EquivalenceResult(
        method="paired t", margin=margin, n=n, difference=mean, low=float(low), high=float(high), alpha=alpha,
        p_non_inferior=lower, p_equivalent=max(lower, upper), p_b_non_inferior=upper,
    )  # fmt: skip


def _undecided(
    method: Method, margin: float, n: int, difference: float | None, alpha: float, reason: str
) -> EquivalenceResult:
    return EquivalenceResult(
        method=method, margin=margin, n=n, difference=difference, low=None, high=None, alpha=alpha,
        p_non_inferior=None, p_equivalent=None, reason=reason,
    )  # fmt: skip


def tango_z(only_a: float, only_b: float, n: float, delta: float) -> float:
    """Score statistic of H0: P(a) - P(b) = delta for matched verdicts (Tango 1998), standard normal under H0.

    ``only_a`` and ``only_b`` count discordant tasks. Unlike Wald's it has a variance when no task is discordant.
    """
    quadratic = 2.0 * n
    linear = -only_a - only_b + (2.0 * n - only_a + only_b) * delta
    constant = -only_b * delta * (1.0 - delta)
    # Plain floats: an interval asks a hundred times, and numpy takes several times as long for one number.
    q = (math.sqrt(max(linear**2 - 4.0 * quadratic * constant, 0.0)) - linear) / (2.0 * quadratic)
    variance = n * (2.0 * q + delta * (1.0 - delta))
    distance = only_a - only_b - n * delta
    if variance <= 0.0:
        return 0.0 if distance == 0 else math.copysign(math.inf, distance)
    return float(distance / math.sqrt(variance))


def tango(a: ArrayLike, b: ArrayLike, margin: float, alpha: float = 0.05) -> EquivalenceResult:
    """Equivalence and non-inferiority of two matched sets of verdicts, one per task, by Tango's score test."""
    first, second = np.asarray(a, dtype=bool), np.asarray(b, dtype=bool)
    only_a, only_b = int((first & ~second).sum()), int((second & ~first).sum())
    return _tango(only_a, only_b, len(first), len(first), margin, alpha)


def _tango(only_a: float, only_b: float, worth: float, n: int, margin: float, alpha: float) -> EquivalenceResult:
    from scipy import special

    if n == 0:
        return _undecided("Tango score", margin, 0, None, alpha, "no matched verdicts")
    lower = float(special.ndtr(-tango_z(only_a, only_b, worth, -margin)))
    upper = float(special.ndtr(tango_z(only_a, only_b, worth, margin)))
    low, high = score_interval(only_a, only_b, worth, 1 - 2 * alpha)
    return EquivalenceResult(
        method="Tango score", margin=margin, n=n, difference=(only_a - only_b) / worth, low=low, high=high, alpha=alpha,
        p_non_inferior=lower, p_equivalent=max(lower, upper), p_b_non_inferior=upper,
    )  # fmt: skip


def score_interval(only_a: float, only_b: float, n: float, level: float) -> tuple[float, float]:
    """Tango's two-sided interval of P(a) - P(b)."""
    from scipy import special

    bound, difference = float(special.ndtri((1 + level) / 2)), (only_a - only_b) / n
    return (
        _score_bound(only_a, only_b, n, -1.0, difference, bound),
        _score_bound(only_a, only_b, n, 1.0, difference, -bound),
    )


ENOUGH_TO_VARY = 10
"""So many tasks must differ for the spread of their differences to be known."""


def _worth(difference: NDArray[np.float64]) -> tuple[float, float, float]:
    """Differences of rates as verdicts: tasks only a, and only b, passes, of how many; their mean and variance hold.

    Verdicts stay what they are; where nothing differs, a task counts as one.
    """
    size, square = float(np.abs(difference).sum()), float((difference**2).sum())
    factor = size / square if square > 0 else 1.0
    up = float(difference[difference > 0].sum())
    return up * factor, (size - up) * factor, len(difference) * factor


def paired_rates(a: ArrayLike, b: ArrayLike, margin: float, alpha: float = 0.05) -> EquivalenceResult:
    """Equivalence and non-inferiority of pass rates per task: paired t where enough tasks differ, else Tango's test."""
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    if _few_differ(a, b):
        return _tango(*_worth(difference), len(difference), margin, alpha)
    return paired_t(a, b, margin, alpha)


def _few_differ(a: ArrayLike, b: ArrayLike) -> bool:
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    verdicts = bool(np.isin(first, (0.0, 1.0)).all() and np.isin(second, (0.0, 1.0)).all())
    return verdicts or int((first != second).sum()) < ENOUGH_TO_VARY


def rate_difference(a: ArrayLike, b: ArrayLike, level: float) -> tuple[float, float]:
    """Two-sided interval of the mean of a - b, by the method of its test."""
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    if _few_differ(a, b):
        return score_interval(*_worth(difference), level)
    from scipy import special

    half = special.stdtrit(len(difference) - 1, (1 + level) / 2) * difference.std(ddof=1) / np.sqrt(len(difference))
    return float(difference.mean() - half), float(difference.mean() + half)


def _score_bound(only_a: float, only_b: float, n: float, far: float, near: float, target: float) -> float:
    """Where the score statistic equals ``target`` between the estimate and an end of -1 ... 1, by bisection."""
    inside, outside = near, far
    for _ in range(60):
        middle = 0.5 * (inside + outside)
        if (tango_z(only_a, only_b, n, middle) - target) * (1.0 if target > 0 else -1.0) < 0:
            inside = middle
        else:
            outside = middle
    return 0.5 * (inside + outside)
