"""What was measured once: a task, a batch of tasks, or a stretch of time; the unit that is resampled and tested.

The meter reads a batch, not its members: their shares are one measurement, divided by a rule. So tasks of one batch are
one observation of energy. Where energies still follow one another in time, neighbouring units are joined into blocks
(:mod:`passkwh.analysis.time_blocks`). Verdicts are of tasks, whatever shared a batch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

FEWEST = 20
"""So many units are enough to be matched however few they are of a side's own; and fewer say nothing of time."""


class JointUnits(NamedTuple):
    """Units that several configurations have in common."""

    of_task: Ints
    """Shape (tasks,), from 0."""
    number: int
    matched: bool
    """Whether the units hold of every configuration; otherwise each has only its own."""


def batches(task: Ints, run: Ints, batch_id: Ints, tasks: int) -> tuple[Ints, bool]:
    """The unit of each task of one configuration, shape (tasks,), from samples; and whether runs cut batches alike.

    Tasks that shared a batch in any run are one unit. Where repeats cut their batches so differently that this joins
    almost everything, the cut of the first run is taken: what repeats scatter by is known from their totals then.
    """
    batch = batch_of_run(run, batch_id)
    if len(np.unique(batch * tasks + task)) == batch.max(initial=-1) + 1:
        return np.arange(tasks, dtype=np.int64), True  # no batch holds two tasks
    units, count = _components(task, batch, tasks)
    first = run == run[0]
    own, most = _components(task[first], batch[first], tasks)
    return (units, True) if 2 * count >= most else (own, False)


def batch_of_run(run: Ints, batch_id: Ints) -> Ints:
    """The batch of each sample, shape (samples,), numbered from 0 over all runs."""
    if not len(run):
        return run
    within = batch_id - batch_id.min()
    inverse: Ints = np.unique(run * (int(within.max()) + 1) + within, return_inverse=True)[1].ravel()
    return inverse


def _components(task: Ints, batch: Ints, tasks: int) -> tuple[Ints, int]:
    """Tasks that hang together by common batches, numbered in the order of tasks."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    size = tasks + int(batch.max(initial=-1)) + 1
    graph = coo_array((np.ones(len(task), dtype=np.int8), (task, tasks + batch)), shape=(size, size))
    _, labels = connected_components(graph, directed=False)
    return numbered(labels[:tasks])


def numbered(labels: NDArray[np.integer]) -> tuple[Ints, int]:
    """Labels as numbers from 0 in order of appearance, and how many there are."""
    steps = np.diff(labels)
    if (steps >= 0).all():  # in order already, which saves sorting them
        in_order = np.concatenate([np.zeros(min(len(labels), 1), dtype=np.int64), np.cumsum(steps > 0)])
        return in_order, int(in_order[-1]) + 1 if len(labels) else 0
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse.ravel()], len(first)


def joint(units: Ints) -> JointUnits:
    """The finest units that hold of every configuration; ``units`` has shape (configurations, tasks).

    They are matched where that leaves at least half as many as the side with the longest batches has, or 20: a batch of
    4 on one side and of 16 on the other meet in the 16. Batches cut at random meet nowhere, and are not matched.
    """
    tasks = units.shape[1]
    if (units == units[0]).all():
        of_task, count = numbered(units[0])
        return JointUnits(of_task, count, True)
    rows = np.unique(units, axis=0)
    offset = np.cumsum([0, *(int(row.max()) + 1 for row in rows[:-1])])
    of_task, count = _components(np.tile(np.arange(tasks), len(rows)), (rows + offset[:, None]).ravel(), tasks)
    fewest = min(len(np.unique(row)) for row in rows)
    return JointUnits(of_task, count, 2 * count >= fewest or count >= FEWEST)


def sums(values: Floats, of_task: Ints, count: int) -> Floats:
    """Of values of shape (..., tasks) the sums over units, shape (..., units)."""
    if count == values.shape[-1]:
        return values  # each task is its own unit, in order
    member = np.zeros((values.shape[-1], count))
    member[np.arange(len(of_task)), of_task] = 1.0
    result: Floats = values @ member
    return result
