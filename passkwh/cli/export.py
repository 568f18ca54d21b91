"""``bench export``: runs and samples as files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from passkwh.cli.options import AsJson
from passkwh.cli.output import note, print_json


def export(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or folders that hold run folders.")],
    out: Annotated[Path, typer.Option(help="The folder to write to.")],
    format: Annotated[str, typer.Option("--format", help="csv, parquet, or another of `bench list`.")] = "csv",
    as_json: AsJson = False,
) -> None:
    """Write the tables of runs and of samples for spreadsheets, notebooks and databases."""
    from passkwh.registry import EXPORTS

    chosen = EXPORTS.get(format)  # a wrong name is told before runs are read
    from passkwh.analysis.comparable_groups import complete_runs
    from passkwh.analysis.frames import load

    paths, left_out = complete_runs(runs)
    for text in left_out:
        note(f"note: {text}")
    files = chosen.write(load(paths), out)
    if as_json:
        print_json({"format": format, "files": [str(file) for file in files]})
    else:
        for file in files:
            print(file.resolve())
