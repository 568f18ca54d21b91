"""The statistics that libraries compute in the package, written out here from their definitions.

Independent of scipy's, statsmodels' and scikit-posthocs' own implementations: only distributions, ranks and linear
algebra are theirs. Tests compare the package with these.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]


def kruskal_h(groups: Sequence[Floats]) -> float:
    """Kruskal and Wallis 1952, with correction for ties."""
    n, ranks, tie_sum = _pooled_ranks(groups)
    sums = sum(float(r.sum()) ** 2 / len(r) for r in ranks)
    return (12.0 / (n * (n + 1.0)) * sums - 3.0 * (n + 1.0)) / (1.0 - tie_sum / (n**3 - n))


def dunn_p(groups: Sequence[Floats]) -> Floats:
    """Dunn 1964, two-sided, not adjusted; a matrix with 1 on its diagonal."""
    n, ranks, tie_sum = _pooled_ranks(groups)
    means, sizes = np.array([r.mean() for r in ranks]), np.array([float(len(r)) for r in ranks])
    spread = n * (n + 1.0) / 12.0 - tie_sum / (12.0 * (n - 1.0))
    z = np.abs(means[:, None] - means) / np.sqrt(spread * (1.0 / sizes[:, None] + 1.0 / sizes))
    return np.asarray(2.0 * stats.norm.sf(z))


def friedman_chi2(table: Floats) -> float:
    """Friedman 1937 with correction for ties; a row per task."""
    n, k = table.shape
    ranks = stats.rankdata(table, axis=1)
    centre = n * k * (k + 1.0) ** 2 / 4.0
    between = ((ranks.sum(axis=0) - n * (k + 1.0) / 2.0) ** 2).sum()
    return float((k - 1.0) * between / ((ranks**2).sum() - centre))


def conover_p(table: Floats) -> Floats:
    """Conover 1999, 5.8: t tests on rank sums after Friedman, not adjusted."""
    n, k = table.shape
    ranks = stats.rankdata(table, axis=1)
    sums = ranks.sum(axis=0)
    df = (n - 1) * (k - 1)
    unexplained = n * (ranks**2).sum() - (sums**2).sum()
    return np.asarray(2.0 * stats.t.sf(np.abs(sums[:, None] - sums) / np.sqrt(2.0 * unexplained / df), df))


def nemenyi_p(table: Floats) -> Floats:
    """Nemenyi 1963 by the studentized range of mean ranks."""
    n, k = table.shape
    means = stats.rankdata(table, axis=1).mean(axis=0)
    q = np.abs(means[:, None] - means) / np.sqrt(k * (k + 1.0) / (12.0 * n))
    return np.asarray(stats.studentized_range.sf(q, k, np.inf))


def brown_forsythe(groups: Sequence[Floats]) -> tuple[float, float]:
    """F of absolute deviations from each group's median, and its p-value."""
    deviations = [np.abs(g - np.median(g)) for g in groups]
    n, k = sum(map(len, groups)), len(groups)
    grand = np.concatenate(deviations).mean()
    between = sum(len(d) * (d.mean() - grand) ** 2 for d in deviations)
    within = sum(((d - d.mean()) ** 2).sum() for d in deviations)
    f = float(between / (k - 1) / (within / (n - k)))
    return f, float(stats.f.sf(f, k - 1, n - k))


def adjusted(p_values: Sequence[float], method: str) -> list[float]:
    """Bonferroni, Holm 1979 and Benjamini-Hochberg 1995, one p-value at a time."""
    m, p = len(p_values), sorted(p_values)
    steps = {
        "bonferroni": lambda i: m * p[i],
        "holm": lambda i: max((m - j) * p[j] for j in range(i + 1)),
        "bh": lambda i: min(m / (j + 1) * p[j] for j in range(i, m)),
    }[method]
    return [min(1.0, steps(p.index(value) if method != "bh" else m - 1 - p[::-1].index(value))) for value in p_values]


