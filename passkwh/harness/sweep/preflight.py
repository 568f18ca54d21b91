"""What each configuration of a study would be on this host, and what stands in its way, before anything starts.

Runs in a process of its own, ``python -m passkwh.harness.sweep.preflight``, with specs as JSON on stdin and the answer
as JSON on stdout: asking a GPU for its memory makes a CUDA context, which draws tens of watts for as long as it lives
and must not stay beside metered runs.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from passkwh.errors import UsageError
from passkwh.harness.plan import PlanReport, plan
from passkwh.records import HostInfo, Option, Record, Spec

if TYPE_CHECKING:
    from passkwh.benchmarks.base import Benchmark


class Preflight(Record):
    """All configurations on one host."""

    host: HostInfo
    plans: tuple[PlanReport, ...]


def preflight(specs: Sequence[Spec]) -> Preflight:
    """``inspect`` in a process of its own, which has ended when this returns."""
    request = TypeAdapter(list[Spec]).dump_json(list(specs))
    done = subprocess.run(
        [sys.executable, "-m", "passkwh.harness.sweep.preflight"], input=request, stdout=subprocess.PIPE, check=False
    )
    if done.returncode != 0:
        raise UsageError(f"this host could not be looked at (exit status {done.returncode}): see the lines above")
    return Preflight.model_validate_json(done.stdout)


def inspect(specs: Sequence[Spec]) -> Preflight:
    """Plan every spec on this host; a benchmark that several have is opened once."""
    from passkwh import benchmarks
    from passkwh.harness.host import host_info

    @functools.cache
    def opened(
        name: str, options: tuple[tuple[str, Option], ...], limit: int | None, task_ids: tuple[str, ...]
    ) -> Benchmark:
        return benchmarks.open(name, dict(options), limit, task_ids)

    def open_benchmark(spec: Spec) -> Benchmark:
        return opened(spec.benchmark, tuple(sorted(spec.benchmark_options.items())), spec.limit, spec.task_ids)

    reports = (plan(spec, Path(), open_benchmark).report for spec in specs)
    return Preflight(host=host_info(), plans=tuple(reports))


def main() -> None:
    """The process: specs on stdin, a Preflight on stdout."""
    answer = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints must not come between
    specs = TypeAdapter(list[Spec]).validate_python(json.load(sys.stdin))
    with os.fdopen(answer, "w", encoding="utf-8") as file:
        file.write(inspect(specs).model_dump_json())


if __name__ == "__main__":
    main()
