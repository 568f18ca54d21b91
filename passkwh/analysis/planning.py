"""How many tasks and repeats it takes to tell two configurations apart, from pilot runs.

Each task contributes an amount to the measure (its influence). The variance of these amounts between tasks shrinks with
the number of tasks, the variance between repeats of a task with tasks times repeats, and the error of the meter with
repeats only: no number of tasks makes up for it.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from passkwh.analysis.pooling import Comparison
from passkwh.analysis.tasks import EnergyKind, TaskTable, task_table
from passkwh.errors import UsageError
from passkwh.records import Record

Floats = NDArray[np.float64]
PlannedMeasure = Literal["energy", "pass@1", "pass@kWh"]
MEASURES: tuple[PlannedMeasure, ...] = ("energy", "pass@1", "pass@kWh")
REPEATS = (1, 2, 3, 5, 10)
MIN_TASKS = 10
"""The normal approximation behind the plan is not to be trusted for fewer tasks."""


class SampleSizeRow(Record):
    """Tasks needed when every task is run so many times."""

    repeats: int
    tasks: Annotated[int | None, Field(description="None where the meter's error alone hides the effect")]
    reason: str | None = None


class SampleSizePlan(Record):
    """What it takes to show one difference."""

    a: str
    b: str
    measure: PlannedMeasure
    scale: Literal["log ratio", "difference"]
    effect: float
    effect_source: Literal["observed in the pilot", "stated"]
    alpha: float
    power: float
    variance_between_tasks: float
    variance_within_tasks: Annotated[float | None, Field(description="None when the pilot has no repeats or samples")]
    variance_meter: Annotated[float, Field(description="of one run's log energy, of both configurations together")]
    pilot_tasks: int
    pilot_power: Annotated[float | None, Field(description="of the pilot itself, for this effect")]
    rows: tuple[SampleSizeRow, ...]
    notes: tuple[str, ...] = ()


def plan_sample_size(
    comparison: Comparison,
    a: str,
    b: str,
    measure: PlannedMeasure = "pass@kWh",
    effect: float | None = None,
    power: float = 0.8,
    alpha: float = 0.05,
    energy: EnergyKind = "gross",
) -> SampleSizePlan:
    """Tasks and repeats for a two-sided test at ``alpha`` with ``power``.

    ``effect`` is the ratio minus one for energy and pass@kWh (0.05: five per cent), the difference for pass@1; the
    pilot's own when None. Raises UsageError where the pilot lacks what the measure needs.
    """
    from scipy import stats

    table = task_table(comparison, energy).select([a, b])
    replicates = _replicates(comparison, table, energy)
    observed = _estimate(table, measure)
    size = observed if effect is None else (effect if measure == "pass@1" else math.log1p(effect))
    if not math.isfinite(size) or size == 0:
        raise UsageError(f"the pilot shows no difference in {measure} between {a} and {b}: state one with --effect")
    influence = [_influence(table, r, measure) for r in replicates]
    mean = np.mean(influence, axis=0)
    count = len(influence)
    within = float(np.var(influence, axis=0, ddof=1).mean()) if count > 1 else None
    total = float(np.var(mean, ddof=1)) if len(mean) > 1 else 0.0
    between = max(total - within / count, 0.0) if within is not None else total
    meter = 0.0 if measure == "pass@1" else _meter_variance(comparison, table)
    z = float(stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power))
    target = (size / z) ** 2
    rows = tuple(_row(r, between, within, meter, target) for r in (REPEATS if within is not None else (1,)))
    spread = math.sqrt(total / len(mean) + meter / count) if len(mean) else 0.0
    notes = [] if within is not None else ["the pilot has one sample a task: what repeats would gain is unknown"]
    return SampleSizePlan(
        a=a, b=b, measure=measure, scale="difference" if measure == "pass@1" else "log ratio", effect=size,
        effect_source="observed in the pilot" if effect is None else "stated", alpha=alpha, power=power,
        variance_between_tasks=between, variance_within_tasks=within, variance_meter=meter, pilot_tasks=len(mean),
        pilot_power=achieved_power(size, spread, alpha) if spread > 0 else None, rows=rows, notes=tuple(notes),
    )  # fmt: skip


def achieved_power(effect: float, standard_error: float, alpha: float = 0.05) -> float:
    """Power of a two-sided normal test."""
    from scipy import stats

    shift = abs(effect) / standard_error
    critical = float(stats.norm.ppf(1 - alpha / 2))
    return float(stats.norm.sf(critical - shift) + stats.norm.cdf(-critical - shift))


def _row(repeats: int, between: float, within: float | None, meter: float, target: float) -> SampleSizeRow:
    left = target - meter / repeats
    if left <= 0:
        return SampleSizeRow(
            repeats=repeats, tasks=None, reason="the meter's error alone hides the effect: repeat more often"
        )
    needed = math.ceil((between + (within or 0.0) / repeats) / left)
    return SampleSizeRow(repeats=repeats, tasks=max(needed, MIN_TASKS))


def _estimate(table: TaskTable, measure: PlannedMeasure) -> float:
    rates, energy = table.pass_rates().mean(axis=1), table.energy_j.sum(axis=1)
    needed = {"energy": energy, "pass@1": rates, "pass@kWh": rates * energy}[measure]
    if np.isnan(needed).any():
        raise UsageError(
            f"{measure} cannot be planned: a pilot run has no {'verdicts' if np.isnan(rates).any() else 'energy'}"
        )
    if measure == "pass@1":
        return float(rates[0] - rates[1])
    if (energy <= 0).any() or (measure == "pass@kWh" and (rates <= 0).any()):
        raise UsageError(
            f"{measure} cannot be planned: a pilot run has none, and a ratio needs some; plan pass@1 instead"
        )
    log_energy = math.log(energy[0] / energy[1])
    return log_energy if measure == "energy" else math.log(rates[0] / rates[1]) - log_energy


def _influence(table: TaskTable, replicate: tuple[Floats, Floats], measure: PlannedMeasure) -> Floats:
    """What each task adds to the measure, from one replicate's (pass rate, energy), each of shape (2, tasks)."""
    passed, used_j = replicate
    parts = passed
    if measure != "pass@1":
        relative_energy = used_j / table.energy_j.mean(axis=1, keepdims=True)
        relative_rate = passed / table.pass_rates().mean(axis=1, keepdims=True)
        parts = relative_energy if measure == "energy" else relative_rate - relative_energy
    return np.asarray(parts[0] - parts[1])


