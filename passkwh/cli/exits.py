"""``bench exits``: what early exit saved and cost, run by run, and how far each rule is from the oracle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from passkwh.cli.options import AsJson, ConventionName, Energy, ExitMetric, analysis_settings, out_folder
from passkwh.cli.output import note, print_json, print_result


def exits(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Run folders, or folders of runs, with and without --exit; folders of trainings, too."),
    ],
    metric: ExitMetric = None,
    convention: ConventionName = None,
    energy: Energy = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the report here: page, tables, charts as SVG and PNG.", callback=out_folder),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Exit layers, energy and quality of runs with early exit, against all layers and against the oracle."""
    from passkwh.adapters.early_exit.training.log import apart
    from passkwh.analysis.comparable_groups import chosen_convention, complete_runs
    from passkwh.analysis.conventions import stated
    from passkwh.analysis.frames import load
    from passkwh.reports.document.build import assemble, write_folder
    from passkwh.reports.document.content import TableBlock
    from passkwh.reports.document.evidence import Evidence
    from passkwh.reports.sections.exits import printed

    folders, training = apart(runs)
    paths, left_out = complete_runs(folders)
    for text in left_out:
        note(f"note: {text}")
    settings = analysis_settings(chosen_convention(folders, convention), energy, 10_000, 0, 0.95, 0.02)
    frames = load(paths, settings.convention)
    evidence = Evidence(frames, "exits", settings, metrics=metric or (), training=training)
    note(f"note: {stated(frames.runs, settings.energy)}")
    for text in evidence.notes:
        note(f"note: {text}")
    built = assemble([("", evidence)], pictures=out is not None)
    written = write_folder(built, out) if out is not None else []
    if as_json:
        print_json({**evidence.exits.content(), "files": [str(file) for file in written]})
        return
    for block in (block for section in built.report.sections for block in section.blocks):
        if isinstance(block, TableBlock):
            print_result(printed(block).plain())
    if written:
        note(f"{len(written)} files in {out}")
