"""Intervals of headlines, and of differences and ratios of two configurations, from resampled values.

Percentiles, expanded as a t interval is over a normal one (Hesterberg 2015), because plain percentiles are too narrow
for few units. Shares of tasks have Wilson's interval, and a difference of shares that of its own test.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from passkwh.analysis.bootstrap import OF_ENERGY, OF_PASS_AT_1, Draws, is_share, units_of_table
from passkwh.analysis.equivalence import rate_difference
from passkwh.analysis.error_model import FEWEST_UNITS, weight
from passkwh.analysis.proportions import effective_number, wilson
from passkwh.analysis.results import Contrast, Interval, finite
from passkwh.analysis.units_of_measurement import sums

Floats = NDArray[np.float64]

_WEIGHED = ("energy_kwh", "joules_per_token")
"""Measures whose ratio is one of totals in which large units weigh more."""


def intervals(draws: Draws, level: float = 0.95) -> tuple[Interval, ...]:
    """Interval of every measure of every configuration: percentiles; Wilson's score interval for pass@k."""
    result = []
    # All measures at once: sorting is quick, and being called is not.
    names = list(draws.estimates)
    stacked = np.concatenate([draws.resampled[name] for name in names], axis=1)
    shares = np.concatenate([_share_of_units(draws, name) for name in names])
    energy_kwh, own = draws.resampled["energy_kwh"], draws.table.widened
    widened = np.concatenate([_widened(name, own, energy_kwh, draws.resampled[name]) for name in names])
    bounds = _bounds(stacked, level, np.tile(_student(draws, level), len(names)), shares, widened)
    lows, highs = (side.reshape(len(names), len(draws.labels)) for side in bounds)
    solid = _above_zero(draws, level)
    for (measure, estimate), low, high in zip(draws.estimates.items(), lows, highs, strict=True):
        for i, label in enumerate(draws.labels):
            value = estimate[i]
            of_share = is_share(measure) and bool(np.isfinite(value))
            if of_share:
                low[i], high[i] = _wilson(draws, measure, i, level)
            interval = _interval(measure, label, value, low[i], high[i], level, _missing(measure, draws, [i]))
            if measure in OF_ENERGY and interval.estimate is not None and not solid[i]:
                reason = "energy net of idle power is not shown to be above 0"
                interval = interval.model_copy(update={"low": None, "high": None, "reason": reason})
            result.append(interval.model_copy(update={"note": _note(draws, measure, value)}) if of_share else interval)
    return tuple(result)


def _wilson(draws: Draws, measure: str, i: int, level: float) -> tuple[float, float]:
    if draws.tasks < 2:
        return float("nan"), float("nan")
    rates = draws.table.pass_rates(int(measure.removeprefix("pass_at_")))[i]
    z = float(special.ndtri((1.0 + level) / 2.0))
    low, high = wilson(float(rates.mean()), effective_number(rates), np.array([-z, z]))
    return float(low), float(high)


def _note(draws: Draws, measure: str, value: float) -> str | None:
    if value not in (0.0, 1.0):
        return None
    return f"{'no' if value == 0 else 'every'} task was solved: Wilson's bound over {draws.tasks} tasks"


def _above_zero(draws: Draws, level: float) -> NDArray[np.bool_]:
    """Whether each configuration's energy is shown to be above 0, so that a ratio to it has an interval."""
    drawn = draws.resampled["energy_kwh"]
    if drawn.min(initial=1.0) > 0:  # false where one is NaN
        return np.ones(drawn.shape[1], dtype=np.bool_)
    low = _bounds(drawn, level, _student(draws, level), np.ones(drawn.shape[1]), draws.table.widened)[0]
    return np.asarray(np.isnan(low) | (low > 0), dtype=np.bool_)


def contrasts(
    draws: Draws, measures: Sequence[str], pairs: Sequence[tuple[int, int]], level: float = 0.95
) -> tuple[Contrast, ...]:
    """Difference and ratio of pairs of configurations (positions), on joint resamples.

    The difference in pass@k has the interval of its own test (:func:`passkwh.analysis.equivalence.rate_difference`).
    """
    result = []
    a, b = np.array([i for i, _ in pairs], dtype=int), np.array([j for _, j in pairs], dtype=int)
    contributions = _contributions(draws)
    energy_kwh, larger = draws.resampled["energy_kwh"], np.maximum(draws.table.widened[a], draws.table.widened[b])
    solid = _above_zero(draws, level)
    for measure in measures:
        values, estimate = draws.resampled[measure], draws.estimates[measure]
        share = _share_of_units_in_pairs(draws, measure, a, b)
        with np.errstate(divide="ignore", invalid="ignore"):
            student = _student_of_pairs(draws, contributions, measure, a, b, level)
            ratio_draws = values[:, a] / values[:, b]
            widened = _widened(measure, larger, energy_kwh[:, a] / energy_kwh[:, b], ratio_draws)
            differences = _bounds(values[:, a] - values[:, b], level, student, share, widened)
            ratios = _bounds(ratio_draws, level, student, share, widened)
            ratio_estimates = estimate[a] / estimate[b]
        of_share = is_share(measure)
        rates = draws.table.pass_rates(int(measure.removeprefix("pass_at_"))) if of_share else None
        for p, (i, j) in enumerate(pairs):
            name, missing = f"{draws.labels[i]} vs {draws.labels[j]}", _missing(measure, draws, [i, j])
            low, high, value = differences[0][p], differences[1][p], estimate[i] - estimate[j]
            if rates is not None and np.isfinite(value):
                low, high = rate_difference(rates[i], rates[j], level) if draws.tasks > 1 else (np.nan, np.nan)
            difference = _interval(measure, name, value, low, high, level, missing)
            ratio = _interval(measure, name, ratio_estimates[p], ratios[0][p], ratios[1][p], level, missing)
            if measure in OF_ENERGY and not (solid[i] and solid[j]):
                reason = "energy net of idle power is not shown to be above 0"
                cut = {"low": None, "high": None, "reason": reason if ratio.estimate is not None else ratio.reason}
                ratio, difference = ratio.model_copy(update=cut), difference.model_copy(update=cut)
            result.append(
                Contrast(measure=measure, a=draws.labels[i], b=draws.labels[j], difference=difference, ratio=ratio)
            )
    return tuple(result)


