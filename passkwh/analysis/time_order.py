"""Do a run's energies follow one another in time, drift, or change their spread over it?

On residuals of the thesis's regression before its lag, with an intercept: without one, residuals do not average 0, and
Durbin and Watson's statistic is then about 2 / (1 + CV squared of tokens) whatever happens in time. A batch is one
observation, and so are the samples of a task. Runs are tested one by one; of several the smallest p-value counts, times
their number (Bonferroni), because the same tasks make their residuals alike.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from passkwh.analysis.assumptions import durbin_watson, levene_over_time
from passkwh.analysis.domains import REGRESSION_DOMAINS
from passkwh.analysis.regression import is_exact, least_squares
from passkwh.analysis.regression_design import DesignMatrix, clusters, design_matrix
from passkwh.analysis.results import Interval, TestResult, finite, no_result
from passkwh.records import Record

Floats = NDArray[np.float64]


class TimeOrder(Record):
    """What the order of time says of one configuration's residuals."""

    durbin_watson: TestResult
    levene: TestResult
    autocorrelation: Interval
    drift: Interval


def time_order(samples: pd.DataFrame, energy: str = "gross", level: float = 0.95) -> TimeOrder:
    """Durbin-Watson and Levene over time within runs, the correlation of neighbours, and the drift over a run.

    ``samples`` are those of one configuration, as :func:`~passkwh.analysis.regression_design.design_matrix` takes
    them. The drift is the change of energy from begin to end of a run, as a share, other predictors equal.
    """
    fits = [_fit(design_matrix(_by_unit(own, energy), lag=False, intercept=True, energy=energy))
            for _, own in samples.groupby("run", sort=True)]  # fmt: skip
    known = [fit for fit in fits if fit is not None]
    return TimeOrder(
        durbin_watson=_smallest("Durbin-Watson", [_durbin_watson(data, residuals) for data, residuals in known]),
        levene=_smallest("Levene", [levene_over_time(residuals) for _, residuals in known]),
        autocorrelation=_autocorrelation([residuals for _, residuals in known], level),
        drift=_drift(known, level),
    )


def _by_unit(run: pd.DataFrame, energy: str) -> pd.DataFrame:
    """Samples of a run with those of a batch, or of a task, as one row: joules and tokens summed, domains averaged.

    Samples of a task stand next to each other and are alike because of the task, not because of time.
    """
    unit = clusters(run)
    if len(np.unique(unit)) == len(run):
        return run
    # Plain sums by number: pandas takes a hundred times as long for groups in which a missing value is to stay missing.
    batch, ids = pd.factorize(unit)
    joules, size = f"generation_{energy}_j", np.bincount(batch)
    total = {name: np.bincount(batch, run[name].to_numpy(dtype=np.float64))
             for name in (joules, "completion_tokens", *REGRESSION_DOMAINS) if name in run}  # fmt: skip
    order = np.full(len(ids), np.inf)
    np.minimum.at(order, batch, run["order"].to_numpy(dtype=np.float64))
    domains = {name: total[name] / size for name in REGRESSION_DOMAINS if name in total}
    return pd.DataFrame({"run": run["run"].iloc[0], "order": order, **total, **domains})


def _fit(data: DesignMatrix) -> tuple[DesignMatrix, Floats] | None:
    if len(data.outcome) <= data.predictors.shape[1] + 1 or not data.names:
        return None
    fitted = least_squares(data)
    return data, np.zeros(len(data.outcome)) if is_exact(fitted) else np.asarray(fitted.resid)


