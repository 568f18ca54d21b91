"""Ranks with their uncertainty, and groups of configurations that cannot be told apart.

All pairs are compared at once: the critical value is a quantile of the largest studentized deviation over all pairs
and resamples, so that with the stated level *no* pair is falsely told apart. It is expanded as Student's t is over a
normal one, for few units of measurement tell little of their own spread; of fewer than three nothing is said. A
configuration's best possible rank counts those that are shown to be better, its worst those that are shown to be worse
(Mogstad et al. 2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from passkwh.analysis.bootstrap import DIRECTIONS, Draws, is_share
from passkwh.analysis.error_model import FEWEST_UNITS
from passkwh.analysis.pareto import Direction
from passkwh.analysis.results import TestResult, no_result
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


class Spread(NamedTuple):
    """Where the spread of resamples comes from, for what few units, or few repeats, do not show of it."""

    units: int
    from_units: NDArray[np.float64]
    """Resamples of units alone, shape (resamples, configurations)."""
    se_of_runs: NDArray[np.float64]
    """Standard error of each estimate from what differs between runs, shape (configurations,)."""
    widened: float = 1.0
    """Factor of the units' variance, for what blocks over time share with their neighbours."""


def rank_all(draws: Draws, level: float = 0.95) -> tuple[Ranking, ...]:
    """Configurations ranked by every headline measure."""
    return tuple(
        rank(name, direction, draws.labels, draws.estimates[name], draws.resampled[name], level, spread_of(draws, name))
        for name, direction in DIRECTIONS.items()
    )


def spread_of(draws: Draws, measure: str) -> Spread:
    """Of one measure."""
    widened = 1.0 if is_share(measure) else float(draws.table.widened.max())
    return Spread(draws.units_of(measure), draws.from_units[measure], draws.se_of_runs(measure), widened)


def rank(
    measure: str,
    direction: Direction,
    labels: Sequence[str],
    estimates: NDArray[np.float64],
    resampled: NDArray[np.float64],
    level: float = 0.95,
    spread: Spread | None = None,
) -> Ranking:
    """Rank configurations from estimates (configurations,) and joint resamples (resamples, configurations).

    Without ``spread`` the resamples are taken to be of very many units, and to hold all errors.
    """
    usable = np.flatnonzero(np.isfinite(estimates) & np.isfinite(resampled).all(axis=0))
    left_out = tuple(label for i, label in enumerate(labels) if i not in set(usable.tolist()))
    sign = 1.0 if direction == "max" else -1.0
    order = usable[np.argsort(-sign * estimates[usable], kind="stable")]
    value, draws = sign * estimates[order], sign * resampled[:, order]
    own = spread and Spread(spread.units, sign * spread.from_units[:, order], spread.se_of_runs[order], spread.widened)
    better = significantly_larger(value, draws, level, own)
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
    estimates: NDArray[np.float64],
    resampled: NDArray[np.float64],
    level: float = 0.95,
    spread: Spread | None = None,
) -> NDArray[np.bool_]:
    """Matrix [i, j]: i is shown to be larger than j, jointly over all pairs at the level."""
    count = len(estimates)
    larger = np.zeros((count, count), dtype=bool)
    if count < 2 or (spread and spread.units < FEWEST_UNITS):
        return larger
    from_units = resampled if spread is None else spread.from_units
    runs = np.zeros(count) if spread is None else spread.se_of_runs
    i, j = np.triu_indices(count, 1)
    difference = estimates[i] - estimates[j]
    of_units = (from_units[:, i] - from_units[:, j]).std(axis=0, ddof=1)
    scale = np.hypot(of_units, np.hypot(runs[i], runs[j]))
    varies = scale > 1e-12 * np.maximum(np.abs(estimates[i]), np.abs(estimates[j]))
    critical = _largest(resampled, difference, scale, (i, j), varies, level)
    if spread is not None:
        alone = _largest(from_units, difference, of_units, (i, j), varies & (of_units > 0), level)
        share = np.divide(of_units, scale, out=np.ones_like(scale), where=scale > 0) ** 2
        expansion = spread.widened * _expansion(alone, spread.units) ** 2
        critical = critical * np.sqrt(1.0 + share * (expansion - 1.0))
    apart = np.where(varies, np.abs(difference) > critical * scale, difference != 0)
    larger[i, j] = apart & (difference > 0)
    larger[j, i] = apart & (difference < 0)
    return larger


