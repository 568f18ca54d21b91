"""How many tasks, repeats and batches it takes to show something of two configurations, from pilot runs.

Each unit of measurement (a task, or a batch) contributes an amount to the measure, its influence. What units have of
their own (task x configuration) shrinks with units; what varies within units with units times repeats; what whole runs
differ by, and the stated errors of meter and idle, with repeats only: no number of tasks makes up for it. Student's t
counts for few runs, and the pilot's own error says between what numbers the answer may lie.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from passkwh.analysis.conventions import EnergyKind
from passkwh.analysis.pooling import Comparison
from passkwh.analysis.task_table import task_table
from passkwh.analysis.tasks import TaskTable, UnitKind
from passkwh.analysis.units_of_measurement import joint, sums
from passkwh.errors import UsageError
from passkwh.records import Record

Floats = NDArray[np.float64]
PlannedMeasure = Literal["energy", "pass@1", "pass@kWh"]
Goal = Literal["difference", "non-inferiority", "rank"]
MEASURES: tuple[PlannedMeasure, ...] = ("energy", "pass@1", "pass@kWh")
GOALS: tuple[Goal, ...] = ("difference", "non-inferiority", "rank")
REPEATS = (1, 2, 3, 5, 10)
MIN_TASKS = 10
"""The normal approximation behind the plan is not to be trusted for fewer units."""
MOST_REPEATS = 100
ASSUMED_RUN_SD = 0.02
"""Scatter of whole runs where no pilot was repeated: an assumption, called so."""


def repeats_to_show(log_ratio: float, run_sd: float, power: float = 0.8, alpha: float = 0.05) -> int | None:
    """Repeats a side for Student's t on run totals to show a log ratio; None where 100 are not enough.

    Example:
        >>> repeats_to_show(0.05, 0.02)
        4
    """
    from scipy import stats

    for repeats in range(2, MOST_REPEATS + 1):
        df = 2 * repeats - 2
        shift = abs(log_ratio) / (run_sd * math.sqrt(2 / repeats))
        if stats.nct.sf(stats.t.isf(alpha / 2, df), df, shift) >= power:
            return repeats
    return None


class SampleSizeRow(Record):
    """What is needed when every task is run so many times."""

    repeats: int
    tasks: Annotated[int | None, Field(description="None where no number of tasks is enough")]
    units: Annotated[int | None, Field(description="batches (or other units of measurement) that these tasks make")]
    tasks_low: Annotated[int | None, Field(description="where the pilot's variances are at their 95 % lower bounds")]
    tasks_high: Annotated[int | None, Field(description="at their upper bounds; None where then none is enough")]
    speaks_of: Literal["configurations", "these runs"]
    reason: str | None = None


class SampleSizePlan(Record):
    """What it takes to show one thing."""

    a: str
    b: str
    measure: PlannedMeasure
    goal: Goal
    scale: Literal["log ratio", "difference"]
    effect: Annotated[float, Field(description="the true difference that is planned for")]
    effect_source: Literal["observed in the pilot", "stated", "none: equal in truth"]
    margin: Annotated[float | None, Field(description="of non-inferiority")] = None
    alpha: Annotated[float, Field(description="of this one test: for a rank, divided by the number of pairs")]
    power: float
    unit: UnitKind
    tasks_per_unit: float
    variance_between: Annotated[float, Field(description="of one unit, which units alone average out")]
    variance_within: Annotated[float | None, Field(description="of one unit in one run; None where not known")]
    variance_runs: Annotated[float, Field(description="of one run of each, which repeats alone average out")]
    runs_source: Literal["repeats of the pilot", "stated errors of meter and idle", "assumed", "none"]
    pilot_tasks: int
    pilot_power: Annotated[float | None, Field(description="of the pilot itself, for this effect")]
    rows: tuple[SampleSizeRow, ...]
    notes: tuple[str, ...] = ()


class _Variances(NamedTuple):
    """Of the planned quantity: by one unit, by one unit in one run, by one run; with the pilot's degrees of freedom."""

    between: float
    within: float | None
    runs: float
    unit_df: float
    run_df: float
    stated: float
    """Of one run: errors of meter and idle."""

    def of(self, units: float, repeats: int, *, runs: bool) -> tuple[float, float]:
        """Variance and degrees of freedom of a design."""
        from_units = (self.between + (self.within or 0.0) / repeats) / units
        from_runs = (max(self.runs, self.stated) if runs else self.stated) / repeats
        total = from_units + from_runs
        df_runs = 2.0 * (repeats - 1) if runs and repeats > 1 and self.runs > 0 else float("inf")
        lost = from_units**2 / max(units - 1, 1) + from_runs**2 / df_runs
        return total, total**2 / lost if lost > 0 else float("inf")

    def times(self, units: float, runs: float) -> _Variances:
        """With other variances, as far as the pilot leaves them open."""
        within = None if self.within is None else self.within * units
        return self._replace(between=self.between * units, within=within, runs=self.runs * runs)


