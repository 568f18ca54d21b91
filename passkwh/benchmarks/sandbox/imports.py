"""Which libraries a program needs, by its import statements."""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Iterable, Sequence

from passkwh.benchmarks.sandbox.jobs import Tier


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
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found = [node.module] + [f"{node.module}.{alias.name}" for alias in node.names if alias.name != "*"]
        else:
            continue
        for name in found:
            parts = name.split(".")
            names.update(".".join(parts[:count]) for count in range(1, len(parts) + 1))
    return names


def libraries(code: str) -> set[str]:
    """Top-level names of imports that are not of the standard library."""
    return {name for name in imported_modules(code) if "." not in name} - sys.stdlib_module_names


def tier_of(needed: Iterable[str], tiers: Sequence[Tier]) -> int:
    """Index of the first tier that has all ``needed`` libraries, those that no tier has left aside."""
    missing = set(needed) & {name for tier in tiers for name in tier.libraries}
    for index, tier in enumerate(tiers):
        missing -= tier.libraries
        if not missing:
            return index
    raise ValueError("there must be a tier")
