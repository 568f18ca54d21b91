"""Blocks over time: neighbours that are one observation, where energies follow one another (drift, heat, clocks).

Neighbouring units are joined into blocks that are long enough to be about independent.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from passkwh.analysis.tasks import TaskTable
from passkwh.analysis.units_of_measurement import FEWEST, joint, numbered, sums

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

FEWEST_BLOCKS = 8
MEMORIES_PER_BLOCK = 5.0
"""Length of a block in correlation times, (1 + r) / (1 - r); what neighbours still share then is :func:`widening`."""


def lag_one(residuals: Floats) -> float:
    """Correlation of a series with itself one step before, about its mean; NaN where it does not vary."""
    centred = residuals - residuals.mean()
    variance = float(centred @ centred)
    return float(centred[1:] @ centred[:-1]) / variance if variance > 0 else float("nan")


def follows(residuals: Floats) -> float:
    """How closely units follow one another, from residuals of shape (series, units), each in the order of time.

    The largest correlation of a series with itself one step before; 0 where none is larger than chance would make it
    (one-sided, 5 % over all series), or there are fewer than 20 units.
    """
    from scipy import special

    n = residuals.shape[1]
    if n < FEWEST or not len(residuals):
        return 0.0
    # The estimate is too low by about (1 + 4 r) / n (Kendall 1954); without correlation by 1 / n.
    r = np.array([lag_one(one) for one in residuals]) + 1.0 / n
    r = r[np.isfinite(r)]
    critical = float(special.ndtri(1.0 - 0.05 / max(len(r), 1)))
    strongest = float(r.max(initial=0.0))
    return min(strongest + 4.0 * strongest / n, 0.95) if strongest * np.sqrt(n) > critical else 0.0


def block_length(r: float, units: int) -> int:
    """How many neighbours make a block where units follow one another with correlation ``r``.

    Five correlation times, but at least eight blocks are left; 1 without correlation.
    """
    if r <= 0.0:
        return 1
    return max(1, min(int(np.ceil(MEMORIES_PER_BLOCK * (1.0 + r) / (1.0 - r))), units // FEWEST_BLOCKS))


def widening(r: float, length: int) -> float:
    """How many times larger the variance of a mean is than blocks of ``length`` show: neighbours still share some.

    For a first-order autoregression the variance of a long mean is (1 + r) / (1 - r) times that of independent values,
    that of a block's mean 2 r (1 - r^L) / (L (1 - r)^2) less. 1 without correlation.
    """
    memory = (1.0 + r) / (1.0 - r)
    return memory / (memory - 2.0 * r * (1.0 - r**length) / (length * (1.0 - r) ** 2)) if r > 0.0 else 1.0


def blocks(of_task: Ints, order: Floats, length: int) -> Ints:
    """Units joined to blocks of ``length`` neighbours in time; ``order`` is each task's place in time."""
    count = int(of_task.max()) + 1
    moment = np.full(count, np.inf)
    np.minimum.at(moment, of_task, order)
    place = np.empty(count, dtype=np.int64)
    place[np.argsort(moment, kind="stable")] = np.arange(count)
    # A rest that is shorter than half a block goes to the block before it.
    number = np.minimum(place // length, max(0, round(count / length) - 1))
    result: Ints = number[of_task]
    return result


def in_blocks(table: TaskTable, order: Floats) -> TaskTable:
    """Units joined to blocks over time, where energies follow one another in time within runs."""
    lit = [i for i, row in enumerate(table.energy_j) if not np.isnan(row).any()]
    if not lit:
        return table
    widened = table.widened.copy()
    ranks = np.argsort(order[lit], axis=1, kind="stable")
    together = bool((ranks == ranks[0]).all())
    of_task, count, matched = joint(table.units[lit])
    units = table.units.copy()
    if together and matched:
        r = follows(_over_time(table.energy_j[lit], table.tokens[lit], of_task, count, order[lit[0]]))
        length = block_length(r, count)
        for i in lit if length > 1 else ():
            units[i], widened[i] = blocks(of_task, order[i], length), widening(r, length)
        lengths = dict.fromkeys(lit, length)
    else:
        lengths = {}
        for i in lit:
            number, own = numbered(units[i])
            r = follows(_over_time(table.energy_j[[i]], table.tokens[[i]], number, own, order[i]))
            lengths[i] = block_length(r, own)
            if lengths[i] > 1:
                units[i], widened[i] = blocks(number, order[i], lengths[i]), widening(r, lengths[i])
    blocked = [i for i, length in lengths.items() if length > 1]
    if not blocked:
        return table
    names = ", ".join(table.labels[i] for i in blocked[:4]) + (", ..." if len(blocked) > 4 else "")
    note = (
        f"energies follow one another in time ({names}): they are resampled and tested in blocks of up to "
        f"{max(lengths.values())} neighbours, {min(len(np.unique(units[i])) for i in blocked)} of them"
    )
    kinds = tuple("time block" if i in blocked else kind for i, kind in enumerate(table.kinds))
    return replace(table, units=units, kinds=kinds, widened=widened, notes=(*table.notes, note))


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
