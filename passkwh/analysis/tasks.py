"""Samples summed per task and configuration: the matched table that paired tests and the bootstrap work on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from passkwh.analysis.pooling import Comparison
from passkwh.errors import UsageError
from passkwh.measures import pass_at_k
from passkwh.passk import pass_at_k_by_task

EnergyKind = Literal["gross", "net"]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TaskTable:
    """Arrays of shape (configurations, tasks), each over the same tasks in the same order.

    Energies, tokens and times are of one run (the mean over repeats, summed over a task's samples); NaN where missing.
    """

    labels: tuple[str, ...]
    task_ids: tuple[str, ...]
    evaluated: NDArray[np.int64]
    """Samples with a verdict, over all repeats."""
    passed: NDArray[np.int64]
    energy_j: Floats
    generation_j: Floats
    tokens: Floats
    generation_s: Floats
    relative_se: Floats
    """Shape (configurations,): relative standard error of a configuration's energy that resampling tasks cannot see."""
    notes: tuple[str, ...] = ()

    @property
    def has_verdicts(self) -> bool:
        """Whether every configuration has a verdict on every task."""
        return bool((self.evaluated > 0).all())

    def missing_pass_at(self, k: int = 1) -> tuple[str | None, ...]:
        """Why each configuration has no pass@k: not all of its tasks have k evaluated samples. None where it has."""
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
        """The known energies of each configuration, in joules a task, by label."""
        return {label: row[~np.isnan(row)] for label, row in zip(self.labels, self.energy_j, strict=True)}

    def select(self, labels: Sequence[str]) -> TaskTable:
        """Only these configurations, in this order."""
        rows = [self.labels.index(label) for label in labels]
        chosen = {name: getattr(self, name)[rows] for name in (*_PER_TASK, "relative_se")}
        return replace(self, labels=tuple(labels), **chosen)

    def over(self, tasks: NDArray[np.int64]) -> TaskTable:
        """Only the tasks at these positions."""
        chosen = {name: getattr(self, name)[:, tasks] for name in _PER_TASK}
        return replace(self, task_ids=tuple(self.task_ids[int(t)] for t in tasks), **chosen)


_PER_TASK = ("evaluated", "passed", "energy_j", "generation_j", "tokens", "generation_s")
"""The arrays of shape (configurations, tasks)."""


def task_table(comparison: Comparison, energy: EnergyKind = "gross") -> TaskTable:
    """Sum a comparison's samples per task.

    A task is left out, with a note, where some configuration has no verdict on it while others do, or where its energy
    is missing in a configuration that has energies otherwise: every figure is over the same tasks.

    Raises:
        UsageError: when no task is left.
    """
    labels, tasks = comparison.labels(), list(comparison.task_ids)
    shape = (len(labels), len(tasks))
    samples = comparison.frames.samples
    run = samples["run"].to_numpy(dtype=np.int64)
    # Plain dictionaries and arrays: for the thousand samples of one run, pandas takes several times as long.
    place = {task: i for i, task in enumerate(tasks)}
    column = np.array([place.get(task, -1) for task in samples["task_id"].tolist()], dtype=np.int64)
    row_of = np.empty(len(comparison.frames.runs), dtype=np.int64)
    for i, configuration in enumerate(comparison.configurations):
        row_of[list(configuration.runs)] = i
    common = column >= 0
    cell = (row_of[run] * len(tasks) + column)[common]

    def values_of(name: str) -> Floats:
        return samples[name].to_numpy(dtype=np.float64)[common]

    def per_task(values: Floats) -> Floats:
        sums = np.bincount(cell, values, minlength=shape[0] * shape[1])
        return sums.astype(np.float64, copy=False).reshape(shape)

    runs = np.array([len(c.runs) for c in comparison.configurations], dtype=np.float64)[:, None]
    verdicts, energies_j = values_of("passed"), values_of(f"{energy}_j")
    evaluated = per_task((~np.isnan(verdicts)).astype(np.float64)).astype(np.int64)
    passed = per_task(np.nan_to_num(verdicts)).astype(np.int64)
    energy_j = per_task(energies_j) / runs
    generation_j = per_task(values_of(f"generation_{energy}_j")) / runs
    tokens = per_task(values_of("completion_tokens")) / runs
    generation_s = per_task(values_of("generation_s")) / runs

    keep, notes = _usable(evaluated, energy_j, labels)
    if not keep.any():
        raise UsageError("no task has a verdict and an energy in every configuration: compare fewer, or run them again")
    kept_tasks = tuple(t for t, k in zip(tasks, keep, strict=True) if k)
    kept = keep[column[common]]
    relative_se = _relative_se(comparison, run[common][kept], energies_j[kept], energy)
    return TaskTable(
        tuple(labels), kept_tasks, evaluated[:, keep], passed[:, keep], energy_j[:, keep], generation_j[:, keep],
        tokens[:, keep], generation_s[:, keep], relative_se, tuple(notes),
    )  # fmt: skip


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


def _relative_se(comparison: Comparison, run: NDArray[np.int64], energies_j: Floats, energy: EnergyKind) -> Floats:
    """Error of a configuration's mean run energy from its meter, or from how repeats differ where that is larger.

    ``run`` and ``energies_j`` are of every sample. Repeats differ by the meter's error too, so the two are alternatives
    and not summed.
    """
    known = ~np.isnan(energies_j)
    totals_j = _sums(run[known], energies_j[known], len(comparison.frames.runs))
    result = []
    for configuration in comparison.configurations:
        energies = totals_j[list(configuration.runs)]
        mean = float(energies.mean())
        if not mean > 0:
            result.append(0.0)
            continue
        meter = [comparison.frames.runs[run].energy_se_j(energy) or 0.0 for run in configuration.runs]
        from_meter = float(np.sqrt(np.sum(np.square(meter)))) / len(meter)
        from_repeats = float(energies.std(ddof=1) / np.sqrt(len(energies))) if len(energies) > 1 else 0.0
        result.append(max(from_meter, from_repeats) / mean)
    return np.array(result)


def _sums(group: NDArray[np.int64], values: Floats, groups: int) -> Floats:
    """Correctly rounded sum of each group's values, shape (groups,); NaN for a group without any."""
    order = np.argsort(group, kind="stable")
    parts = np.split(values[order], np.searchsorted(group[order], np.arange(1, groups)))
    return np.array([math.fsum(part.tolist()) if len(part) else np.nan for part in parts])