def _share_of_units(draws: Draws, measure: str) -> Floats:
    """The share of each estimate's variance that comes from its units, shape (configurations,)."""
    runs = draws.se_of_runs(measure) ** 2
    if not runs.any():
        return np.ones(len(runs))
    with np.errstate(invalid="ignore"):
        units = draws.from_units[measure].var(axis=0)
        return np.asarray(np.nan_to_num(units / (units + runs), nan=1.0), dtype=np.float64)


def _share_of_units_in_pairs(draws: Draws, measure: str, a: NDArray[np.int_], b: NDArray[np.int_]) -> Floats:
    runs = draws.se_of_runs(measure) ** 2
    if not runs.any():
        return np.ones(len(a))
    with np.errstate(invalid="ignore"):
        covariance = np.atleast_2d(np.cov(draws.from_units[measure], rowvar=False))
        # Of logs, in effect: each is on the scale of its own estimate.
        size = np.where(draws.estimates[measure] != 0, np.abs(draws.estimates[measure]), 1.0)
        covariance = covariance / np.outer(size, size)
        relative = runs / size**2
        units = np.maximum(covariance[a, a] + covariance[b, b] - 2 * covariance[a, b], 0.0)
        total = units + relative[a] + relative[b]
        shares = np.divide(units, total, out=np.ones_like(units), where=total > 0)
        return np.asarray(np.nan_to_num(shares, nan=1.0), dtype=np.float64)


def _student(draws: Draws, level: float) -> Floats:
    """Half the width of a t interval by configuration, in standard deviations of resamples; NaN for too few units."""
    return _expanded(np.full(len(draws.labels), draws.units - 1.0), draws.units, level)


def _expanded(df: Floats, units: int, level: float, factor: Floats | None = None) -> Floats:
    if units < FEWEST_UNITS:
        return np.full(len(df), np.nan)
    unbiased = np.full(len(df), units / (units - 1.0)) if factor is None else factor
    return np.asarray(np.sqrt(unbiased) * special.stdtrit(df, (1.0 + level) / 2.0), dtype=np.float64)


def _widened(measure: str, widened: Floats, of_energy: Floats, values: Floats) -> Floats:
    """The factor of variance that blocks miss, by column: of the part that energies make, not of that of verdicts."""
    if is_share(measure) or (widened == 1.0).all():
        return np.ones(len(widened))
    if measure not in OF_PASS_AT_1:
        return widened
    with np.errstate(invalid="ignore", divide="ignore"):
        part = (of_energy.std(axis=0) / of_energy.mean(axis=0)) ** 2 / (values.std(axis=0) / values.mean(axis=0)) ** 2
    return np.asarray(1.0 + (widened - 1.0) * np.clip(np.nan_to_num(part, nan=1.0), 0.0, 1.0), dtype=np.float64)


class _Contributions(NamedTuple):
    """What each unit makes of the totals, shape (configurations, units); NaN where there is no total."""

    energy: Floats
    passed: Floats


