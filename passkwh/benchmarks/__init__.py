"""Benchmarks: tasks with a way of scoring. A new one is one new file and one line in ``passkwh.registry``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from passkwh.errors import UsageError
from passkwh.registry import BENCHMARKS

if TYPE_CHECKING:
    from passkwh.benchmarks.base import Benchmark
    from passkwh.records import Option


def open(name: str, options: Mapping[str, Option], limit: int | None = None, task_ids: Sequence[str] = ()) -> Benchmark:
    """The benchmark ``name`` with its own ``options``; loads and checks its data.

    Args:
        task_ids: only these tasks, in the benchmark's order; all where there are none.
        limit: of the tasks that are then left, only the first so many.

    Raises UsageError for an unknown name, an unknown option, an unknown task or data that cannot be used.
    """
    member = BENCHMARKS.get(name)
    if task_ids and "task_ids" not in inspect.signature(member).parameters:  # one that an older package provides
        raise UsageError(f"benchmark {name} of {BENCHMARKS.provider(name)} takes no task ids: use --limit")
    named = {"task_ids": tuple(task_ids)} if task_ids else {}
    benchmark: Benchmark = member(dict(options), limit, **named)
    return benchmark
