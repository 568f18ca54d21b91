"""How energy grows with a model's size and with its accuracy: fits with intervals, over few configurations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from passkwh.records import Record

Floats = NDArray[np.float64]


class Fit(Record):
    """A coefficient of a straight line, with its interval by Student's t."""

    estimate: float
    low: float
    high: float
    r_squared: float
    n: int


class TradeoffShape(Record):
    """Energy against accuracy: exponential (log energy is linear in accuracy) or linear."""

    exponential: Annotated[Fit, Field(description="slope of ln kWh by pass@1")]
    linear: Annotated[Fit, Field(description="slope of kWh by pass@1")]
    aic_difference: Annotated[
        float, Field(description="AIC of linear less that of exponential, both of kWh: above 2 speaks for exponential")
    ]


def line(x: Sequence[float], y: Sequence[float], level: float = 0.95) -> Fit | None:
    """The slope of ``y`` by ``x``; None of fewer than three points, or where ``x`` does not vary."""
    from scipy import stats

    if len(x) < 3 or len(set(x)) < 2:
        return None
    result = stats.linregress(x, y)
    half = float(stats.t.ppf((1 + level) / 2, len(x) - 2)) * float(result.stderr)
    slope = float(result.slope)
    return Fit(estimate=slope, low=slope - half, high=slope + half, r_squared=float(result.rvalue) ** 2, n=len(x))


def size_exponent(parameters: Sequence[float], energy: Sequence[float], level: float = 0.95) -> Fit | None:
    """e in energy ~ size^e: 1 is linear. Slope of log energy by log size."""
    return line(np.log(parameters).tolist(), np.log(energy).tolist(), level)


def tradeoff_shape(accuracy: Sequence[float], energy: Sequence[float], level: float = 0.95) -> TradeoffShape | None:
    """Whether energy grows exponentially with accuracy or linearly; None of fewer than four points."""
    exponential = line(accuracy, np.log(energy).tolist(), level)
    linear = line(accuracy, energy, level)
    if exponential is None or linear is None or len(energy) < 4:
        return None
    y, x = np.asarray(energy), np.asarray(accuracy)
    # On one scale: a normal density of ln kWh is one of kWh after division by kWh.
    jacobian = 2 * float(np.log(y).sum())
    difference = _minus_two_log_likelihood(x, y) - (_minus_two_log_likelihood(x, np.log(y)) + jacobian)
    return TradeoffShape(exponential=exponential, linear=linear, aic_difference=difference)


def _minus_two_log_likelihood(x: Floats, y: Floats) -> float:
    design = np.column_stack([np.ones(len(x)), x])
    residuals = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    variance = max(float((residuals**2).mean()), 1e-300)
    return float(len(y) * (np.log(2 * np.pi * variance) + 1))


def interaction(
    parameters: Sequence[float], groups: Sequence[str], ratios: Sequence[float], level: float = 0.95
) -> Fit | None:
    """Whether a technique's energy ratio changes with size: one slope of ln ratio by ln size, an intercept a group.

    Below 0, larger models save relatively more. None where fewer than two rows are left beside the coefficients.
    """
    from scipy import stats

    names = list(dict.fromkeys(groups))
    x, y = np.log(np.asarray(parameters, dtype=np.float64)), np.log(np.asarray(ratios, dtype=np.float64))
    design = np.column_stack([x, *[[float(g == name) for g in groups] for name in names]])
    freedom = len(y) - design.shape[1]
    if freedom < 2 or np.linalg.matrix_rank(design) < design.shape[1]:
        return None
    solution = np.linalg.lstsq(design, y, rcond=None)[0]
    residuals = y - design @ solution
    variance = float((residuals**2).sum()) / freedom
    error = float(np.sqrt(variance * np.linalg.inv(design.T @ design)[0, 0]))
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * error
    within = y - np.array([y[[g == own for g in groups]].mean() for own in groups])
    explained = 1 - float((residuals**2).sum()) / max(float((within**2).sum()), 1e-300)
    slope = float(solution[0])
    return Fit(estimate=slope, low=slope - half, high=slope + half, r_squared=explained, n=len(y))
