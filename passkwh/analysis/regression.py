"""What drives a task's energy: the thesis's regression (tables 5.5-5.13), and the ones its assumptions call for.

The outcome is log energy of a sample's generation; the predictors are its solution tokens, the log energy of the sample
before it in the same run, and a dummy for each domain its task touches. The thesis fits ln(1 + Wh) without intercept
and leaves General out "because every task belongs to it". Without an intercept R-squared is uncentred and close to 1
whatever the model explains; coefficients depend on the unit of energy, because ln(J) and ln(Wh) differ by a constant
that only an intercept takes up (:func:`unit_dependence`); and a dummy that nearly every task has (System, in 93 % of
them by the thesis's map) stands in for the intercept. So the fit with intercept and centred R-squared, of ln(J), stands
beside it.

Rows that belong together (samples and repeats of a task, members of a batch) are no independent evidence: where there
are such, errors are clustered by them, with the small-sample factor G / (G - 1) x (n - 1) / (n - k) and Student's t
with G - 1 degrees of freedom (Cameron and Miller 2015).

Models, covariances and statistics are statsmodels': OLS with HC3, clustered or Newey-West errors, and GLSAR. Ours are
how the normal equations are solved (``_solve`` says why); which pairs of rows GLSAR takes for neighbours, because
autocorrelation does not reach from one run into the next; and HC3 where one row alone determines a coefficient, where
statsmodels divides by zero.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from passkwh.analysis.domains import REGRESSION_DOMAINS
from passkwh.analysis.regression_design import DesignMatrix, Outcome, design_matrix
from passkwh.analysis.regression_errors import clustered_errors, hc3_errors, newey_west_errors, newey_west_lags
from passkwh.analysis.results import finite
from passkwh.records import Record

OMNIBUS_MIN_N = 8
"""The omnibus test's approximation of the skewness needs so many residuals."""

Floats = NDArray[np.float64]
Method = Literal["thesis", "thesis, by library", "with intercept", "Newey-West", "GLSAR"]
_AS_PRINTED: tuple[Method, ...] = ("thesis", "thesis, by library")


class Coefficient(Record):
    """One row of a regression table.

    z and p use the normal distribution, as the thesis does, and Student's t where errors are clustered.
    """

    name: str
    estimate: float
    std_error: float | None
    z: float | None
    p_value: float | None
    low: Annotated[float | None, Field(description="interval at the level that was asked for")]
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


def fit_regression(
    samples: pd.DataFrame, method: Method = "thesis", energy: str = "gross", level: float = 0.95
) -> RegressionResult:
    """Fit one configuration's samples.

    thesis: ln(1 + Wh), lag, no intercept, HC3 errors, domains by text as table 5.1. thesis, by library: the same with
    BigCodeBench's own domains. The others are of ln(J), by library. with intercept: lag and HC3. Newey-West: intercept,
    no lag, errors that allow for autocorrelation (Bartlett kernel, 4 (n / 100)^(2/9) lags). GLSAR: intercept, no lag,
    errors modelled as AR(1) by Cochrane and Orcutt's iteration.
    """
    printed = method in _AS_PRINTED
    data = design_matrix(
        samples, lag=printed or method == "with intercept", intercept=not printed, energy=energy,
        outcome="ln(1 + Wh)" if printed else "ln J", domains="text" if method == "thesis" else "libraries",
    )  # fmt: skip
    n, k = data.predictors.shape
    shared = " and clustered by what was measured together" if data.clustered else ""
    errors = {"Newey-West": f"Newey-West, {newey_west_lags(n)} lags{shared}",
              "GLSAR": f"AR(1){shared or ', homoscedastic'}"}  # fmt: skip
    label = errors.get(method, "clustered by task or batch" if data.clustered else "HC3, robust to unequal variance")
    if n <= k + 1 or k == 0:
        why = f"{n} samples with energy are too few for {k} predictors"
        return RegressionResult(method=method, errors=label, n=n, dropped=data.dropped, reason=why)
    if data.clustered and len(np.unique(data.cluster)) < 2:
        why = "all samples were measured together, so nothing is known of their errors"
        return RegressionResult(method=method, errors=label, n=n, dropped=data.dropped, reason=why)
    if method == "GLSAR":
        whitened = _glsar(data)
        if whitened is None:
            why = f"{n} samples with energy are too few, or vary too little, to model autocorrelation"
            return RegressionResult(method=method, errors=label, n=n, dropped=data.dropped, reason=why)
        fitted, rho = whitened
        followed = data.cluster[1:][data.series[1:] == data.series[:-1]]
        few = not data.clustered or len(np.unique(followed)) < 2
        covariance = fitted.cov_params() if few else clustered_errors(fitted, followed, fitted.cov_params())
        return _result(method, label, data, fitted, covariance, rho, level)
    fitted = least_squares(data)
    if method == "Newey-West":
        covariance = newey_west_errors(fitted, data)
        if data.clustered:  # neighbours in time, and what belongs together; rows of their own count once
            together = clustered_errors(fitted, data.cluster, hc3_errors(fitted))
            both = covariance + together - np.asarray(fitted.cov_HC0)
            # A difference of estimates may fall short of either, with few clusters below 0.
            covariance = both if (np.diag(both) >= np.diag(together)).all() else together
    else:
        covariance = (
            clustered_errors(fitted, data.cluster, hc3_errors(fitted)) if data.clustered else hc3_errors(fitted)
        )
    return _result(method, label, data, fitted, covariance, None, level)


