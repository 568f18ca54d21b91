"""Ranks with their uncertainty, and groups of configurations that cannot be told apart.

All pairs are compared at once: the critical value is a quantile of the largest studentized deviation over all pairs
and resamples, so that with the stated level *no* pair is falsely told apart. A configuration's best possible rank
counts those that are shown to be better, its worst those that are shown to be worse (Mogstad et al. 2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from passkwh.analysis.pareto import Direction
from passkwh.records import Record


class RankedConfiguration(Record):
    """One configuration's place on one measure; rank 1 is best."""

    label: str
    estimate: float
    rank: int
    best_rank: int
    worst_rank: int
    groups: Annotated[str, Field(description="configurations that share a letter cannot be told apart")]


class Ranking(Record):
    """All configurations on one measure, best first; those without a value are left out and named."""

    measure: str
    direction: Direction
    level: float
    ranked: tuple[RankedConfiguration, ...]
    left_out: tuple[str, ...] = ()


def rank(
    measure: str,
    direction: Direction,
    labels: Sequence[str],
    estimates: NDArray[np.float64],
    resampled: NDArray[np.float64],
    level: float = 0.95,
) -> Ranking:
    """Rank configurations from estimates (configurations,) and joint resamples (resamples, configurations)."""
    usable = np.flatnonzero(np.isfinite(estimates) & np.isfinite(resampled).all(axis=0))
    left_out = tuple(label for i, label in enumerate(labels) if i not in set(usable.tolist()))
    sign = 1.0 if direction == "max" else -1.0
    order = usable[np.argsort(-sign * estimates[usable], kind="stable")]
    value, draws = sign * estimates[order], sign * resampled[:, order]
    better = significantly_larger(value, draws, level)
    letters = _letters(~(better | better.T))
    # Equal estimates share a rank.
    ranks = [1 + int((value > v).sum()) for v in value]
    ranked = tuple(
        RankedConfiguration(
            label=labels[int(position)],
            estimate=float(estimates[position]),
            rank=ranks[i],
            best_rank=1 + int(better[:, i].sum()),
            worst_rank=len(order) - int(better[i].sum()),
            groups=letters[i],
        )
        for i, position in enumerate(order)
    )
    return Ranking(measure=measure, direction=direction, level=level, ranked=ranked, left_out=left_out)


def significantly_larger(
    estimates: NDArray[np.float64], resampled: NDArray[np.float64], level: float = 0.95
) -> NDArray[np.bool_]:
    """Matrix [i, j]: i is shown to be larger than j, jointly over all pairs at the level."""
    count = len(estimates)
    larger = np.zeros((count, count), dtype=bool)
    if count < 2:
        return larger
    i, j = np.triu_indices(count, 1)
    difference = estimates[i] - estimates[j]
    spread = (resampled[:, i] - resampled[:, j]).std(axis=0, ddof=1)
    varies = spread > 1e-12 * np.maximum(np.abs(estimates[i]), np.abs(estimates[j]))
    largest = np.zeros(len(resampled))
    for a, b, d, s in zip(i[varies], j[varies], difference[varies], spread[varies], strict=True):
        np.maximum(largest, np.abs(resampled[:, a] - resampled[:, b] - d) / s, out=largest)
    critical = float(np.quantile(largest, level))
    apart = np.where(varies, np.abs(difference) > critical * spread, difference != 0)
    larger[i, j] = apart & (difference > 0)
    larger[j, i] = apart & (difference < 0)
    return larger


def _letters(alike: NDArray[np.bool_]) -> list[str]:
    """Compact letter display: a letter for each largest set of mutually alike configurations, best first.

    Insert and absorb (Piepho 2004): start from one set, split it at each pair that differs, drop what others contain.
    """
    count = len(alike)
    sets: list[frozenset[int]] = [frozenset(range(count))] if count else []
    for i in range(count):
        for j in range(i + 1, count):
            if alike[i, j]:
                continue
            split: list[frozenset[int]] = []
            for members in sets:
                split.extend([members - {i}, members - {j}] if i in members and j in members else [members])
            distinct = list(dict.fromkeys(split))
            sets = [s for s in distinct if not any(s < other for other in distinct)]
    ordered = sorted(sets, key=sorted)
    return ["".join(_letter(n) for n, members in enumerate(ordered) if i in members) for i in range(count)]


def _letter(number: int) -> str:
    """a ... z, then (27), (28), ..."""
    return chr(ord("a") + number) if number < 26 else f"({number + 1})"
