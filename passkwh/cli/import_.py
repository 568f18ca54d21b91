"""``bench import``: another tool's samples as a run, with our verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from passkwh.cli import complete
from passkwh.cli.benchmark_options import OPTION_HELP, benchmark_options
from passkwh.cli.options import AsJson, TaskData, UnsafeEvaluation, Workers, out_folder
from passkwh.cli.output import note, print_json, say
from passkwh.errors import UsageError

SHOWN = 5
"""So many samples on which two judges differ are named."""


def import_(
    source: Annotated[list[str], typer.Argument(metavar="[FORMAT] FILE", help="The file that the tool wrote.")],
    out: Annotated[Path, typer.Option(help="The run folder to make.", callback=out_folder)],
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="bigcodebench, evalplus, inspect, lm-eval; default: by its content.",
            autocompletion=complete.imports,
        ),
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(
            "--benchmark",
            "-b",
            help="Whose tasks these are; default: as the file says.",
            autocompletion=complete.benchmarks,
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="What to call the model; default: as the file says.")] = None,
    tool_version: Annotated[str | None, typer.Option(help="Of the tool, where its file does not state it.")] = None,
    data: TaskData = None,
    option: Annotated[list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help=OPTION_HELP)] = None,
    workers: Workers = 0,
    unsafe_evaluation: UnsafeEvaluation = False,
    as_json: AsJson = False,
) -> None:
    """Make a run of the samples that another tool wrote: judged here, the tool's own verdicts apart, no energy."""
    from passkwh.cli.live import AFTER_S, LiveProgress
    from passkwh.exchange.importing import REPORTED, import_file
    from passkwh.harness.progress import Status

    if len(source) > 2:
        raise UsageError(f"bench import takes one file, and {len(source)} were given: import them one by one")
    *named, path = source
    if named and format not in (None, named[0]):
        raise UsageError(f"the format is given twice, as {named[0]} and --format {format}: leave one out")
    options = benchmark_options(option, data=data, workers=workers or None, unsafe_evaluation=unsafe_evaluation or None)
    with LiveProgress("import", AFTER_S) as live:
        result = import_file(
            Path(path),
            out,
            format=named[0] if named else format,
            benchmark=benchmark,
            options=options,
            model=model,
            tool_version=tool_version,
            progress=lambda done, of: live.update(Status("run programs", done, of)),
        )
    for text in result.notes:
        note(f"note: {text}")
    summary, imported = result.summary, result.imported
    if as_json:
        print_json(
            {
                "run": str(result.path), "samples": summary.samples, "tasks": summary.tasks,
                "pass_at_k": summary.pass_at_k, "imported": imported.model_dump(mode="json"),
                "differing": list(result.differing),
            }
        )  # fmt: skip
        return
    energy = (
        "no energy, it was not metered here" if imported.energies == "missing" else "energies as the file states them"
    )
    say(f"{result.path.resolve()}: {summary.samples} samples of {summary.tasks} tasks from {imported.origin}; {energy}")
    for k, share in summary.pass_at_k.items():
        say(f"  pass@{k} by pass@kWh: {share:.4f}")
    for name, (passed, of) in imported.reported.items():
        say(f"  {name} by {imported.tool}: {passed} of {of} samples passed (apart, in {REPORTED})")
    if result.differing:
        more = f" and {len(result.differing) - SHOWN} more" if len(result.differing) > SHOWN else ""
        say(f"  verdicts differ: {'; '.join(result.differing[:SHOWN])}{more}")
