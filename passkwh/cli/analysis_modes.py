"""The modes of ``bench analyze``: each takes what is to be analysed and returns tables, an object for JSON, and notes.

The overview is the default; ``--experiment``, ``--plan`` and ``--published`` are the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from passkwh.errors import UsageError

if TYPE_CHECKING:
    from passkwh.analysis.footprint import FootprintAssumptions
    from passkwh.analysis.overview import AnalysisSettings
    from passkwh.analysis.planning import Goal, PlannedMeasure
    from passkwh.analysis.pooling import Comparison
    from passkwh.analysis.tables import Table

EXPERIMENTS = ("batch-size", "model-size", "fine-tuning", "awq", "gptq", "granularity")
SHOWN = ("headlines", "ranking_pass_at_kwh", "frontier", "footprint", "tests", "pairs")
"""The overview's tables that are printed; all are written with --out."""


@dataclass(frozen=True)
class ModeResult:
    """What a mode of the command has computed."""

    tables: Sequence[Table]
    content: dict[str, Any]
    """For JSON."""
    printed: Sequence[Table] | None = None
    """The tables to print; all when None."""
    notes: Sequence[str] = ()
    """Printed before the tables."""
    remarks: Sequence[str] = ()
    """Printed after them."""


def overview(
    comparison: Comparison, settings: AnalysisSettings, assumptions: FootprintAssumptions | None = None
) -> ModeResult:
    """Intervals, rankings, the frontier and all tests; carbon and cost where there are assumptions."""
    from passkwh.analysis.overview import analyse
    from passkwh.analysis.result_tables import analysis_tables

    result = analyse(comparison, settings)
    notes = [f"note: {text}" for text in result.notes[len(comparison.notes) :]]
    tables, content = analysis_tables(result), result.model_dump(mode="json")
    if assumptions is not None:
        from passkwh.analysis.footprint import describe, footprint_table, footprints

        rows = footprints([i for i in result.intervals if i.measure == "energy_kwh"], assumptions)
        tables.append(footprint_table(rows, assumptions))
        content["footprint"] = {
            "assumed": assumptions.model_dump(mode="json"),
            "rows": [row.model_dump(mode="json") for row in rows],
        }
        notes.append(f"note: carbon and cost are {describe(assumptions)}")
    printed = [table for table in tables if table.name in SHOWN]
    return ModeResult(tables, content, printed, notes, [f"{f.subject}: {f.text}" for f in result.findings])


def experiment(name: str, comparison: Comparison, settings: AnalysisSettings) -> ModeResult:
    """One of the thesis's experiments. Raises UsageError for another name, or runs that do not make the experiment."""
    from passkwh.analysis.experiments import DESIGNS, run_experiment
    from passkwh.analysis.result_tables import experiment_tables

    if name == "granularity":
        return _granularity(comparison, settings)
    chosen = next((known for known in DESIGNS if known == name), None)
    if chosen is None:
        raise UsageError(f"--experiment {name}: there is none of that name; write one of {', '.join(EXPERIMENTS)}")
    result = run_experiment(chosen, comparison, settings.energy)
    return ModeResult(experiment_tables(result), result.model_dump(mode="json"))


def _granularity(comparison: Comparison, settings: AnalysisSettings) -> ModeResult:
    from passkwh.analysis.granularity import by_domain
    from passkwh.analysis.overview import analyse
    from passkwh.analysis.result_tables import analysis_tables, domain_table

    rows = by_domain(comparison, settings.energy, settings.resamples, settings.seed, settings.level)
    if not rows:
        raise UsageError("experiment granularity needs runs of BigCodeBench: these tasks have no domains")
    result = analyse(comparison, settings)
    fits = [t for t in analysis_tables(result) if t.name == "assumptions" or t.name.endswith("_thesis")]
    content = {
        "experiment": "granularity",
        "domains": [row.model_dump(mode="json") for row in rows],
        "configurations": [c.model_dump(mode="json") for c in result.configurations],
    }
    return ModeResult([domain_table(rows), *fits], content)


def sample_size(
    comparison: Comparison, settings: AnalysisSettings, effect: float | None, power: float, goal: str | None = None
) -> ModeResult:
    """What shows something of two configurations: the first two, for a rank the best two.

    Without a goal: a difference in each measure, and non-inferiority of pass@1. Raises UsageError where none can be.
    """
    from passkwh.analysis.planning import GOALS, MEASURES, choose_pair, plan_sample_size
    from passkwh.analysis.result_tables import plan_table

    labels = comparison.labels()
    if len(labels) < 2:
        raise UsageError(f"--plan needs pilot runs of two configurations; these are all {labels[0]}")
    chosen = next((known for known in GOALS if known == goal), None)
    if goal is not None and chosen is None:
        raise UsageError(f"--goal {goal}: write one of {', '.join(GOALS)}")
    (first, second, *_), alpha = labels, round(1 - settings.level, 12)
    of_all: Goal = chosen or "difference"
    wanted: list[tuple[Goal, PlannedMeasure]] = [(of_all, one) for one in MEASURES if of_all != "non-inferiority"]
    if chosen in (None, "non-inferiority"):
        wanted.append(("non-inferiority", "pass@1"))
    plans, reasons = [], []
    for of, measure in wanted:
        try:
            a, b = choose_pair(comparison, measure, settings.energy) if of == "rank" else (first, second)
            # An effect that was stated for a difference is none of two that are to be equal.
            of_this = None if of == "non-inferiority" and chosen is None else effect
            plans.append(
                plan_sample_size(comparison, a, b, measure, of_this, power, alpha, settings.energy, of, settings.margin)
            )
        except UsageError as error:
            reasons.append(str(error))
    if not plans:
        raise UsageError(reasons[0])
    notes = [f"note: {text}" for text in (*reasons, *dict.fromkeys(text for p in plans for text in p.notes))]
    return ModeResult(
        [plan_table(p) for p in plans], {"plans": [p.model_dump(mode="json") for p in plans]}, notes=notes
    )


def published(path: Path, family: str, tasks: int | None = None) -> ModeResult:
    """A file of published rows, checked. Raises UsageError for one that cannot be read."""
    from passkwh.analysis.published import check_published, read_published
    from passkwh.analysis.published_completion import check_completion, is_completion, read_completion
    from passkwh.analysis.result_tables import published_tables

    if is_completion(path):
        report = check_completion(read_completion(path), family, tasks)
    else:
        report = check_published(read_published(path), family, tasks)
    remarks = [f"inconsistent: {text}" for text in report.oddities] + list(report.conclusions)
    return ModeResult(published_tables(report), report.model_dump(mode="json"), remarks=remarks)
