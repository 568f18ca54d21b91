"""``bench verify``: run a benchmark's reference solutions here, for deadlines and to know which tasks are sound."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from passkwh.cli import complete
from passkwh.cli.benchmark_options import OPTION_HELP, benchmark_options
from passkwh.cli.options import Since, TaskIds, TaskLimit, Until
from passkwh.cli.output import note, print_json, print_table, table
from passkwh.errors import UsageError


def verify(
    benchmark: Annotated[
        str,
        typer.Argument(
            help="A benchmark whose data hold solutions; see `bench list`.", autocompletion=complete.benchmarks
        ),
    ],
    subset: Annotated[str | None, typer.Option(help="Part of the benchmark: for example sample, full or hard.")] = None,
    data: Annotated[Path | None, typer.Option(help="Local file with the benchmark's tasks.")] = None,
    option: Annotated[list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help=OPTION_HELP)] = None,
    since: Since = None,
    until: Until = None,
    task_ids: TaskIds = None,
    limit: TaskLimit = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Programs at a time; 0 is one per core.")] = None,
    unsafe_evaluation: Annotated[
        bool, typer.Option("--unsafe-evaluation", help="Go on where the kernel refuses a layer of the isolation.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line of stdout.")] = False,
) -> None:
    """Run the reference solutions of a benchmark and remember whether they pass here and how long they take."""
    from passkwh import benchmarks
    from passkwh.benchmarks import selection
    from passkwh.benchmarks.base import HasReferences
    from passkwh.cli.live import AFTER_S, LiveProgress
    from passkwh.harness.progress import Status

    options = benchmark_options(
        option,
        subset=subset,
        data=data,
        since=since,
        until=until,
        workers=workers,
        unsafe_evaluation=unsafe_evaluation or None,
    )  # fmt: skip
    opened = benchmarks.open(benchmark, options, limit, selection.parse(task_ids) if task_ids is not None else ())
    if not isinstance(opened, HasReferences):
        raise UsageError(
            f"benchmark {benchmark} has no reference solutions to run: give one whose data hold them, such as humaneval"
        )
    began = time.monotonic()
    statuses: dict[str, str] = {}
    failures: list[dict[str, str]] = []
    cpu_s = 0.0
    with LiveProgress(f"verify {benchmark}", AFTER_S) as live:
        for score in opened.verify():
            if score.verdict is None:
                continue
            statuses[score.key] = score.verdict.status
            cpu_s += score.cpu_s or 0.0
            if score.verdict.status not in ("pass", "not_evaluated"):
                failures.append({"task_id": score.key, "status": score.verdict.status, "detail": score.verdict.detail})
            passes = len(statuses) - len(failures)
            live.update(Status("run reference solutions", len(statuses), len(opened.tasks), passes))
    counts = {status: list(statuses.values()).count(status) for status in sorted(set(statuses.values()))}
    order = {task.task_id: index for index, task in enumerate(opened.tasks)}
    failures.sort(key=lambda failure: order[failure["task_id"]])
    if as_json:
        wall_s = time.monotonic() - began
        print_json({"tasks": len(statuses), **counts, "failures": failures, "wall_s": wall_s, "cpu_s": cpu_s})
        return
    note(", ".join(f"{count} {status}" for status, count in counts.items()))
    if failures:
        rows = [[f["task_id"], f["status"], f["detail"].splitlines()[0][:120] if f["detail"] else ""] for f in failures]
        print_table(table("Reference solutions that do not pass here", ["task", "status", "why"], rows))
