"""Samples summed per task and configuration: the matched table that paired tests and the bootstrap work on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from passkwh.analysis.error_model import Measured, RunTotals
from passkwh.analysis.pooling import Comparison
from passkwh.analysis.units_of_measurement import batches, block_length, blocks, joint, numbered, sums
from passkwh.errors import UsageError
from passkwh.measures import pass_at_k
from passkwh.passk import pass_at_k_by_task

EnergyKind = Literal["gross", "net"]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
UnitKind = Literal["task", "batch", "time block"]


@dataclass(frozen=True)
class TaskTable:
    """Arrays of shape (configurations, tasks), each over the same tasks in the same order.

    Energies, tokens and times are of one run (the mean over repeats, summed over a task's samples); NaN where missing.
    """

    labels: tuple[str, ...]
    task_ids: tuple[str, ...]
    evaluated: Ints
    """Samples with a verdict, over all repeats."""
    passed: Ints
    energy_j: Floats
    generation_j: Floats
    tokens: Floats
    generation_s: Floats
    stated: dict[str, Floats] = field(default_factory=dict)
    """By source (meter, idle, drift) the relative standard error of a mean run, shape (configurations,)."""
    units: Ints = field(default_factory=lambda: np.empty((0, 0), dtype=np.int64))
    """What each task was measured with: tasks of a configuration with one number are one measurement."""
    kinds: tuple[UnitKind, ...] = ()
    """What the units of each configuration are."""
    runs: tuple[RunTotals, ...] = ()
    greedy: bool = False
    """Decoding is deterministic: a completion that is made again is a copy."""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        width, tasks = self.energy_j.shape
        if self.units.size == 0:
            object.__setattr__(self, "units", np.tile(np.arange(tasks), (width, 1)))
        if not self.kinds:
            object.__setattr__(self, "kinds", ("task",) * width)
        if not self.runs:
            object.__setattr__(self, "runs", tuple(self._one_run(i) for i in range(width)))

    def _one_run(self, i: int) -> RunTotals:
        energy, generation, tokens, seconds = (
            float(one[i].sum()) for one in (self.energy_j, self.generation_j, self.tokens, self.generation_s)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            per_token, speed = np.divide([generation, tokens], [tokens, seconds])
        return RunTotals(np.array([energy]), np.array([per_token]), np.array([speed]), 0.0)

    @property
    def has_verdicts(self) -> bool:
        """Whether every configuration has a verdict on every task."""
        return bool((self.evaluated > 0).all())

    @cached_property
    def measured(self) -> Measured:
        """What the error model takes of it."""
        stated = self.stated or {"meter": np.zeros(len(self.labels))}
        return Measured(self.energy_j, self.units, self.runs, stated)

    def missing_pass_at(self, k: int = 1) -> tuple[str | None, ...]:
        """Why each configuration has no pass@k: not all of its tasks have k evaluated samples. None where it has."""
        if k > 1 and self.greedy:
            return ("decoding is greedy, so completions of a task are copies of one",) * len(self.labels)
        return tuple(
            "samples have no verdicts" if not row.any() else pass_at_k([(n, 0) for n in row.tolist()], k)[1]
            for row in self.evaluated
        )

    def pass_rates(self, k: int = 1) -> Floats:
        """pass@k of each task, shape (configurations, tasks); NaN throughout for a configuration that has none."""
        rates = np.full(self.evaluated.shape, np.nan)
        for i, reason in enumerate(self.missing_pass_at(k)):
            if reason is None:
                rates[i] = pass_at_k_by_task(self.evaluated[i], self.passed[i], k)
        return rates

    def energies(self) -> dict[str, Floats]:
        """The known energies of each configuration, in joules a unit of measurement, by label."""
        known = {}
        for label, row, units in zip(self.labels, self.energy_j, self.units, strict=True):
            number, count = numbered(units)
            per_unit = sums(row, number, count)
            known[label] = per_unit[~np.isnan(per_unit)]
        return known

    def groups(self, labels: Sequence[str]) -> tuple[dict[str, Floats], str | None]:
        """Energies of these configurations as independent groups of like units; or why there are none."""
        per_unit, apart = self.matched_energies(labels)
        if apart is None or not labels:
            return dict(zip(labels, per_unit.T, strict=True)), apart
        chosen = self.select(labels)
        counts = [len(np.unique(units)) for units in chosen.units]
        if max(counts) > 1.05 * min(counts):
            return {}, "batches of unlike size are not alike in energy, whatever is run in them"
        return chosen.energies(), None

    def matched_energies(self, labels: Sequence[str]) -> tuple[Floats, str | None]:
        """Energies of these configurations a common unit, shape (units, configurations); or why there are none."""
        if not labels:
            return np.empty((0, 0)), "no configuration has an energy on every task"
        chosen = self.select(labels)
        of_task, count, matched = joint(chosen.units)
        if not matched:
            return np.empty((0, len(labels))), "their batches hold different tasks, so that nothing was measured alike"
        return sums(chosen.energy_j, of_task, count).T, None

    def metered(self) -> tuple[str, ...]:
        """The configurations that have an energy on every task."""
        return tuple(label for label, row in zip(self.labels, self.energy_j, strict=True) if not np.isnan(row).any())

    def select(self, labels: Sequence[str]) -> TaskTable:
        """Only these configurations, in this order."""
        rows = [self.labels.index(label) for label in labels]
        chosen = {name: getattr(self, name)[rows] for name in _PER_TASK}
        return replace(
            self, labels=tuple(labels), stated={name: one[rows] for name, one in self.stated.items()},
            kinds=tuple(self.kinds[i] for i in rows), runs=tuple(self.runs[i] for i in rows), **chosen,
        )  # fmt: skip

    def over(self, tasks: Ints) -> TaskTable:
        """Only the tasks at these positions; repeats scatter as on all tasks."""
        chosen = {name: getattr(self, name)[:, tasks] for name in _PER_TASK}
        chosen["units"] = np.array([numbered(row)[0] for row in chosen["units"]]).reshape(len(self.labels), -1)
        return replace(self, task_ids=tuple(self.task_ids[int(t)] for t in tasks), **chosen)


_PER_TASK = ("evaluated", "passed", "energy_j", "generation_j", "tokens", "generation_s", "units")
"""The arrays of shape (configurations, tasks)."""


def join(tables: Sequence[TaskTable], labels: Sequence[str]) -> TaskTable | None:
    """One table of all configurations over the tasks that all of the tables have; None where they share none."""
    where = [{task: place for place, task in enumerate(table.task_ids)} for table in tables]
    common = [task for task in where[0] if all(task in places for places in where)]
    if not common:
        return None
    cut = [table.over(np.array([places[task] for task in common])) for table, places in zip(tables, where, strict=True)]
    sources = dict.fromkeys(name for table in tables for name in table.stated)
    return TaskTable(
        labels=tuple(labels), task_ids=tuple(common),
        stated={
            name: np.concatenate([t.stated.get(name, np.zeros(len(t.labels))) for t in tables]) for name in sources
        },
        kinds=tuple(kind for t in cut for kind in t.kinds), runs=tuple(run for t in cut for run in t.runs),
        greedy=tables[0].greedy, **{name: np.concatenate([getattr(t, name) for t in cut]) for name in _PER_TASK},
    )  # fmt: skip


def task_table(comparison: Comparison, energy: EnergyKind = "gross") -> TaskTable:
    """Sum a comparison's samples per task.

    A task is left out, with a note, where some configuration has no verdict on it while others do, or where its energy
    is missing in a configuration that has energies otherwise: every figure is over the same tasks. A run without any
    energy is left out of its configuration's energy.

    Raises:
        UsageError: when no task is left.
    """
    return _Reader(comparison, energy).table()


class _Reader:
    """Sums of a comparison's samples by run and task."""

    def __init__(self, comparison: Comparison, energy: EnergyKind) -> None:
        self.comparison, self.energy = comparison, energy
        self.labels, self.tasks = comparison.labels(), list(comparison.task_ids)
        self.samples = comparison.frames.samples
        # Plain dictionaries and arrays: for the thousand samples of one run, pandas takes several times as long.
        place = {task: i for i, task in enumerate(self.tasks)}
        column = np.array([place.get(task, -1) for task in self.samples["task_id"].tolist()], dtype=np.int64)
        self.common = column >= 0
        self.column = column[self.common]
        self.run = self.samples["run"].to_numpy(dtype=np.int64)
        self.cell = self.run[self.common] * len(self.tasks) + self.column
        self.shape = (len(comparison.frames.runs), len(self.tasks))

    def values(self, name: str) -> Floats:
        """A column of the samples on common tasks."""
        return self.samples[name].to_numpy(dtype=np.float64)[self.common]

    def by_task(self, values: Floats) -> Floats:
        """Sums, shape (runs, tasks)."""
        sums_of = np.bincount(self.cell, values, minlength=self.shape[0] * self.shape[1])
        return sums_of.astype(np.float64, copy=False).reshape(self.shape)

    def table(self) -> TaskTable:
        """The table, over the tasks that can be used."""
        verdicts = self.values("passed")
        evaluated, passed = (
            self.by_task((~np.isnan(verdicts)).astype(np.float64)),
            self.by_task(np.nan_to_num(verdicts)),
        )
        energy_j = self.by_task(self.values(f"{self.energy}_j"))
        generation_j = self.by_task(self.values(f"generation_{self.energy}_j"))
        tokens, seconds = self.by_task(self.values("completion_tokens")), self.by_task(self.values("generation_s"))
        members = [list(c.runs) for c in self.comparison.configurations]
        dark = np.asarray(np.isnan(energy_j).all(axis=1), dtype=np.bool_)
        lit = [[run for run in own if not dark[run]] or own for own in members]
        notes = [
            f"{label}: {len(own) - len(used)} of {len(own)} runs have no energy; its energy is of the others"
            for label, own, used in zip(self.labels, members, lit, strict=True) if len(used) < len(own)
        ]  # fmt: skip

        def total(values: Floats) -> Ints:
            return np.array([values[own].sum(axis=0) for own in members]).astype(np.int64)

        def mean(values: Floats, of: list[list[int]]) -> Floats:
            return np.array([values[own].sum(axis=0) / len(own) for own in of])

        mean_j = mean(energy_j, lit)
        keep, left_out = _usable(total(evaluated), mean_j, self.labels)
        if not keep.any():
            raise UsageError(
                "no task has a verdict and an energy in every configuration: compare fewer, or run them again"
            )
        order, units, kinds, cut = self._units(members, keep)
        totals = (energy_j[:, keep], generation_j[:, keep], tokens[:, keep], seconds[:, keep])
        table = TaskTable(
            tuple(self.labels), tuple(t for t, k in zip(self.tasks, keep, strict=True) if k),
            total(evaluated)[:, keep], total(passed)[:, keep], mean_j[:, keep], mean(generation_j, lit)[:, keep],
            mean(tokens, members)[:, keep], mean(seconds, members)[:, keep], self._stated(lit), units, kinds,
            tuple(self._run_totals(a, b, of, totals) for a, b, of in zip(members, lit, units, strict=True)),
            self.comparison.frames.runs[0].manifest.spec.temperature == 0,
        )  # fmt: skip
        return _in_blocks(replace(table, notes=(*notes, *left_out, *cut)), order)

    def _units(
        self, members: list[list[int]], keep: NDArray[np.bool_]
    ) -> tuple[Floats, Ints, tuple[UnitKind, ...], list[str]]:
        """Each task's place in time and unit by configuration, what the units are, and notes."""
        position, batch_id = self.values("order"), self.samples["batch_id"].to_numpy(dtype=np.int64)[self.common]
        run = self.run[self.common]
        order, units = (
            np.zeros((len(members), int(keep.sum()))),
            np.zeros((len(members), int(keep.sum())), dtype=np.int64),
        )
        kinds: list[UnitKind] = []
        notes = []
        kept = np.cumsum(keep) - 1
        chosen = keep[self.column]
        first = np.full(self.shape, np.inf)
        np.minimum.at(first.ravel(), self.cell, position)
        owner = np.empty(self.shape[0], dtype=np.int64)
        for i, own in enumerate(members):
            owner[own] = i
        of = np.where(chosen, owner[run], -1)
        for i, own in enumerate(members):
            mine = np.flatnonzero(of == i)
            units[i], alike = batches(kept[self.column[mine]], run[mine], batch_id[mine], int(keep.sum()))
            order[i] = first[own[0]][keep]
            kinds.append("batch" if len(np.unique(units[i])) < units.shape[1] else "task")
            if not alike:
                notes.append(
                    f"repeats of {self.labels[i]} cut their batches differently: its units are the first run's"
                )
        batched = [i for i, kind in enumerate(kinds) if kind == "batch"]
        if batched:
            counts = [len(np.unique(units[i])) for i in batched]
            number = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)}-{max(counts)}"
            who = "" if len(batched) == len(members) else f" of {', '.join(self.labels[i] for i in batched[:4])}"
            notes.append(
                f"tasks of one batch share one measurement: energies{who} are resampled and tested by {number} batches"
            )
        if not joint(units).matched:
            notes.append(
                "the configurations' batches hold different tasks, so their energies are not matched task by task: "
                "each goes by its own batches, which finds less; run them with one batch size and order to match them"
            )
        return order, units, tuple(kinds), notes

    def _run_totals(
        self, own: list[int], lit: list[int], units: Ints, totals: tuple[Floats, Floats, Floats, Floats]
    ) -> RunTotals:
        """Of one configuration; its noise from how the shares of units differ between repeats."""
        energy_j, generation_j, tokens, seconds = totals
        totals_j = np.array([math.fsum(energy_j[run].tolist()) for run in lit])
        with np.errstate(divide="ignore", invalid="ignore"):
            per_token = generation_j[lit].sum(axis=1) / tokens[lit].sum(axis=1)
            speed = tokens[own].sum(axis=1) / seconds[own].sum(axis=1)
        noise = 0.0
        if len(lit) > 1 and (totals_j > 0).all():
            number, count = numbered(units)
            shares = sums(energy_j[lit] / totals_j[:, None], number, count)
            noise = float(shares.var(axis=0, ddof=1).sum()) * count / max(count - 1, 1)
        sessions = [self.comparison.frames.runs[run].manifest.sessions for run in own]
        return RunTotals(totals_j, per_token, speed, noise, tuple(one[0].started_at if one else "" for one in sessions))

    def _stated(self, lit: list[list[int]]) -> dict[str, Floats]:
        """Relative standard errors of each configuration's mean run, by source: what all tasks share, a subset does."""
        runs = self.comparison.frames.runs
        energies_j = self.samples[f"{self.energy}_j"].to_numpy(dtype=np.float64)
        totals_j = _sums(self.run, np.nan_to_num(energies_j), len(runs))
        readings_j = self._readings_j(len(runs))
        errors = np.zeros((3, len(runs)))
        for i, run in enumerate(runs):
            if totals_j[i] > 0:
                idle = run.idle_se_j() if self.energy == "net" else (0.0, 0.0)
                errors[:, i] = np.array([run.common_se_j(float(readings_j[i])), *idle]) / totals_j[i]
        of_mean = np.array([np.sqrt((errors[:, own] ** 2).sum(axis=1)) / len(own) for own in lit]).T
        return dict(zip(("meter", "idle", "drift"), of_mean, strict=True))

    def _readings_j(self, runs: int) -> Floats:
        """What errors of single readings make of each run's generation: those of a batch's shares go together."""
        se_j = np.nan_to_num(self.samples["generation_se_j"].to_numpy(dtype=np.float64))
        if not se_j.any():
            return np.zeros(runs)
        _, batch = np.unique(
            np.stack([self.run, self.samples["batch_id"].to_numpy(np.int64)]), axis=1, return_inverse=True
        )
        batch = batch.ravel()
        of_batch, run_of = np.bincount(batch, se_j), np.zeros(batch.max() + 1, dtype=np.int64)
        run_of[batch] = self.run
        return np.asarray(np.sqrt(np.bincount(run_of, of_batch**2, minlength=runs)), dtype=np.float64)