def _replicates(comparison: Comparison, table: TaskTable, energy: EnergyKind) -> list[tuple[Floats, Floats]]:
    """(verdict, energy) of each sample of each repeat, as arrays (2, tasks); as many as both configurations have."""
    samples = comparison.samples()
    samples = samples[samples["task_id"].isin(table.task_ids)]
    per_label = []
    for label in table.labels:
        own = samples[samples["configuration"] == label]
        own = own.assign(_n=own.sort_values(["run", "sample_index"]).groupby("task_id").cumcount())
        verdicts = own.pivot(index="task_id", columns="_n", values="passed").reindex(list(table.task_ids))
        energies = own.pivot(index="task_id", columns="_n", values=f"{energy}_j").reindex(list(table.task_ids))
        # A task's energy is that of all samples of a run: one sample stands for that many.
        per_run = verdicts.shape[1] / len(next(c for c in comparison.configurations if c.label == label).runs)
        per_label.append((verdicts.to_numpy(dtype=np.float64), energies.to_numpy(dtype=np.float64) * per_run))
    count = min(v.shape[1] for v, _ in per_label)
    return [
        (np.stack([v[:, r] for v, _ in per_label]), np.stack([e[:, r] for _, e in per_label])) for r in range(count)
    ]


def _meter_variance(comparison: Comparison, table: TaskTable) -> float:
    runs = {c.label: len(c.runs) for c in comparison.configurations}
    return float(sum(se**2 * runs[label] for label, se in zip(table.labels, table.relative_se, strict=True)))
