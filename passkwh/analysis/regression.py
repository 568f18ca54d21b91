"""What drives a task's energy: the thesis's regression (tables 5.5-5.13), and the ones its assumptions call for.

The outcome is log energy (joules) of a sample's generation; the predictors are its solution tokens, the log energy of
the sample before it in the same run, and a dummy for each domain its task touches. The thesis fits without intercept
and leaves General out "because every task belongs to it"; without an intercept R-squared is uncentred and close to 1
whatever the model explains, so the fit with intercept and centred R-squared stands beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field
from scipy import stats

from passkwh.analysis.domains import REGRESSION_DOMAINS
from passkwh.analysis.linear import LeastSquares, cochrane_orcutt, hc3, homoscedastic, least_squares, newey_west
from passkwh.analysis.results import finite
from passkwh.records import Record

OMNIBUS_MIN_N = 8
"""The omnibus test's approximation of the skewness needs so many residuals."""

Method = Literal["thesis", "with intercept", "Newey-West", "GLSAR"]


class Coefficient(Record):
    """One row of a regression table; z and p use the normal distribution, as the thesis does."""

    name: str
    estimate: float
    std_error: float | None
    z: float | None
    p_value: float | None
    low: Annotated[float | None, Field(description="95 % interval")]
    high: float | None


class RegressionResult(Record):
    """A fitted regression with the statistics of the thesis's tables."""

    method: Method
    errors: Annotated[str, Field(description="how standard errors are computed")]
    n: int
    coefficients: tuple[Coefficient, ...] = ()
    centred: Annotated[bool, Field(description="R-squared is about the mean (with intercept), not about zero")] = False
    r_squared: float | None = None
    adj_r_squared: float | None = None
    f_statistic: float | None = None
    f_p_value: float | None = None
    log_likelihood: float | None = None
    aic: float | None = None
    bic: float | None = None
    durbin_watson: float | None = None
    omnibus: float | None = None
    omnibus_p_value: float | None = None
    jarque_bera: float | None = None
    jarque_bera_p_value: float | None = None
    skew: float | None = None
    kurtosis: float | None = None
    condition_number: float | None = None
    rho: Annotated[float | None, Field(description="GLSAR's estimate of the residuals' autocorrelation")] = None
    dropped: Annotated[tuple[str, ...], Field(description="predictors that do not vary or repeat others")] = ()
    reason: str | None = None


@dataclass(frozen=True)
class Design:
    """Outcome and predictors of one configuration, runs one after the other, each in the order of time."""

    outcome: NDArray[np.float64]
    predictors: NDArray[np.float64]
    names: tuple[str, ...]
    dropped: tuple[str, ...]
    series: NDArray[np.int64]
    """The run of each row."""


def design(samples: pd.DataFrame, *, lag: bool, intercept: bool) -> Design:
    """Log energy and its predictors.

    ``samples`` needs run, order, generation_gross_j, completion_tokens and a 0/1 column for each domain it has. The
    lag stays within a run; samples without an energy, or without one before them, are left out. Predictors that are
    zero everywhere or a combination of those before them are dropped.
    """
    ordered = samples.sort_values(["run", "order"], kind="stable")
    energy = ordered["generation_gross_j"].to_numpy(dtype=np.float64)
    series = ordered["run"].to_numpy(dtype=np.int64)
    outcome = np.log(np.where(energy > 0, energy, np.nan))
    columns = {"intercept": np.ones(len(outcome))} if intercept else {}
    columns["solution tokens"] = ordered["completion_tokens"].to_numpy(dtype=np.float64)
    if lag:
        before = np.full(len(outcome), np.nan)
        before[1:] = np.where(series[1:] == series[:-1], outcome[:-1], np.nan)
        columns["log_energy_lag1"] = before
    columns |= {d: ordered[d].to_numpy(dtype=np.float64) for d in REGRESSION_DOMAINS if d in ordered}
    predictors = np.column_stack(list(columns.values()))
    complete = np.isfinite(outcome) & np.isfinite(predictors).all(axis=1)
    kept = _independent(predictors[complete])
    names = list(columns)
    return Design(
        outcome[complete],
        predictors[complete][:, kept],
        tuple(names[i] for i in kept),
        tuple(name for i, name in enumerate(names) if i not in kept),
        series[complete],
    )


def fit(samples: pd.DataFrame, method: Method = "thesis") -> RegressionResult:
    """Fit one configuration's samples.

    thesis: lag, no intercept, HC3 errors. with intercept: the same about the mean. Newey-West: intercept, no lag,
    errors that allow for autocorrelation (Bartlett kernel, 4 (n / 100)^(2/9) lags). GLSAR: intercept, no lag, errors
    modelled as AR(1) by Cochrane and Orcutt's iteration.
    """
    data = design(samples, lag=method in ("thesis", "with intercept"), intercept=method != "thesis")
    n, k = data.predictors.shape
    errors = {"Newey-West": f"Newey-West, {newey_west_lags(n)} lags", "GLSAR": "AR(1), homoscedastic"}
    label = errors.get(method, "HC3, robust to unequal variance")
    if n <= k + 1 or k == 0:
        why = f"{n} samples with energy are too few for {k} predictors"
        return RegressionResult(method=method, errors=label, n=n, dropped=data.dropped, reason=why)
    rho = None
    if method == "GLSAR":
        whitened = cochrane_orcutt(data.outcome, data.predictors, data.series)
        if whitened is None:
            why = f"{n} samples with energy are too few, or vary too little, to model autocorrelation"
            return RegressionResult(method=method, errors=label, n=n, dropped=data.dropped, reason=why)
        fitted, rho = whitened
        covariance = homoscedastic(fitted)
    else:
        fitted = least_squares(data.outcome, data.predictors)
        lags = newey_west_lags(n)
        covariance = newey_west(fitted, lags, data.series) if method == "Newey-West" else hc3(fitted)
    return _result(method, label, data, fitted, covariance, rho)