def any_difference(draws: Draws, measure: str) -> TestResult:
    """Do the configurations differ on a measure at all? The largest studentized difference over all pairs.

    Its p-value is the share of resamples that deviate as far from their own estimates, so every source of error that
    is in the intervals is in it; a difference is expanded for few units before it is compared.
    """
    name = "largest difference over all pairs"
    estimates, resampled, spread = draws.estimates[measure], draws.resampled[measure], spread_of(draws, measure)
    usable = np.flatnonzero(np.isfinite(estimates) & np.isfinite(resampled).all(axis=0))
    if len(usable) < 2:
        return no_result(name, draws.units, "a comparison needs two configurations that have a value")
    if spread.units < FEWEST_UNITS:
        return no_result(name, draws.units, f"{spread.units} units of measurement are too few to know their spread")
    value, values = estimates[usable], resampled[:, usable]
    pairs = np.triu_indices(len(usable), 1)
    difference = value[pairs[0]] - value[pairs[1]]
    from_units = spread.from_units[:, usable]
    of_units = (from_units[:, pairs[0]] - from_units[:, pairs[1]]).std(axis=0, ddof=1)
    runs = spread.se_of_runs[usable]
    scale = np.hypot(of_units, np.hypot(runs[pairs[0]], runs[pairs[1]]))
    varies = scale > 1e-12 * np.abs(value).max()
    if not varies.any():
        same = not difference.any()
        p_value = 1.0 if same else min(1.0, 2.0 * 0.5**spread.units)
        return TestResult(test=name, statistic=None, p_value=p_value, n=spread.units, reason="nothing varies")
    t = np.abs(difference[varies]) / scale[varies]
    share = (of_units[varies] / scale[varies]) ** 2
    factors = np.array([_expansion_of_t(one, spread.units) for one in t])
    seen = float((t / np.sqrt(1.0 + share * (spread.widened * factors**2 - 1.0))).max())
    largest = np.zeros(len(values))
    for a, b, d, s in zip(*(one[varies] for one in (*pairs, difference, scale)), strict=True):
        np.maximum(largest, np.abs(values[:, a] - values[:, b] - d) / s, out=largest)
    p_value = (1.0 + float((largest >= seen).sum())) / (1.0 + len(largest))
    return TestResult(test=name, statistic=float(t.max()), p_value=p_value, n=spread.units)


def _expansion_of_t(t: float, units: int) -> float:
    """How much farther out a studentized difference is than the normal value of the same chance."""
    from scipy import special

    tail = float(special.stdtr(units - 1, -t * np.sqrt((units - 1) / units)))
    normal = -float(special.ndtri(max(tail, 1e-300)))
    return t / normal if normal > 0 else 1.0


def _largest(
    resampled: NDArray[np.float64],
    difference: NDArray[np.float64],
    scale: NDArray[np.float64],
    pairs: tuple[NDArray[np.intp], NDArray[np.intp]],
    varies: NDArray[np.bool_],
    level: float,
) -> float:
    """The level's quantile of the largest studentized deviation of a pair from its estimate."""
    largest = np.zeros(len(resampled))
    for a, b, d, s in zip(*(one[varies] for one in (*pairs, difference, scale)), strict=True):
        np.maximum(largest, np.abs(resampled[:, a] - resampled[:, b] - d) / s, out=largest)
    return float(np.quantile(largest, level))


def _expansion(critical: float, units: int) -> float:
    """How much farther out Student's t is than the normal, at the normal's ``critical``."""
    from scipy import special

    if critical <= 0:
        return 1.0
    tail = max(float(special.ndtr(-critical)), 1e-12)
    student = -float(special.stdtrit(units - 1, tail))
    return float(np.sqrt(units / (units - 1)) * student / critical)


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
