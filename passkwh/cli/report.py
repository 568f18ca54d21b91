"""``bench report``: complete runs as one self-contained HTML page, or with an experiment as a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from passkwh.cli.options import (
    AsJson,
    BootstrapSeed,
    ConventionName,
    Energy,
    Level,
    Margin,
    Resamples,
    Strict,
    analysis_settings,
)
from passkwh.cli.output import note, print_json
from passkwh.errors import UsageError

EXPERIMENTS = "batch-size, model-size, fine-tuning, awq, gptq, granularity, early-exit or all"


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or folders that hold run folders.")],
    experiment: Annotated[
        str | None, typer.Option(help=f"Write the long report of an experiment, with its files: {EXPERIMENTS}.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The HTML file to write; with --experiment, the folder.")] = None,
    convention: ConventionName = None,
    energy: Energy = None,
    margin: Margin = 0.02,
    resamples: Resamples = 10_000,
    seed: BootstrapSeed = 0,
    level: Level = 0.95,
    deadline_s: Annotated[
        float | None,
        typer.Option(help="The cheapest configuration that gives nine of ten answers in so long."),
    ] = None,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Write a report of runs: results, energy and accuracy, power over time, statistics."""
    if experiment is None and energy is not None:
        raise UsageError("--energy belongs to the report with --experiment: add --experiment all, or give --convention")
    from passkwh.analysis.comparable_groups import chosen_convention
    from passkwh.reports.document.build import write

    settings = analysis_settings(
        chosen_convention(runs, convention), energy, resamples, seed, level, margin, deadline_s=deadline_s
    )
    place = out or Path("report" if experiment else "report.html")
    written = write(runs, place, experiment or "short", settings, strict=strict, note=note)
    page = written.files[0]
    if as_json:
        files = {"written": [str(path) for path in written.files]} if experiment else {}
        print_json({**written.content, "report": str(page), **files})
        return
    if experiment:
        note(f"{len(written.files)} files written to {place}")
    print(page.resolve())
