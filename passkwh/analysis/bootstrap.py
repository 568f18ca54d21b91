"""Uncertainty of every headline: what was measured once is drawn again, with everything that was observed on it.

A resample draws units (tasks; batches or time blocks where these were measured as one) with replacement, the same ones
for every configuration, each with all its samples and repeats. So accuracy and energy vary together, as pass@kWh, a
ratio of the two, needs; configurations stay matched; and neither samples of a task nor members of a batch are taken
for independent evidence. On top, each configuration's energy is scaled by what its units cannot show: the scatter of
repeats (Student's t), or the stated errors of meter and idle (:mod:`passkwh.analysis.error_model`). Where the
configurations' batches hold different tasks, tasks are drawn, and what batches add to the spread is put on top, too.
Shares of tasks that pass follow Wilson's interval. :mod:`passkwh.analysis.intervals` reads intervals off these draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from passkwh.analysis.error_model import PerRun, RunError, drawn_units, run_error
from passkwh.analysis.pareto import Direction
from passkwh.analysis.proportions import as_wilson
from passkwh.analysis.tasks import TaskTable
from passkwh.analysis.units_of_measurement import JointUnits, sums
from passkwh.measures import HEADLINES, MEASURES
from passkwh.units import JOULES_PER_KWH

Floats = NDArray[np.float64]

DIRECTIONS: dict[str, Direction] = {name: MEASURES[name].better or "max" for name in HEADLINES}
"""The headline measures, and which way is better."""

OF_PASS_AT_1 = ("pass_at_kwh", "solved_per_kwh")
"""Measures that accuracy is part of."""
OF_ENERGY = ("energy_kwh", "joules_per_token", *OF_PASS_AT_1)
"""Measures that energy is part of."""
_PER_RUN: dict[str, PerRun] = {
    "energy_kwh": "energy_j", "pass_at_kwh": "energy_j", "solved_per_kwh": "energy_j",
    "joules_per_token": "joules_per_token", "tokens_per_s": "tokens_per_s",
}  # fmt: skip
"""By measure the totals of runs whose scatter it has."""
_CHUNK_BYTES = 16 * 2**20
NOT_ABOVE_0 = "energy is not above 0: idle power takes more off than was drawn"


def is_share(measure: str) -> bool:
    """Whether a measure is pass@k: a share of tasks."""
    return measure.startswith("pass_at_") and measure != "pass_at_kwh"


@dataclass(frozen=True)
class Draws:
    """Estimates of shape (configurations,) and resampled values of shape (resamples, configurations), by measure.

    NaN where a configuration has no such value. ``pass_at_k`` beyond 1 are named ``pass_at_5`` and so on.
    """

    table: TaskTable
    units: int
    """Units of measurement that are drawn: single tasks where batches are not matched."""
    matched: bool
    estimates: dict[str, Floats]
    resampled: dict[str, Floats]
    from_units: dict[str, Floats]
    """The part of the resampled values that drawing units makes, without the errors of runs."""
    errors: dict[str, RunError]
    """The errors of runs, by measure."""
    batch_se: Floats
    """Relative standard error of energy from batches that are not matched, which tasks are drawn without."""
    reasons: dict[str, tuple[str | None, ...]]
    """Why a configuration has no pass@k, or no energy, by measure."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the configurations."""
        return self.table.labels

    @property
    def tasks(self) -> int:
        """How many there are."""
        return len(self.table.task_ids)

    def units_of(self, measure: str) -> int:
        """What was observed once for a measure: verdicts are of tasks, whatever shared a batch."""
        return self.tasks if is_share(measure) else self.units

    def se_of_runs(self, measure: str) -> Floats:
        """Standard error of each estimate from what units do not show: runs, unmatched batches; 0 for accuracy."""
        if measure not in self.errors:
            return np.zeros(len(self.labels))
        batches = self.batch_se if measure in OF_ENERGY else 0.0
        return np.asarray(
            np.abs(self.estimates[measure]) * np.hypot(self.errors[measure].se, batches), dtype=np.float64
        )


def draw(table: TaskTable, resamples: int = 10_000, seed: int = 0, ks: Sequence[int] = (1,)) -> Draws:
    """Resample units jointly for all configurations. The same seed gives the same values.

    Raises ValueError for a table without tasks.
    """
    return draw_each([table], resamples, seed, ks)[0]