def newey_west_lags(n: int) -> int:
    """Newey and West's rule of thumb: the whole part of 4 (n / 100)^(2/9)."""
    return int(4.0 * (n / 100.0) ** (2.0 / 9.0))


def residuals_without_lag(samples: pd.DataFrame) -> NDArray[np.float64]:
    """Residuals, in the order of time, of the thesis's regression before its lag: what tables 5.2 and 5.4 test.

    The thesis says only "the residuals of the energy consumption data"; the lag was added because of that test.
    Empty where there are too few samples.
    """
    data = design(samples, lag=False, intercept=False)
    if len(data.outcome) <= data.predictors.shape[1] or not data.names:
        return np.empty(0)
    return least_squares(data.outcome, data.predictors).residuals


def _independent(predictors: NDArray[np.float64]) -> list[int]:
    """Columns that are neither zero nor a combination of those before them."""
    kept: list[int] = []
    basis = np.empty((len(predictors), 0))
    for i, column in enumerate(predictors.T):
        rest = column - basis @ (basis.T @ column)
        rest -= basis @ (basis.T @ rest)
        norm = float(np.linalg.norm(rest))
        if norm > 1e-10 * max(float(np.linalg.norm(column)), 1e-300):
            kept.append(i)
            basis = np.column_stack([basis, rest / norm])
    return kept


def _result(
    method: Method, errors: str, data: Design, fitted: LeastSquares, covariance: NDArray[np.float64], rho: float | None
) -> RegressionResult:
    n, k = fitted.x.shape
    residuals, beta = fitted.residuals, fitted.coefficients
    exact = bool(np.abs(residuals).max() <= 1e-12 * max(float(np.abs(fitted.y).max()), 1e-300))
    # Rounding can take a variance of nothing below zero.
    se = np.zeros(k) if exact else np.sqrt(np.maximum(np.diag(covariance), 0.0))
    centred = "intercept" in data.names
    tss = float(((fitted.y - fitted.y.mean()) ** 2).sum()) if centred else float((fitted.y**2).sum())
    base = RegressionResult(
        method=method, errors=errors, n=n, centred=centred, rho=rho, dropped=data.dropped,
        coefficients=tuple(
            _coefficient(name, float(b), float(s)) for name, b, s in zip(data.names, beta, se, strict=True)
        ),
        condition_number=finite(np.sqrt(np.linalg.cond(fitted.x.T @ fitted.x))),
    )  # fmt: skip
    if exact or tss == 0:
        return base.model_copy(update={"reason": "the predictors fit exactly; residual statistics do not exist"})
    r_squared = 1.0 - fitted.rss / tss
    log_likelihood = -0.5 * n * (np.log(2 * np.pi * fitted.rss / n) + 1.0)
    f, tested = _wald(data.names, beta, covariance)
    skew, kurtosis = float(stats.skew(residuals)), float(stats.kurtosis(residuals, fisher=False))
    jarque_bera = n / 6.0 * (skew**2 + (kurtosis - 3.0) ** 2 / 4.0)
    omnibus = stats.normaltest(residuals) if n >= OMNIBUS_MIN_N else None
    return base.model_copy(
        update={
            "r_squared": r_squared,
            "adj_r_squared": 1.0 - (n - centred) / (n - k) * (1.0 - r_squared),
            "f_statistic": f,
            "f_p_value": None if f is None else finite(stats.f.sf(f, tested, n - k)),
            "log_likelihood": float(log_likelihood),
            "aic": float(2 * k - 2 * log_likelihood),
            "bic": float(np.log(n) * k - 2 * log_likelihood),
            "durbin_watson": float((np.diff(residuals) ** 2).sum() / fitted.rss),
            "omnibus": finite(omnibus.statistic) if omnibus else None,
            "omnibus_p_value": finite(omnibus.pvalue) if omnibus else None,
            "jarque_bera": jarque_bera,
            "jarque_bera_p_value": float(stats.chi2.sf(jarque_bera, 2)),
            "skew": skew,
            "kurtosis": kurtosis,
        }
    )


def _wald(
    names: tuple[str, ...], beta: NDArray[np.float64], covariance: NDArray[np.float64]
) -> tuple[float | None, int]:
    """F that all coefficients but the intercept's are zero, and their number; None where the errors do not allow it.

    The intercept tests nothing, so F leaves it out; with a robust covariance it is a Wald test.
    """
    tested = [i for i, name in enumerate(names) if name != "intercept"]
    if not tested:
        return None, 0
    block = covariance[np.ix_(tested, tested)]
    scale = np.sqrt(np.diag(block))
    if not (scale > 0).all() or np.linalg.matrix_rank(block / np.outer(scale, scale)) < len(tested):
        return None, len(tested)
    return finite(float(beta[tested] @ np.linalg.solve(block, beta[tested])) / len(tested)), len(tested)


def _coefficient(name: str, estimate: float, se: float) -> Coefficient:
    half = float(stats.norm.ppf(0.975)) * se
    z = estimate / se if se > 0 else None
    return Coefficient(
        name=name, estimate=estimate, std_error=finite(se), z=z,
        p_value=None if z is None else float(2 * stats.norm.sf(abs(z))),
        low=finite(estimate - half), high=finite(estimate + half),
    )  # fmt: skip
