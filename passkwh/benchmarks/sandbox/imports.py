"""Which libraries a program needs, by its import statements."""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Iterable, Sequence

from passkwh.benchmarks.sandbox.jobs import PreloadGroup


def parse(code: str) -> ast.Module | None:
    """The syntax tree, or None when the code does not parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def imported_modules(code: str) -> set[str]:
    """Dotted names of all that ``code`` imports, parents and imported attributes included; empty if it cannot parse."""
    names: set[str] = set()
    for node in ast.walk(parse(code) or ast.Module(body=[], type_ignores=[])):
        if isinstance(node, ast.Import):
            imported = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported = [node.module] + [f"{node.module}.{alias.name}" for alias in node.names if alias.name != "*"]
        else:
            continue
        for name in imported:
            parts = name.split(".")
            names.update(".".join(parts[:count]) for count in range(1, len(parts) + 1))
    return names


def libraries(code: str) -> set[str]:
    """Top-level names of imports that are not of the standard library."""
    return {name for name in imported_modules(code) if "." not in name} - sys.stdlib_module_names


def group_of(needed: Iterable[str], groups: Sequence[PreloadGroup]) -> int:
    """Index of the first group that has all ``needed`` libraries, those that no group has left aside."""
    missing = set(needed) & {name for group in groups for name in group.libraries}
    for index, group in enumerate(groups):
        missing -= group.libraries
        if not missing:
            return index
    raise ValueError("there must be a preload group")
