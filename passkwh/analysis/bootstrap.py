"""Uncertainty of every headline: tasks are drawn again, with everything that was observed on them.

A resample draws tasks with replacement, the same ones for every configuration, each with all its samples and repeats.
So accuracy and energy vary together, as pass@kWh, a ratio of the two, needs; configurations stay matched; and samples
of a task are not taken for independent evidence. On top, each configuration's energy is scaled by a normal error of
its meter (or of its repeats, where these differ by more). Intervals are percentiles of the resampled values, expanded
as a t interval is over a normal one (Hesterberg 2015), because plain percentiles are too narrow for few tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from passkwh.analysis.pareto import Direction
from passkwh.analysis.results import Contrast, Interval, finite
from passkwh.analysis.tasks import TaskTable
from passkwh.measures import HEADLINES, MEASURES
from passkwh.units import JOULES_PER_KWH

Floats = NDArray[np.float64]

DIRECTIONS: dict[str, Direction] = {name: MEASURES[name].better or "max" for name in HEADLINES}
"""The headline measures, and which way is better."""

_OF_PASS_AT_1 = ("pass_at_kwh", "solved_per_kwh")
_CHUNK_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Draws:
    """Estimates of shape (configurations,) and resampled values of shape (resamples, configurations), by measure.

    NaN where a configuration has no such value. ``pass_at_k`` beyond 1 are named ``pass_at_5`` and so on.
    """

    labels: tuple[str, ...]
    tasks: int
    estimates: dict[str, Floats]
    resampled: dict[str, Floats]
    reasons: dict[str, tuple[str | None, ...]]
    """Why a configuration has no pass@k, by measure."""


def draw(table: TaskTable, resamples: int = 10_000, seed: int = 0, ks: Sequence[int] = (1,)) -> Draws:
    """Resample tasks jointly for all configurations. The same seed gives the same values.

    Raises ValueError for a table without tasks.
    """
    return draw_each([table], resamples, seed, ks)[0]


def draw_each(
    tables: Sequence[TaskTable], resamples: int = 10_000, seed: int = 0, ks: Sequence[int] = (1,)
) -> list[Draws]:
    """``draw`` of each of many tables, in its own right, at a fraction of the cost.

    How often each task is drawn depends on the seed and the numbers of tasks and configurations alone, so tables that
    have as many of both share it. Raises ValueError for tables that have not, or have no tasks.
    """
    if not tables:
        return []
    width, tasks = tables[0].energy_j.shape
    if tasks == 0:
        raise ValueError("there is no task to resample")
    if any(t.energy_j.shape != (width, tasks) for t in tables):
        raise ValueError("expected tables with as many configurations and as many tasks")
    columns = [
        column
        for t in tables
        for column in (*(t.pass_rates(k) for k in ks), t.energy_j, t.generation_j, t.tokens, t.generation_s)
    ]
    values = np.concatenate(columns).T  # (tasks, tables x columns x configurations)
    noise, counts = _drawn(resamples, tasks, width, seed)
    sums = np.empty((resamples, values.shape[1]))
    chunk = max(1, _CHUNK_BYTES // (8 * tasks))
    for start in range(0, resamples, chunk):
        sums[start : start + chunk] = counts[start : start + chunk].astype(np.float64) @ values
    once = values.sum(axis=0, keepdims=True)
    size = values.shape[1] // len(tables)
    result = []
    for i, t in enumerate(tables):
        own = slice(i * size, (i + 1) * size)
        estimates = _measures(once[:, own], width, tasks, ks, np.ones((1, width)))
        resampled = _measures(sums[:, own], width, tasks, ks, 1.0 + t.relative_se * noise)
        reasons = {f"pass_at_{k}": t.missing_pass_at(k) for k in ks}
        result.append(Draws(t.labels, tasks, {n: v[0] for n, v in estimates.items()}, resampled, reasons))
    return result


@lru_cache(maxsize=2)
def _drawn(resamples: int, tasks: int, width: int, seed: int) -> tuple[Floats, NDArray[np.uint16]]:
    """The meter's noise, shape (resamples, width), and how often each task is drawn, shape (resamples, tasks)."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((resamples, width))
    counts = np.empty((resamples, tasks), dtype=np.uint16)
    chunk = max(1, _CHUNK_BYTES // (8 * tasks))
    for start in range(0, resamples, chunk):
        counts[start : start + chunk] = _counts(rng, min(chunk, resamples - start), tasks)
    return noise, counts


def _counts(rng: np.random.Generator, resamples: int, tasks: int) -> NDArray[np.int64]:
    """How often each task is drawn, shape (resamples, tasks)."""
    positions = rng.integers(0, tasks, size=(resamples, tasks), dtype=np.int32)
    flat = (positions + (np.arange(resamples, dtype=np.int64) * tasks)[:, None]).ravel()
    return np.bincount(flat, minlength=resamples * tasks).reshape(resamples, tasks)


def _measures(sums: Floats, width: int, tasks: int, ks: Sequence[int], scale: Floats) -> dict[str, Floats]:
    parts = [sums[:, i : i + width] for i in range(0, sums.shape[1], width)]
    energy_j, generation_j, tokens, generation_s = parts[len(ks) :]
    rates = {f"pass_at_{k}": part / tasks for k, part in zip(ks, parts[: len(ks)], strict=True)}
    energy_kwh = energy_j * scale / JOULES_PER_KWH
    with np.errstate(divide="ignore", invalid="ignore"):
        values = {
            **rates,
            "energy_kwh": energy_kwh,
            "pass_at_kwh": rates["pass_at_1"] / energy_kwh,
            "solved_per_kwh": parts[0] / energy_kwh,
            "joules_per_token": generation_j * scale / tokens,
            "tokens_per_s": tokens / generation_s,
        }
    return {name: np.where(np.isfinite(v), v, np.nan) for name, v in values.items()}


def intervals(draws: Draws, level: float = 0.95) -> tuple[Interval, ...]:
    """Percentile interval of every measure of every configuration."""
    result = []
    # All measures at once: sorting is quick, and being called is not.
    bounds = _bounds(np.concatenate([draws.resampled[name] for name in draws.estimates], axis=1), level, draws.tasks)
    lows, highs = (side.reshape(len(draws.estimates), len(draws.labels)) for side in bounds)
    for (measure, estimate), low, high in zip(draws.estimates.items(), lows, highs, strict=True):
        for i, label in enumerate(draws.labels):
            interval = _interval(measure, label, estimate[i], low[i], high[i], level, _missing(measure, draws, [i]))
            constant = interval.low is not None and interval.low == interval.high
            result.append(_bounded(interval, draws, i) if constant else interval)
    return tuple(result)


def _bounded(interval: Interval, draws: Draws, i: int) -> Interval:
    """An interval for a configuration that solved none or all of its tasks, of which resampling sees no variation.

    The exact binomial bound over tasks (Clopper and Pearson 1934): for 0 of T, at most 1 - (alpha / 2)^(1 / T).
    """
    tail = (1.0 - interval.level) / 2.0
    furthest = 1.0 - tail ** (1.0 / draws.tasks)
    note = (
        f"{'no' if interval.estimate == 0 else 'every'} task was solved: exact binomial bound over {draws.tasks} tasks"
    )
    energy_kwh = draws.estimates["energy_kwh"][i]
    if interval.measure.startswith("pass_at_") and interval.measure != "pass_at_kwh":
        if interval.estimate == 0:
            return interval.model_copy(update={"high": furthest, "note": note})
        if interval.estimate == 1:
            return interval.model_copy(update={"low": 1.0 - furthest, "note": note})
    if interval.measure in ("pass_at_kwh", "solved_per_kwh") and interval.estimate == 0:
        solved = furthest * (draws.tasks if interval.measure == "solved_per_kwh" else 1)
        return interval.model_copy(update={"high": finite(solved / energy_kwh), "note": note})
    return interval


def contrasts(
    draws: Draws, measures: Sequence[str], pairs: Sequence[tuple[int, int]], level: float = 0.95
) -> tuple[Contrast, ...]:
    """Difference and ratio of pairs of configurations (positions), on joint resamples."""
    result = []
    for measure in measures:
        values, estimate = draws.resampled[measure], draws.estimates[measure]
        a, b = np.array([i for i, _ in pairs], dtype=int), np.array([j for _, j in pairs], dtype=int)
        with np.errstate(divide="ignore", invalid="ignore"):
            differences = _bounds(values[:, a] - values[:, b], level, draws.tasks)
            ratios = _bounds(values[:, a] / values[:, b], level, draws.tasks)
            ratio_estimates = estimate[a] / estimate[b]
        for p, (i, j) in enumerate(pairs):
            name, missing = f"{draws.labels[i]} vs {draws.labels[j]}", _missing(measure, draws, [i, j])
            difference = _interval(
                measure, name, estimate[i] - estimate[j], differences[0][p], differences[1][p], level, missing
            )
            if measure.startswith("pass_at_") and difference.low is not None and difference.low == difference.high:
                reason = "no task separates the two, so resampling sees no variation: read the equivalence test"
                difference = difference.model_copy(update={"low": None, "high": None, "reason": reason})
            ratio = _interval(measure, name, ratio_estimates[p], ratios[0][p], ratios[1][p], level, missing)
            result.append(
                Contrast(measure=measure, a=draws.labels[i], b=draws.labels[j], difference=difference, ratio=ratio)
            )
    return tuple(result)


def _bounds(values: Floats, level: float, tasks: int) -> tuple[Floats, Floats]:
    if tasks < 2:
        return np.full(values.shape[1], np.nan), np.full(values.shape[1], np.nan)
    # Of scipy.special, which the distributions of scipy.stats call: importing those takes longer than many a bootstrap.
    student = special.stdtrit(tasks - 1, (1.0 + level) / 2.0)
    tail = float(special.ndtr(-np.sqrt(tasks / (tasks - 1)) * student))
    with np.errstate(invalid="ignore"):
        low, high = np.quantile(np.ascontiguousarray(values.T), [tail, 1.0 - tail], axis=1)
    return low, high


def _missing(measure: str, draws: Draws, configurations: Sequence[int]) -> str:
    """Why a measure, or what two have of it, has no value."""
    accuracy = measure if measure in draws.reasons else "pass_at_1" if measure in _OF_PASS_AT_1 else None
    energy = measure in ("energy_kwh", "joules_per_token", *_OF_PASS_AT_1)
    if accuracy:
        for i in configurations:
            if reason := draws.reasons[accuracy][i]:
                return reason
    if energy and any(np.isnan(draws.estimates["energy_kwh"][i]) for i in configurations):
        return "energy is missing"
    return "it would divide by zero"


def _interval(
    measure: str, label: str, estimate: float, low: float, high: float, level: float, missing: str
) -> Interval:
    reason = None
    if not np.isfinite(estimate):
        reason = missing
        low = high = np.nan
    elif not (np.isfinite(low) and np.isfinite(high)):
        reason = "it takes two tasks, and resamples in which nothing is divided by zero, to give an interval"
        low = high = np.nan
    return Interval(
        measure=measure, label=label, estimate=finite(estimate), low=finite(low), high=finite(high), level=level,
        reason=reason,
    )  # fmt: skip