def _in_blocks(table: TaskTable, order: Floats) -> TaskTable:
    """Units joined to blocks over time, where energies follow one another in time within runs."""
    lit = [i for i, row in enumerate(table.energy_j) if not np.isnan(row).any()]
    if not lit:
        return table
    together = len(np.unique(np.argsort(order[lit], axis=1, kind="stable"), axis=0)) == 1
    of_task, count, matched = joint(table.units[lit])
    units = table.units.copy()
    if together and matched:
        residuals = _over_time(table.energy_j[lit], table.tokens[lit], of_task, count, order[lit[0]])
        length = block_length(residuals)
        for i in lit if length > 1 else ():
            units[i] = blocks(of_task, order[i], length)
        lengths = dict.fromkeys(lit, length)
    else:
        lengths = {}
        for i in lit:
            number, own = numbered(units[i])
            series = _over_time(table.energy_j[[i]], table.tokens[[i]], number, own, order[i])
            lengths[i] = block_length(series)
            if lengths[i] > 1:
                units[i] = blocks(number, order[i], lengths[i])
    blocked = [i for i, length in lengths.items() if length > 1]
    if not blocked:
        return table
    names = ", ".join(table.labels[i] for i in blocked[:4]) + (", ..." if len(blocked) > 4 else "")
    note = (
        f"energies follow one another in time ({names}): they are resampled and tested in blocks of up to "
        f"{max(lengths.values())} neighbours, {min(len(np.unique(units[i])) for i in blocked)} of them"
    )
    kinds = tuple("time block" if i in blocked else kind for i, kind in enumerate(table.kinds))
    return replace(table, units=units, kinds=kinds, notes=(*table.notes, note))


