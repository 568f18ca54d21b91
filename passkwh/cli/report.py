"""``bench report``: complete runs as one self-contained HTML page, or as a thesis-style report in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from passkwh.cli.output import note, print_json
from passkwh.errors import UsageError

if TYPE_CHECKING:
    from passkwh.analysis.comparable_groups import ComparableGroup
    from passkwh.analysis.overview import AnalysisSettings
    from passkwh.reports.document.content import Report
    from passkwh.reports.document.evidence import Evidence

EXPERIMENTS = "batch-size, model-size, fine-tuning, awq, gptq, granularity, early-exit or all"


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or folders that hold run folders.")],
    experiment: Annotated[
        str | None, typer.Option(help=f"Write the thesis-style report of an experiment: {EXPERIMENTS}.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The HTML file to write; with --experiment, the folder.")] = None,
    energy: Annotated[str, typer.Option(help="With --experiment: gross, or net of idle power.")] = "gross",
    margin: Annotated[float, typer.Option(help="Margin of pass@1 for 'no loss of accuracy'.")] = 0.02,
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap resamples.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    level: Annotated[float, typer.Option(help="Confidence level.")] = 0.95,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse runs whose task sets differ.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line of stdout.")] = False,
) -> None:
    """Write a report of runs: results, energy and accuracy, power over time, statistics."""
    if experiment is None:
        if energy != "gross":
            raise UsageError("--energy net belongs to the report with --experiment: add --experiment all")
        _page(runs, out or Path("report.html"), as_json)
        return
    from passkwh.cli.options import analysis_settings

    settings = analysis_settings(energy, resamples, seed, level, margin)
    _thesis(runs, experiment, out or Path("report"), settings, strict, as_json)


def _page(runs: list[Path], out: Path, as_json: bool) -> None:
    from passkwh.analysis.comparable_groups import comparable_groups
    from passkwh.harness.runs.folder import write_atomic
    from passkwh.reports.page import render
    from passkwh.reports.runs import load_runs

    if out.is_dir():
        raise UsageError(f"--out {out} is a folder: name the HTML file to write")
    found, notes = comparable_groups(runs)
    for text in notes:
        note(f"note: {text}")
    groups = {part.title: load_runs(part.paths) for part in found}
    page = render(groups)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(out, page)
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be written ({error.strerror}); choose another file") from error
    if as_json:
        print_json({"report": str(out), "runs": [str(view.path) for views in groups.values() for view in views]})
    else:
        print(out.resolve())


def _thesis(
    runs: list[Path], experiment: str, out: Path, settings: AnalysisSettings, strict: bool, as_json: bool
) -> None:
    from passkwh.analysis.comparable_groups import comparable_groups
    from passkwh.reports.document.evidence import gather

    if out.is_file():
        raise UsageError(f"--out {out} is a file: with --experiment, name a folder for the report's files")
    found, notes = comparable_groups(runs)
    for text in notes:
        note(f"note: {text}")
    if len(found) > 1:
        content, written = _parts(found, experiment, out, settings, strict)
    else:
        evidence = gather(found[0].paths, experiment, settings, strict)
        whole, written = _written(evidence, out)
        content = _shown(whole, evidence)
    if as_json:
        print_json({**content, "report": str(written[0]), "written": [str(path) for path in written]})
        return
    note(f"{len(written)} files written to {out}")
    print(written[0].resolve())


def _shown(whole: Report, evidence: Evidence) -> dict[str, Any]:
    return {**whole.model_dump(mode="json"), "runs": [str(run.path) for run in evidence.runs]}


def _written(evidence: Evidence, out: Path) -> tuple[Report, list[Path]]:
    """The report of runs that can be compared, and its files, the page first."""
    from passkwh.reports.document.assemble import assemble
    from passkwh.reports.document.files import write_report

    for text in evidence.analysis.notes:
        note(f"note: {text}")
    assembled = assemble(evidence)
    return assembled.report, write_report(assembled, evidence, out)


def _parts(
    found: Sequence[ComparableGroup], experiment: str, out: Path, settings: AnalysisSettings, strict: bool
) -> tuple[dict[str, Any], list[Path]]:
    """A report of each part of a study, and the page that leads to them."""
    from passkwh.reports.document.evidence import gather
    from passkwh.reports.document.index import PartReport, folder_of, write_index

    told: list[dict[str, Any]] = []
    made: list[PartReport] = []
    files: list[Path] = []
    for number, part in enumerate(found, start=1):
        note(f"part {number} of {len(found)}: {part.title} ({len(part.paths)} runs)")
        try:
            evidence = gather(part.paths, experiment, settings, strict)
        except UsageError as error:  # a part that does not allow the experiment does not keep the others back
            note(f"part {number}: {error}")
            made.append(PartReport(part.title, len(part.paths), None, str(error)))
            told.append({"part": part.title, "runs": [str(path) for path in part.paths], "error": str(error)})
            continue
        whole, written = _written(evidence, out / folder_of(number))
        files += written
        made.append(PartReport(part.title, len(part.paths), whole))
        told.append({"part": part.title, "report": str(written[0]), **_shown(whole, evidence)})
    if not files:
        raise UsageError(f"no part of the study allows this report; the first of {len(found)} says: {made[0].reason}")
    return {"parts": told}, write_index(made, experiment, out) + files