UNITS: tuple[Outcome, ...] = ("ln(1 + Wh)", "ln J", "ln Wh", "ln kWh")


def unit_dependence(samples: pd.DataFrame, energy: str = "gross") -> dict[str, dict[str, float]]:
    """Each domain's coefficient in the thesis's fit without intercept, by unit of energy, and ``with intercept``.

    By domain; with an intercept all units of ln energy give the same, which is what one row shows. Empty where a fit
    has no domain.
    """
    found: dict[str, dict[str, float]] = {}
    for outcome, intercept in (*((unit, False) for unit in UNITS), ("ln J", True)):
        data = design_matrix(samples, lag=True, intercept=intercept, energy=energy, outcome=outcome, domains="text")
        if len(data.outcome) <= data.predictors.shape[1] + 1:
            return {}
        for name, value in zip(data.names, least_squares(data).params, strict=True):
            if name in REGRESSION_DOMAINS:
                found.setdefault(name, {})["with intercept" if intercept else outcome] = float(value)
    return found


def is_exact(fitted: Any) -> bool:
    """Whether the residuals are nothing but rounding."""
    return bool(np.abs(fitted.wresid).max() <= 1e-12 * max(float(np.abs(fitted.model.wendog).max()), 1e-300))


def least_squares(data: DesignMatrix) -> Any:
    """statsmodels' results of ordinary least squares."""
    from statsmodels.regression.linear_model import OLS

    return _solve(OLS(data.outcome, data.predictors, hasconst="intercept" in data.names))


def _solve(model: Any) -> Any:
    """statsmodels' results of a model, solved by the normal equations of columns scaled to length one, refined once.

    For thousands of rows and a handful of columns as exact as the model's own ``fit``, whose decomposition costs 2 to
    5 times as much, and 35 times as much where it shares the cores with others (25 ms instead of 0.7 for 5,700 rows).
    """
    from statsmodels.regression.linear_model import RegressionResults

    y, x = model.wendog, model.wexog
    length = np.linalg.norm(x, axis=0)
    scaled = x / length
    inverse = np.linalg.inv(scaled.T @ scaled)
    params = inverse @ (scaled.T @ y)
    params = params + inverse @ (scaled.T @ (y - scaled @ params))
    model.rank = x.shape[1]
    model.normalized_cov_params = inverse / np.outer(length, length)
    model.pinv_wexog = model.normalized_cov_params @ x.T
    return RegressionResults(model, params / length, model.normalized_cov_params)


def _glsar(data: DesignMatrix) -> tuple[Any, float] | None:
    """Fit with AR(1) errors: alternate between the coefficients and the residuals' autocorrelation until both hold.

    statsmodels' ``GLSAR.iterative_fit``, but within runs. Returns the fit on whitened rows, and rho; None where what is
    left without each run's first row does not determine the coefficients.
    """
    from statsmodels.regression.linear_model import GLSAR

    same_run = data.series[1:] == data.series[:-1]

    class WithinRuns(GLSAR):  # type: ignore[misc]
        def whiten(self, x: Floats) -> Floats:
            whitened: Floats = super().whiten(x)[same_run]
            return whitened

    if same_run.sum() <= data.predictors.shape[1]:
        return None
    model = WithinRuns(data.outcome, data.predictors, rho=1, hasconst="intercept" in data.names)
    residuals, rho = np.asarray(least_squares(data).resid), 0.0
    for _ in range(200):
        previous, rho = rho, _autocorrelation(residuals, same_run)
        model.rho = np.array([rho])
        model.initialize()
        length = np.linalg.norm(model.wexog, axis=0)
        if not (length > 0).all() or np.linalg.cond((model.wexog / length).T @ model.wexog) > 1e14:
            return None
        fitted = _solve(model)
        residuals = data.outcome - data.predictors @ fitted.params
        if abs(rho - previous) < 1e-13:
            break
    return fitted, rho


