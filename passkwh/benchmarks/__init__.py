"""The benchmarks, by name. A new one is one new file and one line here."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from passkwh.errors import UsageError

if TYPE_CHECKING:
    from passkwh.benchmarks.base import Benchmark
    from passkwh.records import Option

_REGISTRY = {
    "bigcodebench": "passkwh.benchmarks.bigcodebench.benchmark:BigCodeBench",
    "humaneval": "passkwh.benchmarks.humaneval:HumanEval",
    "javacorpus": "passkwh.benchmarks.completion.benchmark:JavaCorpus",
    "mbpp": "passkwh.benchmarks.mbpp:Mbpp",
    "py150": "passkwh.benchmarks.completion.benchmark:Py150",
}


def names() -> list[str]:
    """Names of the benchmarks, sorted."""
    return sorted(_REGISTRY)


def open(name: str, options: Mapping[str, Option], limit: int | None = None) -> Benchmark:
    """The benchmark ``name`` with its own ``options``, only its first ``limit`` tasks; loads and checks its data.

    Raises UsageError for an unknown name, an unknown option or data that cannot be used.
    """
    if name not in _REGISTRY:
        close = difflib.get_close_matches(name, _REGISTRY, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(names())}"
        raise UsageError(f"unknown benchmark {name!r}; {hint}")
    module, _, attribute = _REGISTRY[name].partition(":")
    benchmark: Benchmark = getattr(import_module(module), attribute)(dict(options), limit)
    return benchmark
