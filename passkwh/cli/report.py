"""``bench report``: complete runs as one self-contained HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from passkwh.cli.output import print_json
from passkwh.errors import UsageError


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or folders that hold run folders.")],
    out: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("report.html"),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line of stdout.")] = False,
) -> None:
    """Write a report that compares runs: results, energy and accuracy, power over time."""
    from passkwh.harness.store import write_atomic
    from passkwh.reports.page import render
    from passkwh.reports.runs import load_runs

    if out.is_dir():
        raise UsageError(f"--out {out} is a folder: name the HTML file to write")
    views = load_runs(runs)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, render(views))
    if as_json:
        print_json({"report": str(out), "runs": [str(view.path) for view in views]})
    else:
        print(out.resolve())
