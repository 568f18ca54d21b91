"""A benchmark: programs that read standard input and print, judged by what they print."""

from __future__ import annotations

from pathlib import Path

from passkwh.benchmarks.stdio import StdioBenchmark


class ToySums(StdioBenchmark):
    """Four programs of one line each."""

    name = "toy-sums"
    embedded = Path(__file__).with_name("tasks.jsonl")
