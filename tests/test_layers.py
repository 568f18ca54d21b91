"""Imports point down: from cli to the contract, as docs/architecture.md draws it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "passkwh"

# A layer may import those of a lower rank, and itself; layers of one rank do not import each other.
RANK = {
    "errors": 0, "units": 0, "records": 0, "prompts": 0, "stored": 0, "clean": 0, "strict_json": 0, "registry": 1,
    "cache": 1, "environments": 1, "passk": 1, "measures": 2, "adapters": 3, "benchmarks": 3, "harness": 4,
    "analysis": 5, "exchange": 6, "reports": 6, "serve": 6, "api": 7, "cli": 8,
}  # fmt: skip


def layer_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of every import of ours, at the top of a file or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "passkwh":
            if node.module == "passkwh":
                yield from ((node.lineno, f"passkwh.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, node.module
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, a.name) for a in node.names if a.name.split(".")[0] == "passkwh")


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if own == "__init__":
        return
    assert own in RANK, f"passkwh/{own} has no place in the house: give it a rank here and in docs/architecture.md"
    for line, module in imports(path):
        layer = layer_of(module)
        if layer in RANK:  # names such as passkwh.__version__ have no layer
            assert RANK[layer] < RANK[own] or layer == own, f"{path}:{line} imports {module}, which is above it"


def test_the_contract_imports_nothing_of_ours() -> None:
    for name in ("units.py", "errors.py", "prompts.py", "stored.py", "clean.py", "strict_json.py"):
        assert list(imports(PACKAGE / name)) == []
    for path in (PACKAGE / "records").glob("*.py"):
        assert all(layer_of(module) == "records" for _, module in imports(path)), path