def _autocorrelation(residuals: Floats, same_run: NDArray[np.bool_]) -> float:
    """Yule-Walker of order one within runs, each moment over the number of its terms."""
    centred = residuals - residuals.mean()
    variance = float((centred**2).mean())
    if variance == 0:
        return 0.0
    return float((centred[1:] * centred[:-1])[same_run].mean() / variance)


def _result(
    method: Method, errors: str, data: DesignMatrix, fitted: Any, covariance: Floats, rho: float | None, level: float
) -> RegressionResult:
    from scipy import stats
    from statsmodels.stats import stattools

    residuals, n, k = fitted.wresid, int(fitted.nobs), len(data.names)
    outcome, exact = fitted.model.wendog, is_exact(fitted)
    # Rounding can take a variance of nothing below zero.
    errors_of = np.zeros(k) if exact else np.sqrt(np.maximum(np.diag(covariance), 0.0))
    centred = "intercept" in data.names
    df = len(np.unique(data.cluster)) - 1.0 if data.clustered else float("inf")
    base = RegressionResult(
        method=method, errors=errors, n=n, centred=centred, rho=rho, dropped=data.dropped,
        coefficients=tuple(
            _coefficient(name, float(b), float(s), level, df)
            for name, b, s in zip(data.names, fitted.params, errors_of, strict=True)
        ),
        condition_number=finite(fitted.condition_number),
    )  # fmt: skip
    if exact or (np.ptp(outcome) if centred else np.abs(outcome).max()) == 0:
        return base.model_copy(update={"reason": "the predictors fit exactly; residual statistics do not exist"})
    f, tested = _wald(data.names, fitted.params, covariance)
    jarque_bera, jarque_bera_p, skew, kurtosis = stattools.jarque_bera(residuals)
    omnibus = stattools.omni_normtest(residuals) if n >= OMNIBUS_MIN_N else (None, None)
    return base.model_copy(
        update={
            "r_squared": float(fitted.rsquared),
            "adj_r_squared": float(fitted.rsquared_adj),
            "f_statistic": f,
            "f_p_value": None if f is None else finite(stats.f.sf(f, tested, n - k)),
            "log_likelihood": float(fitted.llf),
            "aic": float(fitted.aic),
            "bic": float(fitted.bic),
            "durbin_watson": float(stattools.durbin_watson(residuals)),
            "omnibus": finite(omnibus[0]),
            "omnibus_p_value": finite(omnibus[1]),
            "jarque_bera": float(jarque_bera),
            "jarque_bera_p_value": float(jarque_bera_p),
            "skew": float(skew),
            "kurtosis": float(kurtosis),
        }
    )


def _wald(names: tuple[str, ...], estimates: Floats, covariance: Floats) -> tuple[float | None, int]:
    """F that all coefficients but the intercept's are zero, and their number; None where the errors do not allow it.

    The intercept tests nothing, so F leaves it out; with a robust covariance it is a Wald test.
    """
    tested = [i for i, name in enumerate(names) if name != "intercept"]
    if not tested:
        return None, 0
    block = covariance[np.ix_(tested, tested)]
    scale = np.sqrt(np.maximum(np.diag(block), 0.0))
    if not (scale > 0).all() or np.linalg.matrix_rank(block / np.outer(scale, scale)) < len(tested):
        return None, len(tested)
    return finite(float(estimates[tested] @ np.linalg.solve(block, estimates[tested])) / len(tested)), len(tested)


def _coefficient(name: str, estimate: float, std_error: float, level: float, df: float) -> Coefficient:
    # What scipy's distributions of the normal and of t call: making one of them takes longer than a fit.
    from scipy import special

    normal, df = df == float("inf"), max(df, 1.0)
    half = float(special.ndtri((1 + level) / 2) if normal else special.stdtrit(df, (1 + level) / 2)) * std_error
    z = estimate / std_error if std_error > 0 else None
    return Coefficient(
        name=name, estimate=estimate, std_error=finite(std_error), z=z,
        p_value=None if z is None else 2 * float(special.ndtr(-abs(z)) if normal else special.stdtr(df, -abs(z))),
        low=finite(estimate - half), high=finite(estimate + half),
    )  # fmt: skip
