"""Sums the samples of a comparison per task: totals, units of measurement, scatter and errors of runs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from passkwh.analysis.conventions import EnergyKind
from passkwh.analysis.error_model import RunTotals
from passkwh.analysis.pooling import Comparison
from passkwh.analysis.tasks import TaskTable, UnitKind
from passkwh.analysis.time_blocks import in_blocks
from passkwh.analysis.units_of_measurement import batch_of_run, batches, joint, numbered, sums
from passkwh.errors import UsageError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


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
            greedy=self.comparison.frames.runs[0].manifest.spec.temperature == 0,
        )  # fmt: skip
        return in_blocks(replace(table, notes=(*notes, *left_out, *cut)), order)

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
        noise, geometric_j, geometric_noise = 0.0, np.empty(0), 0.0
        if len(lit) > 1 and (totals_j > 0).all():
            number, count = numbered(units)
            noise = _between_runs(energy_j[lit] / totals_j[:, None], number, count)
            if (energy_j[lit] > 0).all():
                logs = np.log(energy_j[lit])
                of_run = logs.mean(axis=1)
                geometric_j = np.exp(of_run)
                geometric_noise = _between_runs((logs - of_run[:, None]) / logs.shape[1], number, count)
        sessions = [self.comparison.frames.runs[run].manifest.sessions for run in own]
        started = tuple(one[0].started_at if one else "" for one in sessions)
        return RunTotals(totals_j, per_token, speed, noise, started, geometric_j, geometric_noise)

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
        batch = batch_of_run(self.run, self.samples["batch_id"].to_numpy(np.int64))
        of_batch, run_of = np.bincount(batch, se_j), np.zeros(batch.max() + 1, dtype=np.int64)
        run_of[batch] = self.run
        return np.asarray(np.sqrt(np.bincount(run_of, of_batch**2, minlength=runs)), dtype=np.float64)


def _between_runs(parts: Floats, number: Ints, count: int) -> float:
    """Variance of a sum of parts, shape (runs, tasks), from what varies between runs in each unit by itself."""
    return float(sums(parts, number, count).var(axis=0, ddof=1).sum()) * count / max(count - 1, 1)


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