def _over_time(energy_j: Floats, tokens: Floats, of_task: Ints, count: int, order: Floats) -> Floats:
    """Log energies of units in the order of time without what tasks have in common, shape (configurations, units).

    Of several configurations: without the means over configurations and over units. Of one: without what its tokens
    explain. Empty where an energy is not above 0.
    """
    per_unit, of_tokens = sums(energy_j, of_task, count), sums(tokens, of_task, count)
    if not (per_unit > 0).all() or count < 3:
        return np.empty((0, count))
    moment = np.full(count, np.inf)
    np.minimum.at(moment, of_task, order)
    logs = np.log(per_unit)[:, np.argsort(moment, kind="stable")]
    if len(logs) > 1:
        centred: Floats = logs - logs.mean(axis=0) - logs.mean(axis=1, keepdims=True) + logs.mean()
        return centred
    x = np.log1p(of_tokens[0][np.argsort(moment, kind="stable")])
    design = np.column_stack([np.ones(count), x])
    fitted = design @ np.linalg.lstsq(design, logs[0], rcond=None)[0]
    rest: Floats = (logs[0] - fitted)[None, :]
    return rest


def _usable(evaluated: NDArray[np.int64], energy_j: Floats, labels: list[str]) -> tuple[NDArray[np.bool_], list[str]]:
    keep = np.ones(evaluated.shape[1], dtype=bool)
    notes = []
    judged = np.any(evaluated > 0, axis=1)
    if judged.any():
        notes += [f"{labels[i]} has no verdicts, so nothing is said about accuracy" for i in np.flatnonzero(~judged)]
        silent = (evaluated[judged] == 0).any(axis=0)
        if silent.any():
            notes.append(f"{int(silent.sum())} tasks are left out because a configuration was not evaluated on them")
        keep &= ~silent
    missing = np.isnan(energy_j)
    metered = ~np.all(missing, axis=1)
    notes += [f"{labels[i]} has no energy, so its energy figures are missing" for i in np.flatnonzero(~metered)]
    if metered.any():
        unread = missing[metered].any(axis=0)
        if (unread & keep).any():
            notes.append(f"{int((unread & keep).sum())} tasks are left out because an energy is missing on them")
        keep &= ~unread
    return keep, notes


def _sums(group: NDArray[np.int64], values: Floats, groups: int) -> Floats:
    """Correctly rounded sum of each group's values, shape (groups,); NaN for a group without any."""
    order = np.argsort(group, kind="stable")
    parts = np.split(values[order], np.searchsorted(group[order], np.arange(1, groups)))
    return np.array([math.fsum(part.tolist()) if len(part) else np.nan for part in parts])
