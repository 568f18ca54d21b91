"""Pareto frontiers over any number of measures, each with its direction stated.

On the path of every run, so it imports nothing heavier than numpy. A point that misses a measure (NaN) cannot be
compared: it is never on a frontier and never keeps another point off it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Direction = Literal["min", "max"]


def _as_costs(points: ArrayLike, directions: Sequence[Direction]) -> NDArray[np.float64]:
    """Points with every measure turned so that less is better; shape (..., points, measures)."""
    unknown = [d for d in directions if d not in ("min", "max")]
    if unknown or not directions:
        raise ValueError(f"each measure needs a direction, min or max; got {list(directions)}")
    array = np.asarray(points, dtype=np.float64)
    if array.size == 0:
        return array.reshape(*array.shape[:-1], len(directions)) if array.ndim > 1 else np.empty((0, len(directions)))
    if array.ndim < 2 or array.shape[-1] != len(directions):
        raise ValueError(f"points have shape {array.shape}, but {len(directions)} directions were stated")
    costs: NDArray[np.float64] = array * np.array([1.0 if d == "min" else -1.0 for d in directions])
    return costs


def _undominated(costs: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points nothing dominates; costs have shape (..., points, measures)."""
    complete = ~np.isnan(costs).any(axis=-1)
    dominated = np.zeros(costs.shape[:-1], dtype=bool)
    with np.errstate(invalid="ignore"):
        for j in range(costs.shape[-2]):
            rival = costs[..., j : j + 1, :]
            dominated |= (rival <= costs).all(axis=-1) & (rival < costs).any(axis=-1)
    return complete & ~dominated


def frontier(points: Sequence[Sequence[float]] | ArrayLike, directions: Sequence[Direction]) -> list[bool]:
    """For each point, whether it is on the frontier: no other is at least as good everywhere and better somewhere.

    ``points`` has a row per point and a column per measure. Equal points do not dominate each other, so duplicates
    are on the frontier together. Raises ValueError where measures and directions do not match.
    """
    return [bool(on) for on in _undominated(_as_costs(points, directions))]


def frontier_probability(resampled: ArrayLike, directions: Sequence[Direction]) -> NDArray[np.float64]:
    """Share of resamples in which each point is on the frontier.

    ``resampled`` has shape (resamples, points, measures) and holds joint draws: row r of every point and measure
    belongs to the same resample.
    """
    costs = _as_costs(resampled, directions)
    if costs.ndim != 3 or costs.shape[0] == 0:
        raise ValueError(f"expected shape (resamples, points, measures), got {np.shape(resampled)}")
    return np.asarray(_undominated(costs).mean(axis=0), dtype=np.float64)


def hypervolume(points: ArrayLike, directions: Sequence[Direction], reference: Sequence[float]) -> float:
    """Volume of what the points dominate, up to the reference point, in the product of the measures' units.

    A point that is not better than the reference in every measure adds nothing. Exact, by slicing along the last
    measure; meant for up to some hundred points and a handful of measures.
    """
    costs = _as_costs(points, directions)
    bound = _as_costs([reference], directions)[0]
    inside = costs[(costs < bound).all(axis=-1)] if costs.size else costs
    return _dominated_volume(inside, bound)


def _dominated_volume(costs: NDArray[np.float64], bound: NDArray[np.float64]) -> float:
    if len(costs) == 0:
        return 0.0
    if costs.shape[1] == 1:
        return float(bound[0] - costs.min())
    costs = costs[np.argsort(costs[:, -1], kind="stable")]
    ends = np.append(costs[1:, -1], bound[-1])
    volume = 0.0
    for i, thickness in enumerate(ends - costs[:, -1]):
        if thickness > 0:
            layer = np.unique(costs[: i + 1, :-1], axis=0)
            volume += float(thickness) * _dominated_volume(layer[_undominated(layer)], bound[:-1])
    return volume


def knee(points: ArrayLike, directions: Sequence[Direction]) -> int | None:
    """Index of the frontier's knee: where giving up a little of one measure buys most of the others.

    The frontier is scaled to 0 ... 1 in each measure; the knee lies farthest on the good side of the plane through
    its extremes (Das 1999; for two measures, the chord between the ends). None where the frontier has fewer than
    three distinct points or none lies beyond that plane. Of equals the first.
    """
    costs = _as_costs(points, directions)
    on = np.flatnonzero(_undominated(costs))
    shape = costs[on]
    if len(np.unique(shape, axis=0)) < 3:
        return None
    low, high = shape.min(axis=0), shape.max(axis=0)
    varies = high > low
    goodness = ((high - shape)[:, varies] / (high - low)[varies]).sum(axis=1)
    best = int(np.argmax(goodness))
    return int(on[best]) if goodness[best] > 1.0 + 1e-12 else None


def best_under_budget(values: ArrayLike, costs: ArrayLike, budget: float) -> int | None:
    """Index of the highest value among points that cost at most ``budget``; ties go to the cheaper, then the first.

    None where nothing is affordable. Points with a missing value or cost are left out.
    """
    value, cost = np.asarray(values, dtype=np.float64), np.asarray(costs, dtype=np.float64)
    return _first(cost <= budget, -value, cost)


def cheapest_above_floor(values: ArrayLike, costs: ArrayLike, floor: float) -> int | None:
    """Index of the lowest cost among points whose value is at least ``floor``; ties go to the higher value."""
    value, cost = np.asarray(values, dtype=np.float64), np.asarray(costs, dtype=np.float64)
    return _first(value >= floor, cost, -value)


def _first(allowed: NDArray[np.bool_], low: NDArray[np.float64], then_low: NDArray[np.float64]) -> int | None:
    """Of the allowed points the one that is lowest in the first, then in the second; missing ones are left out."""
    chosen = np.flatnonzero(allowed & ~np.isnan(low) & ~np.isnan(then_low))
    return int(chosen[np.lexsort((then_low[chosen], low[chosen]))[0]]) if len(chosen) else None
