"""Least squares with the covariances that regressions on a run need: small, and without a row-by-row loop.

``series`` numbers the run each row belongs to; rows of a run stand together in the order of time, and neither
autocorrelation nor its correction reaches from one run into the next.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LeastSquares:
    """Ordinary least squares of y (n,) on x (n, k) of full rank."""

    y: Floats
    x: Floats
    coefficients: Floats
    residuals: Floats
    inverse: Floats
    """(x'x)^-1, shape (k, k)."""
    leverage: Floats

    @property
    def rss(self) -> float:
        """Residual sum of squares."""
        return float(self.residuals @ self.residuals)


def least_squares(y: Floats, x: Floats) -> LeastSquares:
    """Solve the normal equations of columns scaled to length one, with a step of refinement.

    For thousands of rows and a handful of columns this is many times quicker than QR and, refined, as exact.
    """
    length = np.linalg.norm(x, axis=0)
    scaled = x / length
    inverse = np.linalg.inv(scaled.T @ scaled)
    coefficients = inverse @ (scaled.T @ y)
    coefficients = coefficients + inverse @ (scaled.T @ (y - scaled @ coefficients))
    leverage = ((scaled @ inverse) * scaled).sum(axis=1)
    return LeastSquares(
        y, x, coefficients / length, y - scaled @ coefficients, inverse / np.outer(length, length), leverage
    )


def hc3(fit: LeastSquares) -> Floats:
    """Covariance that holds under unequal variances: residuals over 1 - leverage (MacKinnon and White 1985)."""
    # A row that alone determines a coefficient has leverage 1 and residual 0: it says nothing about the variance.
    alone = fit.leverage > 1.0 - 1e-12
    scores = fit.x * np.where(alone, 0.0, fit.residuals / np.where(alone, 1.0, 1.0 - fit.leverage))[:, None]
    return _sandwich(fit, scores.T @ scores)


def newey_west(fit: LeastSquares, lags: int, series: NDArray[np.int64]) -> Floats:
    """Covariance that holds under autocorrelation up to ``lags``, with Bartlett's weights (Newey and West 1987)."""
    scores = fit.x * fit.residuals[:, None]
    meat = scores.T @ scores
    for lag in range(1, lags + 1):
        same = (series[lag:] == series[:-lag]).astype(np.float64)[:, None]
        product = (scores[lag:] * same).T @ scores[:-lag]
        meat += (1.0 - lag / (lags + 1.0)) * (product + product.T)
    return _sandwich(fit, meat)


def homoscedastic(fit: LeastSquares) -> Floats:
    """The classical covariance: s^2 (x'x)^-1."""
    n, k = fit.x.shape
    covariance: Floats = fit.inverse * (fit.rss / (n - k))
    return covariance


def cochrane_orcutt(y: Floats, x: Floats, series: NDArray[np.int64]) -> tuple[LeastSquares, float] | None:
    """Fit with AR(1) errors: alternate between the coefficients and the residuals' autocorrelation until both hold.

    Each run's first row is lost, as in statsmodels' GLSAR. Returns the fit on whitened rows, and rho; None where what
    is left does not determine the coefficients.
    """
    same = series[1:] == series[:-1]
    rho, fit = 0.0, least_squares(y, x)
    for _ in range(200):
        previous = rho
        rho = _autocorrelation(y - x @ fit.coefficients, same)
        rows = (x[1:] - rho * x[:-1])[same]
        length = np.linalg.norm(rows, axis=0)
        if len(rows) <= x.shape[1] or not (length > 0).all() or np.linalg.cond((rows / length).T @ rows) > 1e14:
            return None
        fit = least_squares((y[1:] - rho * y[:-1])[same], rows)
        if abs(rho - previous) < 1e-13:
            break
    return fit, rho


def _autocorrelation(residuals: Floats, same: NDArray[np.bool_]) -> float:
    """Yule-Walker of order one, each moment over the number of its terms."""
    centred = residuals - residuals.mean()
    variance = float((centred**2).mean())
    if variance == 0:
        return 0.0
    return float((centred[1:] * centred[:-1])[same].sum() / same.sum() / variance)


def _sandwich(fit: LeastSquares, meat: Floats) -> Floats:
    covariance: Floats = fit.inverse @ meat @ fit.inverse
    return covariance
