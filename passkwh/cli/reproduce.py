"""``bench reproduce``: the thesis or GREEN-CODE held against its own tables, and own runs beside the printed ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from passkwh.cli import complete
from passkwh.cli.options import AsJson
from passkwh.cli.output import note, print_json, say
from passkwh.errors import UsageError

if TYPE_CHECKING:
    from passkwh.analysis.frames import Run


def reproduce(
    work: Annotated[
        str, typer.Argument(help="thesis or green-code.", autocompletion=complete.one_of("thesis", "green-code"))
    ],
    runs: Annotated[
        list[Path] | None, typer.Option("--runs", help="Run folders, or folders of runs, to put beside it; repeatable.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The HTML page. Default: reproduce-WORK.html.")] = None,
    as_json: AsJson = False,
) -> None:
    """Recompute every claim of a published work from its own tables, with a verdict each, on one page."""
    from passkwh.analysis.replications.printed import Work
    from passkwh.analysis.replications.reproduction import reproduce as hold_against_itself
    from passkwh.analysis.replications.verdicts import tally
    from passkwh.reports.reproduction import write_page

    chosen: Work | None = next((known for known in get_args(Work) if known == work), None)
    if chosen is None:
        raise UsageError(f"{work}: there is no such work; write one of {', '.join(get_args(Work))}")
    result = hold_against_itself(chosen, _runs(runs or [], chosen))
    place = out or Path(f"reproduce-{chosen}.html")
    write_page(result, place)
    if as_json:
        print_json({**result.model_dump(mode="json"), "page": str(place)})
        return
    for check in result.checks:
        if check.verdict == "conflicts" and check.kind in ("claim", "equation"):
            say(f"{check.place}: {check.says}: {check.computed} ({check.against})")
    note(f"{len(result.checks)} checks: {tally(result.counts)}; all with their reasons on the page")
    print(place.resolve())


def _runs(paths: list[Path], work: str) -> Sequence[Run]:
    if not paths:
        return ()
    from passkwh.analysis.comparable_groups import complete_runs
    from passkwh.analysis.frames import open_run

    complete, notes = complete_runs(paths)
    for text in notes:
        note(f"note: {text}")
    opened = [open_run(path, work) for path in complete]
    for run in opened:
        if run.convention_note:
            note(f"note: {run.convention_note}")
    return opened
