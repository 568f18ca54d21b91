"""Which libraries BigCodeBench's programs share: each group's process is forked from the one before it."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from passkwh.benchmarks.bigcodebench.tasks import BigCodeBenchTask
from passkwh.benchmarks.sandbox import PreloadGroup
from passkwh.benchmarks.sandbox.imports import imported_modules

_CORE = frozenset(
    {
        "PIL", "bs4", "dateutil", "faker", "matplotlib", "mpl_toolkits", "numpy", "pandas", "pytz", "regex",
        "requests", "scipy", "seaborn", "sklearn",
    }
)  # fmt: skip
_TENSORFLOW = frozenset({"keras", "tensorflow"})
_NEVER_AHEAD = frozenset({"antigravity", "pyfakefs", "this", "tkinter", "turtle"})
"""Modules whose import shows something, needs a display or patches others."""
_LAZY = ("pandas.io.excel", "pandas.io.formats.csvs", "xlrd")
"""Parts that pandas imports when they are first used."""


def modules(task: BigCodeBenchTask) -> frozenset[str]:
    """Dotted names of what a task's reference solution and its test import."""
    return frozenset(imported_modules(task.reference + "\n" + task.test))


def preload_groups(names: Iterable[str]) -> tuple[PreloadGroup, ...]:
    """Standard library, the common scientific libraries, all others, TensorFlow; with the modules in ``names``."""
    by_top: dict[str, list[str]] = {}
    for name in sorted(names):
        by_top.setdefault(name.partition(".")[0], []).append(name)
    standard = set(by_top) & sys.stdlib_module_names
    others = set(by_top) - standard - _CORE - _TENSORFLOW

    def preload(tops: Iterable[str]) -> tuple[str, ...]:
        return tuple(name for top in sorted(tops) if top not in _NEVER_AHEAD for name in by_top.get(top, ()))

    return (
        PreloadGroup("standard library", frozenset(), preload(standard)),
        PreloadGroup("common libraries", _CORE, preload(_CORE), warm="matplotlib" in by_top),
        PreloadGroup("other libraries", frozenset(others), preload(others) + (_LAZY if "pandas" in by_top else ())),
        PreloadGroup("tensorflow", _TENSORFLOW, preload(_TENSORFLOW)),
    )
