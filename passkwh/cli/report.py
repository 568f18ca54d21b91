"""``bench report``: complete runs as one self-contained HTML page, or with an experiment as a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from passkwh.cli import complete
from passkwh.cli.options import (
    AsJson,
    BootstrapSeed,
    ConventionName,
    Energy,
    ExitMetric,
    Level,
    Margin,
    Price,
    Pue,
    Region,
    Resamples,
    Strict,
    analysis_settings,
    footprint_assumptions,
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
        str | None,
        typer.Option(
            help=f"Write the long report of an experiment, with its files: {EXPERIMENTS}.",
            autocompletion=complete.experiments,
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The HTML file to write; with --experiment, the folder.")] = None,
    convention: ConventionName = None,
    energy: Energy = None,
    metric: ExitMetric = None,
    margin: Margin = 0.02,
    resamples: Resamples = 10_000,
    seed: BootstrapSeed = 0,
    level: Level = 0.95,
    deadline_s: Annotated[
        float | None,
        typer.Option(help="The cheapest configuration that gives nine of ten answers in so long."),
    ] = None,
    region: Region = None,
    pue: Pue = 1.0,
    price: Price = None,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Write a report of runs: results, energy and accuracy, power over time, statistics."""
    if experiment is None and energy is not None:
        raise UsageError("--energy belongs to the report with --experiment: add --experiment all, or give --convention")
    from passkwh.adapters.early_exit.training.log import apart
    from passkwh.analysis.comparable_groups import chosen_convention

    folders, training = apart(runs)
    if experiment not in ("early-exit", "all"):
        for option, given in (("--metric", metric), ("a training's folder", training)):
            if given:
                raise UsageError(f"{option} belongs to the report on early exit: add --experiment early-exit")
    from passkwh.cli.live import AFTER_S, LiveProgress
    from passkwh.harness.progress import Steps
    from passkwh.reports.document.build import write

    settings = analysis_settings(
        chosen_convention(folders, convention), energy, resamples, seed, level, margin, deadline_s=deadline_s
    )
    settings = settings.model_copy(update={"footprint": footprint_assumptions(region, pue, price)})
    place = out or Path("report" if experiment else "report.html")
    outline = experiment or "short"
    with LiveProgress("report", AFTER_S) as live:
        written = write(
            folders, place, outline, settings, strict=strict, metrics=metric or (), training=training, note=note,
            count=Steps(live).count,
        )  # fmt: skip
    page = written.files[0]
    if as_json:
        files = {"written": [str(path) for path in written.files]} if experiment else {}
        print_json({**written.content, "report": str(page), **files})
        return
    if experiment:
        note(f"{len(written.files)} files written to {place}")
    print(page.resolve())