def plan_sample_size(
    comparison: Comparison,
    a: str,
    b: str,
    measure: PlannedMeasure = "pass@kWh",
    effect: float | None = None,
    power: float = 0.8,
    alpha: float = 0.05,
    energy: EnergyKind = "gross",
    goal: Goal = "difference",
    margin: float = 0.02,
) -> SampleSizePlan:
    """Tasks, repeats and batches for a test at ``alpha`` with ``power``.

    ``effect`` is the true ratio minus one for energy and pass@kWh (0.05: five per cent), the true difference for
    pass@1; the pilot's own when None, and none for non-inferiority. A difference is tested on two sides; a rank as one
    of all pairs of the pilot's configurations; non-inferiority of pass@1 on one side against ``margin``. Raises
    UsageError where the pilot lacks what the measure needs.
    """
    if goal == "non-inferiority" and measure != "pass@1":
        raise UsageError("non-inferiority is planned for pass@1, of which --margin is")
    table = task_table(comparison, energy)
    if goal == "rank":
        alpha /= len(table.labels) * (len(table.labels) - 1) / 2
    table = table.select([a, b])
    observed = _estimate(table, measure)
    source: Literal["observed in the pilot", "stated", "none: equal in truth"] = "stated"
    if effect is not None:
        size = effect if measure == "pass@1" else math.log1p(effect)
    elif goal == "non-inferiority":
        size, source = 0.0, "none: equal in truth"
    else:
        size, source = observed, "observed in the pilot"
    distance = margin + size if goal == "non-inferiority" else abs(size)
    if not math.isfinite(size) or distance <= 0:
        what = "a loss that reaches --margin cannot be shown to be within it" if goal == "non-inferiority" else (
            f"the pilot shows no difference in {measure} between {a} and {b}: state one with --effect")  # fmt: skip
        raise UsageError(what)
    variances, kind, per_unit, known = _variances(table, measure)
    sided = alpha if goal == "non-inferiority" else alpha / 2
    of_task = _joint_units(table)[1]
    rows = tuple(_row(r, variances, distance, sided, power, per_unit, known) for r in REPEATS)
    notes = []
    if measure == "pass@1" and not _influence(table, measure).any():
        share = 1.0 / (len(table.task_ids) + 2)
        notes.append(
            f"no task of the pilot tells the two apart in pass@1: that {share:.1%} of tasks do is an assumption "
            "(Laplace's rule); take a larger pilot"
        )
    if variances.within is None:
        notes.append("the pilot has one sample a task: what repeats would gain within tasks is unknown, and left out")
    if source == "observed in the pilot":
        notes.append(
            "the pilot's own difference is a poor effect to plan for: state the smallest that matters (--effect)"
        )
    if known == "assumed" and measure != "pass@1":
        notes.append(f"the pilot has no repeats: that runs scatter by {ASSUMED_RUN_SD:.0%} is an assumption")
    repeats = min(len(run.energy_j) for run in table.runs)
    total, df = variances.of(of_task, repeats, runs=repeats > 1)
    return SampleSizePlan(
        a=a, b=b, measure=measure, goal=goal, scale="difference" if measure == "pass@1" else "log ratio", effect=size,
        effect_source=source, margin=margin if goal == "non-inferiority" else None, alpha=alpha, power=power, unit=kind,
        tasks_per_unit=per_unit, variance_between=variances.between, variance_within=variances.within,
        variance_runs=max(variances.runs, variances.stated), runs_source=known, pilot_tasks=len(table.task_ids),
        pilot_power=achieved_power(distance, math.sqrt(total), 2 * sided, df) if total > 0 else None, rows=rows,
        notes=tuple(notes),
    )  # fmt: skip