def _durbin_watson(data: DesignMatrix, residuals: Floats) -> TestResult:
    """With a two-sided p-value from the normal approximation with exact mean and variance (Durbin and Watson 1951)."""
    from scipy import stats

    result = durbin_watson(residuals)
    n, k = data.predictors.shape
    if result.statistic is None or n <= k + 2:
        return result
    x = data.predictors / np.linalg.norm(data.predictors, axis=0)
    inverse = np.linalg.pinv(x.T @ x)
    step = np.diff(x, axis=0)
    ax = np.vstack([-step[:1], step[:-1] - step[1:], step[-1:]])  # A x, where e' A e is the sum of squared steps
    lost = inverse @ (x.T @ ax)
    p = 2.0 * (n - 1) - float(np.trace(lost))
    q = 6.0 * n - 8.0 - 2.0 * float(np.trace(inverse @ (ax.T @ ax))) + float(np.trace(lost @ lost))
    mean = p / (n - k)
    variance = 2.0 * (q - p * mean) / ((n - k) * (n - k + 2))
    z = (result.statistic - mean) / variance**0.5
    return result.model_copy(update={"p_value": float(2 * stats.norm.sf(abs(z)))})


def _smallest(name: str, results: list[TestResult]) -> TestResult:
    tested = [one for one in results if one.p_value is not None]
    if not tested:
        return results[0] if results else no_result(name, 0, "too few samples with energy")
    least = min(tested, key=lambda one: one.p_value or 0.0)
    if len(tested) == 1:
        return least
    adjusted = min(1.0, (least.p_value or 0.0) * len(tested))
    return least.model_copy(
        update={"p_value": adjusted, "reason": f"the least of {len(tested)} runs, adjusted for them"}
    )


def _lag_one(residuals: Floats) -> float:
    variance = float(residuals @ residuals)
    # Residuals of a mean are a little negatively correlated: by 1 / n without correlation (Kendall 1954).
    return float(residuals[1:] @ residuals[:-1]) / variance + 1.0 / len(residuals) if variance > 0 else float("nan")


def _autocorrelation(runs: list[Floats], level: float) -> Interval:
    from scipy import special

    known = [(r, len(own)) for own in runs if len(own) > 2 and np.isfinite(r := _lag_one(own))]
    if not known:
        return _no_interval("autocorrelation", level, "too few residuals that vary")
    r = float(np.clip(np.mean([one for one, _ in known]), -0.99, 0.99))
    # Of one run, as the same tasks make runs alike; on Fisher's scale, where r is about normal.
    half = float(special.ndtri((1 + level) / 2)) / np.sqrt(max(min(n for _, n in known) - 3, 1))
    low, high = np.tanh(np.arctanh(r) - half), np.tanh(np.arctanh(r) + half)
    return Interval(measure="autocorrelation", label="", estimate=r, low=float(low), high=float(high), level=level)


def _drift(runs: list[tuple[DesignMatrix, Floats]], level: float) -> Interval:
    from scipy import special

    slopes, errors = [], []
    for data, residuals in runs:
        n, k = data.predictors.shape
        place = np.linspace(-0.5, 0.5, n)
        design = np.column_stack([data.predictors, place])
        if n <= k + 3 or np.linalg.matrix_rank(design) < k + 1 or not residuals.any():
            continue
        beta = np.linalg.lstsq(design, data.outcome, rcond=None)[0]
        rest = data.outcome - design @ beta
        r = float(np.clip(_lag_one(rest), 0.0, 0.95)) if rest.any() else 0.0
        variance = float(rest @ rest) / (n - k - 1) * np.linalg.inv(design.T @ design)[-1, -1] * (1 + r) / (1 - r)
        slopes.append(float(beta[-1]))
        errors.append(np.sqrt(variance))
    if not slopes:
        return _no_interval("drift", level, "too few residuals that vary")
    slope, half = float(np.mean(slopes)), float(special.ndtri((1 + level) / 2) * np.max(errors))
    low, high = np.expm1(slope - half), np.expm1(slope + half)
    return Interval(
        measure="drift", label="", estimate=finite(np.expm1(slope)), low=finite(low), high=finite(high), level=level
    )


def _no_interval(measure: str, level: float, reason: str) -> Interval:
    return Interval(measure=measure, label="", estimate=None, low=None, high=None, level=level, reason=reason)
