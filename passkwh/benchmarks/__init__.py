"""Benchmarks: tasks with a way of scoring. A new one is one new file and one line in ``passkwh.registry``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from passkwh.registry import BENCHMARKS

if TYPE_CHECKING:
    from passkwh.benchmarks.base import Benchmark
    from passkwh.records import Option


def open(name: str, options: Mapping[str, Option], limit: int | None = None) -> Benchmark:
    """The benchmark ``name`` with its own ``options``, only its first ``limit`` tasks; loads and checks its data.

    Raises UsageError for an unknown name, an unknown option or data that cannot be used.
    """
    benchmark: Benchmark = BENCHMARKS.get(name)(dict(options), limit)
    return benchmark