def achieved_power(effect: float, standard_error: float, alpha: float = 0.05, df: float = math.inf) -> float:
    """Power of a two-sided test, normal or Student's t with ``df``."""
    from scipy import stats

    shift = abs(effect) / standard_error
    if math.isinf(df) or df > 1e4:
        critical = float(stats.norm.isf(alpha / 2))
        return float(stats.norm.sf(critical - shift) + stats.norm.cdf(-critical - shift))
    critical = float(stats.t.isf(alpha / 2, df))
    power = float(stats.nct.sf(critical, df, shift))
    return power if math.isfinite(power) else float(stats.norm.sf(critical - shift))


def _row(
    repeats: int, variances: _Variances, distance: float, sided: float, power: float, per_unit: float, known: str
) -> SampleSizeRow:
    runs = repeats > 1
    of_units = _chi_bounds(variances.unit_df)
    of_runs = _chi_bounds(variances.run_df) if known == "repeats of the pilot" else (1.0, 1.0)
    least, needed, most = (
        _units(variances.times(u, r), repeats, distance, sided, power, runs=runs)
        for u, r in ((of_units[0], of_runs[0]), (1.0, 1.0), (of_units[1], of_runs[1]))
    )

    def tasks(units: int | None) -> int | None:
        return None if units is None else max(math.ceil(units * per_unit), MIN_TASKS)

    reason = None if needed is not None else "what runs differ by alone hides the effect: repeat more often"
    return SampleSizeRow(
        repeats=repeats, tasks=tasks(needed), units=needed, tasks_low=tasks(least), tasks_high=tasks(most),
        speaks_of="configurations" if runs else "these runs", reason=reason,
    )  # fmt: skip


def _units(
    variances: _Variances, repeats: int, distance: float, sided: float, power: float, *, runs: bool
) -> int | None:
    """The smallest number of units with the power, by doubling and bisection; None where a billion are not enough."""

    def enough(units: int) -> bool:
        variance, df = variances.of(units, repeats, runs=runs)
        return variance <= 0 or achieved_power(distance, math.sqrt(variance), 2 * sided, df) >= power

    high = 3
    while not enough(high):
        high *= 2
        if high > 1e9:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _chi_bounds(df: float) -> tuple[float, float]:
    """Factors by which a variance that was estimated may be off, 95 %."""
    from scipy import stats

    if not df >= 1 or math.isinf(df):
        return 1.0, 1.0
    return float(df / stats.chi2.ppf(0.975, df)), float(df / stats.chi2.ppf(0.025, df))


def _joint_units(table: TaskTable) -> tuple[NDArray[np.int64], int]:
    of_task, count, matched = joint(table.units)
    if not matched:
        raise UsageError("the pilot's batches hold different tasks: run both with one batch size and order to plan")
    return of_task, count


