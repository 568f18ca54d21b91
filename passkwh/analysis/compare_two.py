"""Two configurations compared, in numbers and in sentences: `bench compare A B`."""

from __future__ import annotations

from passkwh.analysis.bootstrap import draw
from passkwh.analysis.frames import Frames
from passkwh.analysis.intervals import contrasts, intervals
from passkwh.analysis.overview import AnalysisSettings
from passkwh.analysis.pairs import COMPARED, PairTests, compare_pairs
from passkwh.analysis.pooling import compare
from passkwh.analysis.results import Contrast, Interval
from passkwh.analysis.sentences import about_accuracy, about_energy
from passkwh.analysis.task_table import task_table
from passkwh.errors import UsageError
from passkwh.measures import MEASURES
from passkwh.records import Record


class PairComparison(Record):
    """``a`` against ``b`` on their common tasks."""

    a: str
    b: str
    tasks: int
    units: int
    level: float
    margin: float
    intervals: tuple[Interval, ...]
    contrasts: tuple[Contrast, ...]
    tests: PairTests
    notes: tuple[str, ...]


def compare_two(frames: Frames, first: int, settings: AnalysisSettings, strict: bool = False) -> PairComparison:
    """Compare the configuration of the first ``first`` runs with that of the rest.

    Raises:
        UsageError: where either side holds several configurations, or both are the same one.
    """
    comparison = compare(frames, strict)
    sides = [{c.label for c in comparison.configurations if i in c.runs} for i in range(len(frames.runs))]
    left, right = set.union(*sides[:first]), set.union(*sides[first:])
    for name, side, run in (("A", left, frames.runs[0]), ("B", right, frames.runs[first])):
        if len(side) > 1:
            raise UsageError(
                f"{name} ({run.path.parent}) holds several configurations ({', '.join(sorted(side))}): name one"
            )
    (a,), (b,) = left, right
    if a == b:
        raise UsageError(
            f"A and B are the same configuration ({a}): a comparison needs two; `bench analyze` pools repeats of one"
        )
    table = task_table(comparison, settings.energy).select([a, b])
    draws = draw(table, settings.resamples, settings.seed)
    return PairComparison(
        a=a,
        b=b,
        tasks=len(table.task_ids),
        units=draws.units,
        level=settings.level,
        margin=settings.margin,
        intervals=intervals(draws, settings.level),
        contrasts=contrasts(draws, COMPARED, [(0, 1)], settings.level),
        tests=compare_pairs(table, [(0, 1)], settings.margin, settings.level)[0],
        notes=(*comparison.notes, *table.notes),
    )


def sentences(result: PairComparison) -> list[str]:
    """What was found, a line each."""
    of = "" if result.units == result.tasks else f", measured as {result.units}"
    lines = [f"{result.a} against {result.b} on {result.tasks} tasks{of}:"]
    for contrast in result.contrasts:
        name, ratio, difference = MEASURES[contrast.measure].label, contrast.ratio, contrast.difference
        if contrast.measure == "pass_at_1":
            if difference.estimate is None:
                lines.append(f"  {name}: missing ({difference.reason})")
            else:
                lines.append(f"  {name}: {difference.estimate:+.4f}{_span(difference, '+.4f')}")
        elif ratio.estimate is None:
            lines.append(f"  {name}: missing ({ratio.reason})")
        else:
            lines.append(f"  {name}: x {ratio.estimate:.3f}{_span(ratio, '.3f')}")
    tests, alpha = result.tests, round(1 - result.level, 12)
    lines.append(f"  {about_energy(tests, alpha).text}")
    if shares := _shares(tests.energy_variance):
        lines.append(f"  its error comes from {shares}")
    accuracy = about_accuracy(tests, result.margin, alpha)
    lines.append(f"  {accuracy.text}")
    return lines


def _shares(variance: dict[str, float]) -> str:
    """The sources of error with their shares of the variance, the largest first."""
    total = sum(variance.values())
    known = sorted(((v / total, name) for name, v in variance.items() if total > 0 and v > 0.005 * total), reverse=True)
    return ", ".join(f"{name} ({share:.0%})" for share, name in known)


def _span(interval: Interval, style: str) -> str:
    if interval.low is None or interval.high is None:
        return f" ({interval.reason})"
    return f" [{interval.low:{style}}, {interval.high:{style}}]"
