"""How sure it is what early exit saves and loses against a baseline: intervals of shares, over the same tasks.

Energy goes by the analysis's one error model: units of measurement that both sides have in common are drawn together,
and errors of runs come on top (:mod:`passkwh.analysis.bootstrap`). Quality is the mean over tasks of each task's own
score, drawn with replacement. Of ROUGE and exact match that mean is the metric; CodeBLEU, BLEU and chrF of a run are
computed over the whole corpus at once, which has no parts to be drawn, and differ from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from passkwh.analysis.bootstrap import draw, resampled_totals
from passkwh.analysis.exits.summary import EnergyKind, ExitSummary, Savings
from passkwh.analysis.intervals import contrasts, percentiles
from passkwh.analysis.pooling import Comparison
from passkwh.analysis.results import Interval, finite
from passkwh.analysis.task_table import task_table
from passkwh.errors import UsageError
from passkwh.records import Sample

Floats = NDArray[np.float64]
LEVEL = 0.95
PASS_AT_1 = "pass@1"


class _Pair(NamedTuple):
    """Positions of a configuration and of what it is compared with."""

    own: int
    baseline: int


def with_intervals(
    compared: Sequence[ExitSummary], comparison: Comparison, samples: Mapping[str, Sequence[Sample]], energy: EnergyKind
) -> tuple[ExitSummary, ...]:
    """The same configurations, with intervals of what they save and lose.

    Args:
        compared: in the order of ``comparison``'s configurations, with both of their baselines where there are any.
        comparison: the same configurations, over the tasks that all ran.
        samples: of each label.
        energy: the kind whose savings get an interval.
    """
    places = {c.label: place for place, c in enumerate(compared)}
    pairs = dict.fromkeys(
        _Pair(places[c.label], places[savings.baseline])
        for c in compared
        for savings in (c.against_base, c.against_full_depth)
        if savings is not None
    )
    if not pairs:
        return tuple(compared)
    saved = _energy_saved(comparison, list(pairs), energy)
    lost: dict[_Pair, list[Interval]] = {pair: [] for pair in pairs}
    for metric in compared[0].quality:
        scores = [_scores(samples[c.label], comparison.task_ids, metric) for c in compared]
        for pair, interval in _score_lost(scores, list(pairs), metric, comparison.labels()).items():
            lost[pair].append(interval)

    def completed(c: ExitSummary, savings: Savings | None) -> Savings | None:
        if savings is None:
            return None
        pair = _Pair(places[c.label], places[savings.baseline])
        interval = _of_totals(saved.get(pair), savings.energy_saved(energy))
        return savings.model_copy(update={"energy_saved_interval": interval, "score_lost": tuple(lost[pair])})

    return tuple(
        c.model_copy(
            update={
                "against_base": completed(c, c.against_base),
                "against_full_depth": completed(c, c.against_full_depth),
            }
        )
        for c in compared
    )


def _energy_saved(comparison: Comparison, pairs: Sequence[_Pair], energy: EnergyKind) -> dict[_Pair, Interval]:
    """1 - energy of generating / the baseline's; nothing where tasks have no energies in common."""
    try:
        table = task_table(comparison, energy)
    except UsageError:
        return {}
    draws = draw(replace(table, energy_j=table.generation_j))  # repeats scatter as their whole energies do
    return {
        pair: _share_less(contrast.ratio, f"{energy}_saved")
        for pair, contrast in zip(pairs, contrasts(draws, ("energy_kwh",), pairs, LEVEL), strict=True)
    }


def _of_totals(interval: Interval | None, saved: float | None) -> Interval | None:
    """The interval of a share that was computed from the runs' totals; without bounds where samples say otherwise."""
    if interval is None or saved is None:
        return None
    if interval.estimate is None or math.isclose(interval.estimate, saved, rel_tol=1e-3, abs_tol=1e-4):
        return interval
    reason = "the energies of the tasks in common do not add up to the runs' totals"
    return interval.model_copy(update={"estimate": saved, "low": None, "high": None, "reason": reason})


def _share_less(ratio: Interval, measure: str) -> Interval:
    """1 - a ratio, with its interval turned round."""
    turned = {
        name: None if value is None else 1 - value
        for name, value in (("estimate", ratio.estimate), ("low", ratio.high), ("high", ratio.low))
    }
    return ratio.model_copy(update={**turned, "measure": measure})


def _scores(samples: Sequence[Sample], tasks: Sequence[str], metric: str) -> Floats | None:
    """The mean score of each task's samples, shape (tasks,); None where a sample has none."""
    places = {task: place for place, task in enumerate(tasks)}
    total, count = np.zeros(len(tasks)), np.zeros(len(tasks))
    for sample in samples:
        score = _score(sample, metric)
        if score is None:
            return None
        total[places[sample.task_id]] += score
        count[places[sample.task_id]] += 1
    return total / count if count.all() else None


def _score(sample: Sample, metric: str) -> float | None:
    if metric != PASS_AT_1:
        return sample.scores.get(metric)
    if sample.verdict is None or sample.verdict.status == "not_evaluated":
        return None
    return float(sample.verdict.status == "pass")


def _lost(own: Floats, baseline: Floats) -> Floats:
    """1 - own / the baseline's; equal scores lose nothing, also where both are 0."""
    return np.where(own == baseline, 0.0, 1 - own / baseline)


def _score_lost(
    scores: Sequence[Floats | None], pairs: Sequence[_Pair], metric: str, labels: Sequence[str]
) -> dict[_Pair, Interval]:
    """1 - mean score / the baseline's, of the pairs that have scores; none where the baseline's is 0."""
    usable = {
        pair: (own, baseline)
        for pair in pairs
        if (own := scores[pair.own]) is not None and (baseline := scores[pair.baseline]) is not None and baseline.any()
    }
    if not usable:
        return {}
    known = [place for place, one in enumerate(scores) if one is not None]
    totals = resampled_totals(np.stack([one for one in scores if one is not None], axis=1))
    column = {place: totals[:, i] for i, place in enumerate(known)}
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = np.stack([_lost(column[pair.own], column[pair.baseline]) for pair in usable], axis=1)
    tasks = len(next(iter(usable.values()))[0])
    lows, highs = percentiles(drawn, tasks, LEVEL)
    return {
        pair: Interval(
            measure=f"{metric}_lost", label=f"{labels[pair.own]} vs {labels[pair.baseline]}", level=LEVEL,
            estimate=float(1 - own.sum() / baseline.sum()), low=finite(low), high=finite(high),
            reason=None if np.isfinite([low, high]).all() else "too few tasks, or too few with a score above 0",
        )
        for (pair, (own, baseline)), low, high in zip(usable.items(), lows.tolist(), highs.tolist(), strict=True)
    }  # fmt: skip
