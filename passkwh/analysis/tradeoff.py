"""The trade-off between energy and accuracy over all configurations, with its uncertainty (figure 4.12)."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from passkwh.analysis.bootstrap import DIRECTIONS, Draws
from passkwh.analysis.pareto import best_under_budget, cheapest_above_floor, frontier, frontier_probability
from passkwh.analysis.pareto import hypervolume as volume
from passkwh.analysis.pareto import knee as find_knee
from passkwh.records import Record


class FrontierPoint(Record):
    """One configuration on the plane of the measures."""

    label: str
    values: tuple[float | None, ...]
    on_frontier: bool
    probability: Annotated[float, Field(description="share of resamples in which it is on the frontier")]


class Tradeoff(Record):
    """The efficient frontier."""

    measures: tuple[str, ...]
    directions: tuple[str, ...]
    points: tuple[FrontierPoint, ...]
    knee: str | None
    reference: Annotated[tuple[float, ...], Field(description="worst value of each measure; bounds the hypervolume")]
    hypervolume: float
    budget_kwh: float | None = None
    best_under_budget: str | None = None
    accuracy_floor: float | None = None
    cheapest_above_floor: str | None = None


def tradeoff(
    draws: Draws,
    measures: tuple[str, ...] = ("energy_kwh", "pass_at_1"),
    budget_kwh: float | None = None,
    accuracy_floor: float | None = None,
) -> Tradeoff | None:
    """Frontier over the measures, each in its own direction; None where no configuration has all of them.

    The hypervolume's reference is the worst value seen of a measure that is to be small, and 0 of one to be large.
    """
    directions = [DIRECTIONS[m] for m in measures]
    points = np.stack([draws.estimates[m] for m in measures], axis=-1)
    complete = ~np.isnan(points).any(axis=1)
    if not complete.any():
        return None
    on = frontier(points, directions)
    probability = frontier_probability(np.stack([draws.resampled[m] for m in measures], axis=-1), directions)
    reference = [float(np.nanmax(points[:, i])) if d == "min" else 0.0 for i, d in enumerate(directions)]
    bend = find_knee(points, directions)
    accuracy, energy = draws.estimates["pass_at_1"], draws.estimates["energy_kwh"]
    best = best_under_budget(accuracy, energy, budget_kwh) if budget_kwh is not None else None
    cheapest = cheapest_above_floor(accuracy, energy, accuracy_floor) if accuracy_floor is not None else None
    return Tradeoff(
        measures=measures,
        directions=tuple(directions),
        points=tuple(
            FrontierPoint(
                label=label,
                values=tuple(None if np.isnan(v) else float(v) for v in points[i]),
                on_frontier=on[i],
                probability=float(probability[i]),
            )
            for i, label in enumerate(draws.labels)
        ),
        knee=None if bend is None else draws.labels[bend],
        reference=tuple(reference),
        hypervolume=volume(points[complete], directions, reference),
        budget_kwh=budget_kwh,
        best_under_budget=None if best is None else draws.labels[best],
        accuracy_floor=accuracy_floor,
        cheapest_above_floor=None if cheapest is None else draws.labels[cheapest],
    )
