"""What drives a task's energy: the thesis's regression (tables 5.5-5.13), and the ones its assumptions call for.

The outcome is log energy (joules) of a sample's generation; the predictors are its solution tokens, the log energy of
the sample before it in the same run, and a dummy for each domain its task touches. The thesis fits without intercept
and leaves General out "because every task belongs to it"; without an intercept R-squared is uncentred and close to 1
whatever the model explains, so the fit with intercept and centred R-squared stands beside it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field
from scipy import stats
from statsmodels.regression.linear_model import GLSAR, OLS
from statsmodels.stats.stattools import durbin_watson, jarque_bera, omni_normtest

from passkwh.analysis.domains import REGRESSION_DOMAINS
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


def design(samples: pd.DataFrame, *, lag: bool, intercept: bool) -> tuple[pd.Series[float], pd.DataFrame]:
    """Outcome and predictors of one configuration, in the order of time.

    ``samples`` needs run, order, generation_gross_j, completion_tokens and a 0/1 column for each domain it has.
    The lag stays within a run; samples without an energy, or without one before them, are left out.
    """
    ordered = samples.sort_values(["run", "order"], kind="stable")
    energy = ordered["generation_gross_j"].astype(float)
    outcome = pd.Series(np.log(energy.where(energy > 0).to_numpy()), index=ordered.index)
    predictors = pd.DataFrame({"solution tokens": ordered["completion_tokens"].astype(float)}, index=ordered.index)
    if lag:
        predictors["log_energy_lag1"] = outcome.groupby(ordered["run"]).shift(1)
    for domain in REGRESSION_DOMAINS:
        if domain in ordered:
            predictors[domain] = ordered[domain].astype(float)
    if intercept:
        predictors.insert(0, "intercept", 1.0)
    complete = outcome.notna() & predictors.notna().all(axis=1)
    return outcome[complete].rename("log energy"), predictors[complete]


def fit(samples: pd.DataFrame, method: Method = "thesis") -> RegressionResult:
    """Fit one configuration's samples.

    thesis: lag, no intercept, HC3 errors. with intercept: the same about the mean. Newey-West: intercept, no lag,
    errors that allow for autocorrelation (Bartlett kernel, 4 (n / 100)^(2/9) lags). GLSAR: intercept, no lag, errors
    modelled as AR(1) by Cochrane and Orcutt's iteration.
    """
    outcome, predictors = design(samples, lag=method in ("thesis", "with intercept"), intercept=method != "thesis")
    predictors, dropped = _independent(predictors)
    n, k = predictors.shape
    errors = {"Newey-West": f"Newey-West, {newey_west_lags(n)} lags", "GLSAR": "AR(1), homoscedastic"}
    label = errors.get(method, "HC3, robust to unequal variance")
    if n <= k + 1 or k == 0:
        why = f"{n} samples with energy are too few for {k} predictors"
        return RegressionResult(method=method, errors=label, n=n, dropped=dropped, reason=why)
    y, x = outcome.to_numpy(), predictors.to_numpy()
    if method == "GLSAR":
        model = GLSAR(y, x, rho=1)
        fitted = model.iterative_fit(maxiter=50)
        rho = float(np.atleast_1d(model.rho)[0])
    elif method == "Newey-West":
        fitted, rho = OLS(y, x).fit(cov_type="HAC", cov_kwds={"maxlags": newey_west_lags(n)}), None
    else:
        fitted, rho = OLS(y, x).fit(cov_type="HC3"), None
    return _result(method, label, list(predictors.columns), fitted, rho, dropped)


def newey_west_lags(n: int) -> int:
    """Newey and West's rule of thumb: the whole part of 4 (n / 100)^(2/9)."""
    return int(4.0 * (n / 100.0) ** (2.0 / 9.0))


def residuals_without_lag(samples: pd.DataFrame) -> NDArray[np.float64]:
    """Residuals, in the order of time, of the thesis's regression before its lag: what tables 5.2 and 5.4 test.

    The thesis says only "the residuals of the energy consumption data"; the lag was added because of that test.
    Empty where there are too few samples.
    """
    outcome, predictors = design(samples, lag=False, intercept=False)
    predictors, _ = _independent(predictors)
    if len(outcome) <= predictors.shape[1] or predictors.shape[1] == 0:
        return np.empty(0)
    x, y = predictors.to_numpy(), outcome.to_numpy()
    return np.asarray(y - x @ np.linalg.lstsq(x, y, rcond=None)[0], dtype=np.float64)


def _independent(predictors: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Predictors without those that are zero everywhere or a combination of those before them."""
    kept: list[str] = []
    basis = np.empty((len(predictors), 0))
    for name in predictors.columns:
        column = predictors[name].to_numpy(dtype=np.float64)
        rest = column - basis @ (basis.T @ column)
        rest -= basis @ (basis.T @ rest)
        norm = float(np.linalg.norm(rest))
        if norm > 1e-10 * max(float(np.linalg.norm(column)), 1e-300):
            kept.append(name)
            basis = np.column_stack([basis, rest / norm])
    return predictors[kept], tuple(c for c in predictors.columns if c not in kept)


def _result(
    method: Method, errors: str, names: list[str], fitted: Any, rho: float | None, dropped: tuple[str, ...]
) -> RegressionResult:
    residuals = np.asarray(fitted.wresid)
    scale = float(np.abs(np.asarray(fitted.model.wendog)).max())
    exact = bool(np.abs(residuals).max() <= 1e-12 * max(scale, 1e-300))
    omnibus = omni_normtest(residuals) if len(residuals) >= OMNIBUS_MIN_N and not exact else (None, None)
    moments = jarque_bera(residuals) if not exact else (None, None, None, None)
    # The intercept tests nothing, so F leaves it out; the covariance is the method's own, hence a Wald test.
    tested = np.eye(len(names))[[i for i, name in enumerate(names) if name != "intercept"]]
    wald = fitted.f_test(tested) if len(tested) and not exact else None
    z = np.asarray(fitted.params) / np.asarray(fitted.bse) if not exact else np.full(len(names), np.nan)
    half = float(stats.norm.ppf(0.975)) * np.asarray(fitted.bse)
    coefficients = tuple(
        Coefficient(
            name=name,
            estimate=float(fitted.params[i]),
            std_error=finite(fitted.bse[i]),
            z=finite(z[i]),
            p_value=finite(2 * stats.norm.sf(abs(z[i]))),
            low=finite(fitted.params[i] - half[i]),
            high=finite(fitted.params[i] + half[i]),
        )
        for i, name in enumerate(names)
    )
    return RegressionResult(
        method=method,
        errors=errors,
        n=int(fitted.nobs),
        coefficients=coefficients,
        centred="intercept" in names,
        r_squared=finite(fitted.rsquared),
        adj_r_squared=finite(fitted.rsquared_adj),
        f_statistic=finite(float(np.squeeze(wald.fvalue))) if wald else None,
        f_p_value=finite(float(np.squeeze(wald.pvalue))) if wald else None,
        log_likelihood=finite(fitted.llf),
        aic=finite(fitted.aic),
        bic=finite(fitted.bic),
        durbin_watson=finite(durbin_watson(residuals)) if not exact else None,
        omnibus=finite(omnibus[0]),
        omnibus_p_value=finite(omnibus[1]),
        jarque_bera=finite(moments[0]),
        jarque_bera_p_value=finite(moments[1]),
        skew=finite(moments[2]),
        kurtosis=finite(moments[3]),
        condition_number=finite(fitted.condition_number),
        rho=rho,
        dropped=dropped,
        reason="the predictors fit exactly; residual statistics do not exist" if exact else None,
    )
