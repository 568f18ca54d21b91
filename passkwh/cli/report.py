"""``bench report``: complete runs as one self-contained HTML page, or with an experiment as a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from passkwh.cli.options import (
    AsJson,
    BootstrapSeed,
    Energy,
    ExitMetric,
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
    runs: Annotated[
        list[Path],
        typer.Argument(help="Run folders, or folders that hold some; for early exit, folders of trainings, too."),
    ],
    experiment: Annotated[
        str | None, typer.Option(help=f"Write the long report of an experiment, with its files: {EXPERIMENTS}.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The HTML file to write; with --experiment, the folder.")] = None,
    metric: ExitMetric = None,
    energy: Energy = "gross",
    margin: Margin = 0.02,
    resamples: Resamples = 10_000,
    seed: BootstrapSeed = 0,
    level: Level = 0.95,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Write a report of runs: results, energy and accuracy, power over time, statistics."""
    if experiment is None and energy != "gross":
        raise UsageError("--energy net belongs to the report with --experiment: add --experiment all")
    from passkwh.adapters.early_exit.training.log import apart

    folders, training = apart(runs)
    if experiment not in ("early-exit", "all"):
        for option, given in (("--metric", metric), ("a training's folder", training)):
            if given:
                raise UsageError(f"{option} belongs to the report on early exit: add --experiment early-exit")
    from passkwh.reports.document.build import write

    settings = analysis_settings(energy, resamples, seed, level, margin)
    place = out or Path("report" if experiment else "report.html")
    outline = experiment or "short"
    written = write(
        folders, place, outline, settings, strict=strict, metrics=metric or (), training=training, note=note
    )
    page = written.files[0]
    if as_json:
        files = {"written": [str(path) for path in written.files]} if experiment else {}
        print_json({**written.content, "report": str(page), **files})
        return
    if experiment:
        note(f"{len(written.files)} files written to {place}")
    print(page.resolve())