def _contributions(draws: Draws) -> _Contributions:
    units, table = units_of_table(draws.table), draws.table
    parts = []
    for values in (table.energy_j, table.pass_rates()):
        total = values.sum(axis=1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = np.where(total > 0, sums(values, units.of_task, units.number) / total, np.nan)
        parts.append(np.asarray(shares, dtype=np.float64))
    return _Contributions(*parts)


def _student_of_pairs(
    draws: Draws, of: _Contributions, measure: str, a: NDArray[np.int_], b: NDArray[np.int_], level: float
) -> Floats:
    """The same of differences and ratios, by pair: fewer degrees of freedom where a few units make the difference.

    Of totals these are the large units, which carry them. Of pass@kWh they are the units whose verdicts differ: the
    variance of a variance falls with the fourth moment of what the units contribute.
    """
    units = draws.units
    df, factor = np.full(len(a), units - 1.0), np.full(len(a), units / (units - 1.0) if units > 1 else np.nan)
    for p, (i, j) in enumerate(zip(a.tolist(), b.tolist(), strict=True)):
        if measure in _WEIGHED and np.isfinite(of.energy[[i, j]]).all():
            factor[p], df[p] = weight((of.energy[i] + of.energy[j]) / 2.0)
        elif measure in OF_PASS_AT_1 and np.isfinite(of.energy[[i, j]]).all() and np.isfinite(of.passed[[i, j]]).all():
            df[p] = df_of_spread(of.passed[i] - of.passed[j] - of.energy[i] + of.energy[j])
    return _expanded(df, units, level, factor)


def df_of_spread(contributed: Floats) -> float:
    """Degrees of freedom of the variance of contributions from their kurtosis: 2 n / (kurtosis - 1), n - 1 at most."""
    n, square = len(contributed), contributed**2
    if n < FEWEST_UNITS or not square.sum() > 0:
        return n - 1.0
    kurtosis = n * float((square**2).sum()) / float(square.sum()) ** 2
    return float(np.clip(2.0 * n / max(kurtosis - 1.0, 1e-9), 1.0, n - 1.0))


def percentiles(values: Floats, units: int, level: float = 0.95) -> tuple[Floats, Floats]:
    """Bounds of columns of values resampled by units, shape (resamples, columns); NaN for fewer than three units."""
    columns = values.shape[1]
    student = _expanded(np.full(columns, units - 1.0), units, level)
    return _bounds(values, level, student, np.ones(columns), np.ones(columns))


def _bounds(
    values: Floats, level: float, student: Floats, share_of_units: Floats, widened: Floats
) -> tuple[Floats, Floats]:
    """Percentiles of columns, as far out as Student's t over units is; errors of runs have their own t in the draws.

    Where both make the spread, the t of the units widens the middle of the draws by its share, and percentiles stay
    those of the level: farther out, the draws are those of the runs' t alone. What blocks share with their neighbours
    (``widened``, a factor of variance) moves both bounds away from the middle: resamples of a few blocks have no tails.
    """
    # Of scipy.special, which the distributions of scipy.stats call: importing those takes longer than many a bootstrap.
    normal = special.ndtri((1.0 + level) / 2.0)
    alone = share_of_units >= 1.0
    tails = np.where(alone, special.ndtr(-student), (1.0 - level) / 2.0)
    low, high = np.full(values.shape[1], np.nan), np.full(values.shape[1], np.nan)
    rows = np.ascontiguousarray(values.T)
    with np.errstate(invalid="ignore"):
        for tail in np.unique(tails[np.isfinite(student)]):
            chosen = np.flatnonzero((tails == tail) & np.isfinite(student))
            low[chosen], high[chosen] = _quantiles(rows[chosen], float(tail))
        if alone.all() and (widened == 1.0).all():
            return low, high
        own = np.where(alone, 1.0, (student / normal) ** 2)
        by = np.sqrt(share_of_units * widened * own + 1.0 - share_of_units)
        middle = np.median(rows, axis=1)
        # On the scale of ratios where all is positive, as errors of runs are relative.
        positive = (low > 0) & (middle > 0)
        safe = np.where(positive, middle, 1.0)
        wide_low = np.where(positive, middle * (np.where(positive, low, 1.0) / safe) ** by,
                            middle - by * (middle - low))  # fmt: skip
        wide_high = np.where(positive, middle * (np.where(positive, high, 1.0) / safe) ** by,
                             middle + by * (high - middle))  # fmt: skip
    kept = alone & (widened == 1.0)
    return np.where(kept, low, wide_low), np.where(kept, high, wide_high)


def _quantiles(rows: Floats, tail: float) -> tuple[Floats, Floats]:
    low, high = np.quantile(rows, [tail, 1.0 - tail], axis=1)
    return np.where(np.isfinite(low), low, np.nan), np.where(np.isfinite(high), high, np.nan)


_NOTHING_TO_DIVIDE_BY = {
    "joules_per_token": "no tokens were counted",
    "tokens_per_s": "no time of generating was measured",
}


def _missing(measure: str, draws: Draws, configurations: Sequence[int]) -> str:
    """Why a measure, or what two have of it, has no value."""
    needed = [measure if is_share(measure) else "pass_at_1"] if is_share(measure) or measure in OF_PASS_AT_1 else []
    needed += ["energy_kwh"] if measure in OF_ENERGY else []
    known = [reason for name in needed for i in configurations if (reason := draws.reasons[name][i])]
    return known[0] if known else _NOTHING_TO_DIVIDE_BY.get(measure, "it would divide by zero")


def _interval(
    measure: str, label: str, estimate: float, low: float, high: float, level: float, missing: str
) -> Interval:
    reason = None
    if not np.isfinite(estimate):
        reason = missing
        low = high = np.nan
    elif not (np.isfinite(low) and np.isfinite(high)):
        reason = "it takes three units of measurement, and resamples in which nothing is divided by zero"
        low = high = np.nan
    return Interval(
        measure=measure, label=label, estimate=finite(estimate), low=finite(low), high=finite(high), level=level,
        reason=reason,
    )  # fmt: skip
