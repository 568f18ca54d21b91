"""Covariances of coefficients: under unequal variances, autocorrelation, and where rows belong together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from passkwh.analysis.regression_design import DesignMatrix
from passkwh.analysis.units_of_measurement import numbered

Floats = NDArray[np.float64]

FEW_CLUSTERS = 10


def clustered_errors(fitted: Any, cluster: NDArray[np.int64], apart: Floats) -> Floats:
    """Covariance that holds where rows of a cluster vary together, with the small-sample factor.

    ``apart`` is the covariance of rows that do not, which few clusters do not undercut.
    """
    from statsmodels.stats.sandwich_covariance import cov_cluster

    of, count = numbered(cluster)
    covariance = np.asarray(cov_cluster(fitted, of, use_correction=True))
    if count >= FEW_CLUSTERS:
        return covariance
    # The sums of few clusters all but vanish: their errors must not be below those of independent rows.
    own = np.diag(covariance)
    factor = np.sqrt(np.maximum(np.divide(np.diag(apart), own, out=np.ones_like(own), where=own > 0), 1.0))
    return np.asarray(covariance * np.outer(factor, factor))


def newey_west_lags(n: int) -> int:
    """Newey and West's rule of thumb: the whole part of 4 (n / 100)^(2/9)."""
    return int(4.0 * (n / 100.0) ** (2.0 / 9.0))


def hc3_errors(fitted: Any) -> Floats:
    """Covariance that holds under unequal variances: residuals over 1 - leverage (MacKinnon and White 1985)."""
    x = fitted.model.exog
    leverage = ((x @ fitted.normalized_cov_params) * x).sum(axis=1)
    alone = leverage > 1.0 - 1e-12
    if not alone.any():
        return np.asarray(fitted.cov_HC3)
    # A row that alone determines a coefficient has leverage 1 and residual 0: it says nothing about the variance.
    scores = x[~alone] * (fitted.resid[~alone] / (1.0 - leverage[~alone]))[:, None]
    return np.asarray(fitted.normalized_cov_params @ (scores.T @ scores) @ fitted.normalized_cov_params)


def newey_west_errors(fitted: Any, data: DesignMatrix) -> Floats:
    """Covariance that holds under autocorrelation within runs, with Bartlett's weights (Newey and West 1987)."""
    from statsmodels.stats.sandwich_covariance import cov_nw_panel

    starts = np.flatnonzero(np.diff(data.series, prepend=data.series[0] - 1))
    ends = np.append(starts[1:], len(data.series))
    lags = newey_west_lags(len(data.outcome))
    # statsmodels refuses lags that are longer than every run; the weights stay those of all lags.
    reached = min(lags, int((ends - starts).max()) - 1)
    if reached == 0:
        return np.asarray(fitted.cov_HC0)
    return np.asarray(
        cov_nw_panel(
            fitted, reached, list(zip(starts, ends, strict=True)), use_correction=False,
            weights_func=lambda count: 1.0 - np.arange(count + 1) / (lags + 1.0),
        )
    )  # fmt: skip