def _variances(
    table: TaskTable, measure: PlannedMeasure
) -> tuple[
    _Variances, UnitKind, float, Literal["repeats of the pilot", "stated errors of meter and idle", "assumed", "none"]
]:
    """Variances of the planned quantity, what a unit is, tasks a unit, and how the scatter of runs is known.

    Where no verdict of the pilot differs, the share of tasks on which the two differ is Laplace's: 1 / (tasks + 2).
    """
    of_accuracy = measure == "pass@1"
    of_task, count = (np.arange(len(table.task_ids)), len(table.task_ids)) if of_accuracy else _joint_units(table)
    influence = sums(_influence(table, measure), of_task, count)
    total = float(np.var(influence, ddof=1)) if count > 1 else 0.0
    if of_accuracy and not influence.any():
        total = 1.0 / (count + 2)
    if measure == "energy":  # blocks over time share some of their error with their neighbours
        total *= float(table.widened.max())
    repeats = min(len(run.energy_j) for run in table.runs)
    within: float | None = None
    if measure != "energy":
        within = _verdicts_within(table, relative=measure == "pass@kWh", per_unit=len(table.task_ids) / count)
    run_variance, run_df, stated, known = 0.0, math.inf, 0.0, "none"
    if not of_accuracy:
        measured = table.measured
        stated = float((measured.stated_se**2 * [len(run.energy_j) for run in table.runs]).sum())
        if measured.repeated:
            # Variance of a unit's influence is that of the log total times the number of units.
            own = sum(run.noise for run in table.runs if len(run.energy_j) > 1) * count
            within = own + (within or 0.0)
            error = measured.run_error
            scatter = [se**2 * len(run.energy_j) - run.noise for se, run in zip(error.se, table.runs, strict=True)]
            run_variance, run_df = max(sum(scatter), 0.0), float(np.min(error.df))
            known = "repeats of the pilot"
        else:
            run_variance = 2.0 * ASSUMED_RUN_SD**2
            known = "stated errors of meter and idle" if stated > run_variance else "assumed"
    seen = 0.0 if within is None else within / (repeats if measure == "energy" else _replicates(table))
    between = max(total - seen, 0.0)
    kinds = set(table.kinds) - {"task"}
    kind: UnitKind = "task" if of_accuracy or not kinds else sorted(kinds)[0]
    variances = _Variances(between, within, run_variance, count - 1.0, run_df, stated)
    return variances, kind, len(table.task_ids) / count, known  # type: ignore[return-value]


def _replicates(table: TaskTable) -> float:
    return float(table.evaluated.min())


def _verdicts_within(table: TaskTable, *, relative: bool, per_unit: float) -> float | None:
    """Variance of one unit's influence by verdicts that differ between samples of a task; None with one a task."""
    n = table.evaluated.astype(np.float64)
    if (n < 2).any():
        return None
    rates = table.pass_rates()
    of_sample = (rates * (1.0 - rates) * n / (n - 1.0)).mean(axis=1)
    if relative:
        of_sample = of_sample / rates.mean(axis=1) ** 2 / per_unit
    return float(of_sample.sum())


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


def _influence(table: TaskTable, measure: PlannedMeasure) -> Floats:
    """What each task adds to the measure of a against b, shape (tasks,): its mean is 0 for a log ratio.

    Scaled so that the variance of the sum over a unit, divided by the number of units, is that of the measure.
    """
    rates = table.pass_rates()
    if measure == "pass@1":
        return np.asarray(rates[0] - rates[1])
    count = _joint_units(table)[1]
    relative = table.energy_j / table.energy_j.sum(axis=1, keepdims=True)
    if measure == "pass@kWh":
        relative = rates / rates.sum(axis=1, keepdims=True) - relative
    return np.asarray((relative[0] - relative[1]) * count)


def choose_pair(comparison: Comparison, measure: PlannedMeasure, energy: EnergyKind) -> tuple[str, str]:
    """The first two of the pilot's ranking by a measure: what a rank is hardest to tell of."""
    table = task_table(comparison, energy)
    with np.errstate(divide="ignore", invalid="ignore"):
        rates, total = table.pass_rates().mean(axis=1), table.energy_j.sum(axis=1)
        value = {"energy": -total, "pass@1": rates, "pass@kWh": rates / total}[measure]
    order = np.argsort(-np.nan_to_num(value, nan=-np.inf), kind="stable")
    return table.labels[int(order[0])], table.labels[int(order[1])]
