"""``bench export``: runs as files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from passkwh.cli import complete
from passkwh.cli.options import AsJson, ConventionName, out_folder
from passkwh.cli.output import note, print_json


def export(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or folders that hold run folders.")],
    out: Annotated[Path, typer.Option(help="The folder to write to.", callback=out_folder)],
    format: Annotated[
        str,
        typer.Option(
            "--format",
            help="csv, parquet, eee, hf-eval, inspect, mlperf, or another of `bench list`.",
            autocompletion=complete.exports,
        ),
    ] = "csv",
    convention: ConventionName = None,
    as_json: AsJson = False,
) -> None:
    """Write runs in the form of other programs: tables, evaluation logs, the hub's results, MLPerf's records."""
    from passkwh.registry import EXPORTS

    chosen = EXPORTS.get(format)  # a wrong name is told before runs are read
    from passkwh.analysis.comparable_groups import chosen_convention, complete_runs
    from passkwh.analysis.conventions import stated
    from passkwh.analysis.frames import load

    paths, left_out = complete_runs(runs)
    for text in left_out:
        note(f"note: {text}")
    frames = load(paths, chosen_convention(runs, convention))
    first = frames.runs[0]
    note(f"note: energies {stated(frames.runs, first.convention.energy)}")
    files = chosen.write(frames, out)
    if as_json:
        print_json({"format": format, "convention": first.convention.name, "files": [str(file) for file in files]})
    else:
        for file in files:
            print(file.resolve())