def ols(y: Floats, x: Floats) -> tuple[Floats, Floats, Floats]:
    """Coefficients, residuals and (x'x)^-1 by QR."""
    q, r = np.linalg.qr(x)
    inverse_r = np.linalg.inv(r)
    beta = inverse_r @ (q.T @ y)
    return beta, y - x @ beta, inverse_r @ inverse_r.T


def hc3(x: Floats, residuals: Floats, inverse: Floats) -> Floats:
    """MacKinnon and White 1985, one row at a time."""
    meat = np.zeros_like(inverse)
    for row, e in zip(x, residuals, strict=True):
        meat += np.outer(row, row) * (e / (1.0 - row @ inverse @ row)) ** 2
    return np.asarray(inverse @ meat @ inverse)


def newey_west(x: Floats, residuals: Floats, inverse: Floats, lags: int, runs: Sequence[slice]) -> Floats:
    """Newey and West 1987 with Bartlett's weights, within runs: the meat of runs is the sum of what each adds."""
    meat = np.zeros_like(inverse)
    for rows in runs:
        scores = x[rows] * residuals[rows, None]
        for i in range(len(scores)):
            for j in range(max(0, i - lags), min(len(scores), i + lags + 1)):
                meat += (1 - abs(i - j) / (lags + 1)) * np.outer(scores[i], scores[j])
    return np.asarray(inverse @ meat @ inverse)


def cochrane_orcutt(y: Floats, x: Floats, run: NDArray[np.int64]) -> tuple[Floats, Floats, float]:
    """Coefficients, standard errors and rho of a regression with AR(1) errors within runs, iterated to convergence."""
    same = run[1:] == run[:-1]
    beta, rho = ols(y, x)[0], 0.0
    for _ in range(200):
        e = y - x @ beta
        e = e - e.mean()
        rho = float((e[1:] * e[:-1])[same].sum() / same.sum() / (e**2).mean())
        rows, outcome = (x[1:] - rho * x[:-1])[same], (y[1:] - rho * y[:-1])[same]
        beta, residuals, inverse = ols(outcome, rows)
    variance = residuals @ residuals / (len(outcome) - x.shape[1])
    return beta, np.sqrt(np.diag(inverse) * variance), rho


def regression_statistics(y: Floats, x: Floats, residuals: Floats, centred: bool) -> dict[str, float]:
    """What a regression table prints below its coefficients."""
    n, k = x.shape
    rss = float(residuals @ residuals)
    tss = float(((y - y.mean()) ** 2).sum() if centred else (y**2).sum())
    likelihood = -0.5 * n * (np.log(2 * np.pi * rss / n) + 1.0)
    moments = [float(((residuals - residuals.mean()) ** m).mean()) for m in (2, 3, 4)]
    skew, kurtosis = moments[1] / moments[0] ** 1.5, moments[2] / moments[0] ** 2
    return {
        "r_squared": 1 - rss / tss,
        "adj_r_squared": 1 - (n - centred) / (n - k) * rss / tss,
        "log_likelihood": likelihood,
        "aic": 2 * k - 2 * likelihood,
        "bic": np.log(n) * k - 2 * likelihood,
        "durbin_watson": float((np.diff(residuals) ** 2).sum() / rss),
        "skew": skew,
        "kurtosis": kurtosis,
        "jarque_bera": n / 6 * (skew**2 + (kurtosis - 3) ** 2 / 4),
        "condition_number": float(np.linalg.cond(x)),
    }


def wald_f(estimates: Floats, covariance: Floats) -> float:
    """F that all coefficients are zero."""
    return float(estimates @ np.linalg.solve(covariance, estimates) / len(estimates))


def _pooled_ranks(groups: Sequence[Floats]) -> tuple[int, list[Floats], float]:
    pooled = np.concatenate(groups)
    ties = np.unique(pooled, return_counts=True)[1].astype(np.float64)
    ranks = np.split(stats.rankdata(pooled), np.cumsum([len(g) for g in groups])[:-1])
    return len(pooled), ranks, float((ties**3 - ties).sum())
