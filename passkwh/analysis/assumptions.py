"""What a test assumes, tested: autocorrelation, normality, equal variance (tables 5.2-5.4 and 5.15 of the thesis).

Durbin-Watson is statsmodels', Shapiro-Wilk and Levene (around the median, which is Brown-Forsythe) are scipy's.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from passkwh.analysis.results import TestResult, no_result

SHAPIRO_RELIABLE_N = 5000
"""Above this many values scipy's p-value of Shapiro-Wilk is extrapolated (Royston 1995)."""


def durbin_watson(residuals: ArrayLike) -> TestResult:
    """Sum of squared steps over sum of squares: about 2 without autocorrelation, below with positive. 0 ... 4.

    Residuals must stand in the order of time. The statistic has no p-value without the design matrix.
    """
    from statsmodels.stats import stattools

    values = np.asarray(residuals, dtype=np.float64)
    name = "Durbin-Watson"
    if len(values) < 2:
        return no_result(name, len(values), "needs two residuals in the order of time")
    if not values.any():
        return no_result(name, len(values), "all residuals are zero")
    return TestResult(test=name, statistic=float(stattools.durbin_watson(values)), p_value=None, n=len(values))


def shapiro_wilk(values: ArrayLike) -> TestResult:
    """Is the sample normal? W near 1 says so. Needs three values that are not all equal."""
    from scipy import stats

    sample = np.asarray(values, dtype=np.float64)
    name = "Shapiro-Wilk"
    if len(sample) < 3:
        return no_result(name, len(sample), "needs three values or more")
    if np.isnan(sample).any():
        return no_result(name, len(sample), "a value is missing")
    if (sample == sample[0]).all():
        return no_result(name, len(sample), "all values are equal")
    # The statistic does not depend on scale, but scipy loses digits far from unit scale.
    statistic, p_value = stats.shapiro((sample - np.median(sample)) / sample.std())
    note = f"p-value extrapolated above n = {SHAPIRO_RELIABLE_N}" if len(sample) > SHAPIRO_RELIABLE_N else None
    return TestResult(test=name, statistic=float(statistic), p_value=float(p_value), n=len(sample), reason=note)


def levene(groups: Mapping[str, ArrayLike]) -> TestResult:
    """Have the groups the same variance? F of absolute deviations from each group's median (Brown-Forsythe)."""
    from scipy import stats

    name = "Levene"
    values = [np.asarray(v, dtype=np.float64) for v in groups.values()]
    n = sum(len(v) for v in values)
    if len(values) < 2:
        return no_result(name, n, "a comparison needs two groups or more")
    if any(len(v) == 0 for v in values):
        return no_result(name, n, "a group has no values")
    if any(np.isnan(v).any() for v in values):
        return no_result(name, n, "a group has missing values")
    if n == len(values):
        return no_result(name, n, "needs a group of two values or more")
    if all(np.ptp(np.abs(v - np.median(v))) == 0 for v in values):
        return no_result(name, n, "deviations from the median do not vary within the groups")
    statistic, p_value = stats.levene(*values, center="median")
    return TestResult(
        test=name,
        statistic=float(statistic),
        p_value=float(p_value),
        n=n,
        df=len(values) - 1,
        df_denominator=n - len(values),
    )


def levene_over_time(residuals: ArrayLike) -> TestResult:
    """Does the residuals' variance stay the same over time? Levene's test between the first and the second half.

    The thesis does not say how it divides time; the degrees of freedom that its p-values imply (1 and n - 2) are
    those of two parts.
    """
    values = np.asarray(residuals, dtype=np.float64)
    half = len(values) // 2
    return levene({"first half": values[:half], "second half": values[half:]})
