"""``bench verify``: run a benchmark's reference solutions here, for deadlines and to know which tasks are sound."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from passkwh.cli.output import note, print_json, print_table, table
from passkwh.errors import UsageError

_NOTE_EVERY_S = 10.0


def verify(
    benchmark: Annotated[str, typer.Argument(help="bigcodebench.")],
    subset: Annotated[str | None, typer.Option(help="sample (embedded), full or hard (from the hub).")] = None,
    data: Annotated[Path | None, typer.Option(help="Local file with the benchmark's tasks.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many tasks.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Programs at a time; 0 is one per core.")] = 0,
    unsafe_evaluation: Annotated[
        bool, typer.Option("--unsafe-evaluation", help="Go on where the kernel refuses a layer of the isolation.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line of stdout.")] = False,
) -> None:
    """Run the reference solutions of a benchmark and remember whether they pass here and how long they take."""
    if benchmark != "bigcodebench":
        raise UsageError(f"{benchmark} has no reference solutions to run; bench verify knows bigcodebench")
    from passkwh.benchmarks.bigcodebench.benchmark import BigCodeBench

    given: dict[str, Any] = {"subset": subset, "data": str(data) if data else None}
    options = {name: value for name, value in given.items() if value is not None}
    opened = BigCodeBench({**options, "workers": workers, "unsafe_evaluation": unsafe_evaluation}, limit)
    began = told = time.monotonic()
    statuses: dict[str, str] = {}
    failures: list[dict[str, str]] = []
    cpu_s = 0.0
    for task_id, reference in opened.verify():
        statuses[task_id] = reference.status if reference else "not_evaluated"
        if reference is not None:
            cpu_s += reference.cpu_s
            if reference.status != "pass":
                failures.append({"task_id": task_id, "status": reference.status, "detail": reference.detail})
        if time.monotonic() - told > _NOTE_EVERY_S:
            told = time.monotonic()
            note(f"{len(statuses)} of {len(opened.tasks)} reference solutions run, {len(failures)} do not pass")
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
