"""The matched table of tasks and configurations that paired tests and the bootstrap work on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from passkwh.analysis.error_model import Measured, RunTotals
from passkwh.analysis.units_of_measurement import joint, numbered, sums
from passkwh.measures import pass_at_k
from passkwh.passk import pass_at_k_by_task

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
    widened: Floats = field(default_factory=lambda: np.empty(0))
    """Factor of the variance of each configuration's units, for what blocks over time share with their neighbours."""
    greedy: bool = False
    """Decoding is deterministic: a completion that is made again is a copy."""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        width, tasks = self.energy_j.shape
        if self.units.size == 0:
            object.__setattr__(self, "units", np.tile(np.arange(tasks), (width, 1)))
        if not self.kinds:
            object.__setattr__(self, "kinds", ("task",) * width)
        if self.widened.size == 0:
            object.__setattr__(self, "widened", np.ones(width))
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
        return Measured(self.energy_j, self.units, self.runs, stated, self.widened)

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
        if k not in self._rates:
            rates = np.full(self.evaluated.shape, np.nan)
            for i, reason in enumerate(self.missing_pass_at(k)):
                if reason is None:
                    rates[i] = pass_at_k_by_task(self.evaluated[i], self.passed[i], k)
            rates.flags.writeable = False
            self._rates[k] = rates
        return self._rates[k]

    @cached_property
    def _rates(self) -> dict[int, Floats]:
        """``pass_rates`` by k, as they are asked for."""
        return {}

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
            kinds=tuple(self.kinds[i] for i in rows), runs=tuple(self.runs[i] for i in rows),
            widened=self.widened[rows], **chosen,
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
        widened=np.concatenate([t.widened for t in tables]), greedy=tables[0].greedy,
        **{name: np.concatenate([getattr(t, name) for t in cut]) for name in _PER_TASK},
    )  # fmt: skip