def draw_each(
    tables: Sequence[TaskTable], resamples: int = 10_000, seed: int = 0, ks: Sequence[int] = (1,)
) -> list[Draws]:
    """``draw`` of each of many tables, in its own right, at a fraction of the cost.

    How often each unit is drawn depends on the seed and the numbers of units and configurations alone, so tables that
    have as many of both share it. Raises ValueError for tables that have not as many configurations and tasks, or have
    no tasks.
    """
    if not tables:
        return []
    shape = tables[0].energy_j.shape
    if shape[1] == 0:
        raise ValueError("there is no task to resample")
    if any(t.energy_j.shape != shape for t in tables):
        raise ValueError("expected tables with as many configurations and as many tasks")
    by_units: dict[int, list[int]] = {}
    for position, t in enumerate(tables):
        by_units.setdefault(units_of_table(t).number, []).append(position)
    result: dict[int, Draws] = {}
    for positions in by_units.values():
        result |= dict(zip(positions, _drawn_alike([tables[p] for p in positions], resamples, seed, ks), strict=True))
    return [result[position] for position in range(len(tables))]


def units_of_table(t: TaskTable) -> JointUnits:
    """What is drawn together: the units that all configurations have in common, else single tasks."""
    return drawn_units(t.measured.joint, len(t.task_ids))


def _columns(t: TaskTable, ks: Sequence[int]) -> Floats:
    """What is summed over drawn units, shape (columns x configurations, tasks)."""
    energy_j = t.measured.without_noise()
    # Noise within runs is the same share of generation as of the whole, which it nearly is.
    generation_j = t.generation_j * np.divide(energy_j, t.energy_j, out=np.ones_like(energy_j), where=t.energy_j != 0)
    rates = [t.pass_rates(k) for k in ks]
    return np.concatenate([*rates, energy_j, generation_j, t.tokens, t.generation_s, np.ones_like(energy_j)])


def resampled_totals(values: Floats, resamples: int = 10_000, seed: int = 0) -> Floats:
    """Sums of columns over units drawn with replacement: shape (units, columns) -> (resamples, columns)."""
    return _totals(_drawn(resamples, len(values), 1, seed)[1], values)


def _drawn_alike(tables: Sequence[TaskTable], resamples: int, seed: int, ks: Sequence[int]) -> list[Draws]:
    """Of tables with as many units."""
    width, units = len(tables[0].labels), units_of_table(tables[0]).number
    columns = [_columns(t, ks) for t in tables]
    values = np.concatenate(
        [sums(one, units_of_table(t).of_task, units) for one, t in zip(columns, tables, strict=True)]
    ).T
    noise, counts = _drawn(resamples, units, width, seed)
    totals = _totals(counts, values)
    size = values.shape[1] // len(tables)
    return [_draws(t, ks, totals[:, i * size : (i + 1) * size], noise, seed) for i, t in enumerate(tables)]


def _totals(counts: NDArray[np.uint16], values: Floats) -> Floats:
    totals = np.empty((len(counts), values.shape[1]))
    chunk = max(1, _CHUNK_BYTES // (8 * len(values)))
    for start in range(0, len(counts), chunk):
        totals[start : start + chunk] = counts[start : start + chunk].astype(np.float64) @ values
    return totals


@lru_cache(maxsize=2)
def _drawn(resamples: int, units: int, width: int, seed: int) -> tuple[Floats, NDArray[np.uint16]]:
    """Normal noise of runs, shape (resamples, width), and how often each unit is drawn, shape (resamples, units)."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((resamples, width))
    counts = np.empty((resamples, units), dtype=np.uint16)
    chunk = max(1, _CHUNK_BYTES // (8 * units))
    for start in range(0, resamples, chunk):
        counts[start : start + chunk] = _counts(rng, min(chunk, resamples - start), units)
    return noise, counts


def _counts(rng: np.random.Generator, resamples: int, units: int) -> NDArray[np.int64]:
    """How often each unit is drawn, shape (resamples, units)."""
    positions = rng.integers(0, units, size=(resamples, units), dtype=np.int32)
    flat = (positions + (np.arange(resamples, dtype=np.int64) * units)[:, None]).ravel()
    return np.bincount(flat, minlength=resamples * units).reshape(resamples, units)


def _draws(t: TaskTable, ks: Sequence[int], totals: Floats, noise: Floats, seed: int) -> Draws:
    width, tasks, k = len(t.labels), len(t.task_ids), len(ks)
    parts = [totals[:, i : i + width] for i in range(0, totals.shape[1], width)]
    drawn_tasks = parts[k + 4]
    rates = {f"pass_at_{at}": part / drawn_tasks for at, part in zip(ks, parts, strict=False)}
    once = [one.sum(axis=1)[None, :] for one in (t.energy_j, t.generation_j, t.tokens, t.generation_s)]
    rates_of = {f"pass_at_{at}": t.pass_rates(at) for at in ks}
    estimates = _measures({name: one.mean(axis=1)[None, :] for name, one in rates_of.items()}, once, tasks)
    jitter = np.random.default_rng([seed, 1]).random(len(totals))
    for name, one in rates.items():
        for i in range(width):
            if not np.isnan(rates_of[name][i]).any():
                one[:, i] = as_wilson(one[:, i], rates_of[name][i], jitter)
    scaled = [part * (tasks / drawn_tasks) for part in parts[k : k + 4]]
    from_units = _measures(rates, scaled, tasks)
    errors = {of: run_error(t.runs, t.measured.stated_se, of) for of in dict.fromkeys(_PER_RUN.values())}
    by_measure = {name: errors[of] for name, of in _PER_RUN.items()}
    resampled = dict(from_units)
    batches = np.sqrt(t.measured.batch_variance)
    if batches.any() or any(error.se.any() for error in errors.values()):
        scales = {of: _scale(error, noise, seed) for of, error in errors.items()}
        of_batches = _of_batches(t, batches, len(noise), seed)
        scales["energy_j"], scales["joules_per_token"] = (
            scales[of] * of_batches for of in ("energy_j", "joules_per_token")
        )
        for name, of in _PER_RUN.items():
            with np.errstate(divide="ignore", invalid="ignore"):
                by = scales[of]
                resampled[name] = from_units[name] / by if name in OF_PASS_AT_1 else from_units[name] * by
            if name in OF_PASS_AT_1:  # an energy that came out below 0 is all but 0: the ratio has no bound above
                resampled[name] = np.where(by > 0, resampled[name], np.inf)
    reasons = {f"pass_at_{at}": t.missing_pass_at(at) for at in ks}
    reasons["energy_kwh"] = tuple(
        None if total > 0 else "energy is missing" if np.isnan(total) else NOT_ABOVE_0 for total in once[0][0].tolist()
    )
    dark = np.array([reason is not None for reason in reasons["energy_kwh"]])
    for name in OF_ENERGY:
        for values in (estimates, from_units, resampled):
            values[name] = np.where(dark, np.nan, values[name])
    drawn = units_of_table(t)
    return Draws(
        t, drawn.number, drawn.matched, {name: one[0] for name, one in estimates.items()}, resampled, from_units,
        by_measure, batches, reasons,
    )  # fmt: skip


def _of_batches(t: TaskTable, se: Floats, resamples: int, seed: int) -> Floats | float:
    """What batches that are not matched multiply energies by: Student's t over each configuration's batches."""
    if not se.any():
        return 1.0
    rng = np.random.default_rng([seed, 3])
    df = np.array([max(len(np.unique(units)) - 1, 1) for units in t.units], dtype=np.float64)
    moved = se * rng.standard_normal((resamples, len(se))) * np.sqrt(df / rng.chisquare(df, (resamples, len(se))))
    return np.asarray(np.exp(np.clip(moved, -50.0, 50.0)), dtype=np.float64)


def _scale(error: RunError, noise: Floats, seed: int) -> Floats:
    """What runs multiply an energy by, shape (resamples, configurations): t where scatter is known from repeats."""
    if not error.se.any():
        return np.ones_like(noise)
    shape = np.ones_like(noise)
    for df in dict.fromkeys(error.df[np.isfinite(error.df)].tolist()):
        own = np.flatnonzero(error.df == df)
        rng = np.random.default_rng([seed, 2, int(df)])
        # A pooled scatter errs for all alike; otherwise each has its own.
        chi = rng.chisquare(df, (len(noise), 1 if error.pooled or "stated" in error.source else len(own)))
        shape[:, own] = np.sqrt(df / chi)
    scattered = np.array([source == "run-to-run" for source in error.source])
    moved = error.se * noise * shape
    with np.errstate(over="ignore"):
        return np.where(scattered, np.exp(np.clip(moved, -50.0, 50.0)), 1.0 + moved)


def _measures(rates: dict[str, Floats], totals: Sequence[Floats], tasks: int) -> dict[str, Floats]:
    energy_j, generation_j, tokens, generation_s = totals
    energy_kwh = energy_j / JOULES_PER_KWH
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = rates["pass_at_1"]
        per_kwh = np.where(energy_kwh > 0, rate / energy_kwh, np.where(np.isnan(rate + energy_kwh), np.nan, np.inf))
        return {
            **rates,
            "energy_kwh": energy_kwh,
            "pass_at_kwh": per_kwh,
            "solved_per_kwh": per_kwh * tasks,
            "joules_per_token": np.where(tokens > 0, generation_j / tokens, np.nan),
            "tokens_per_s": np.where(generation_s > 0, tokens / generation_s, np.nan),
        }
