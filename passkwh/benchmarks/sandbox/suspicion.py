"""What the text of a program says about whether its pass can be trusted.

``reasons`` names what no honest solution writes. ``unusual`` is broader: it only asks for a second look, a run with
protected tests, whose outcome decides.
"""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

from passkwh.benchmarks.sandbox.imports import parse

_FILE = Path(__file__).with_suffix(".toml")
_TABLES = {name: frozenset(names) for name, names in tomllib.loads(_FILE.read_text("utf-8")).items()}
_COMPARISONS, _ORDINARY_DUNDERS, _RAW_MEMORY = (_TABLES[n] for n in ("comparisons", "ordinary_dunders", "raw_memory"))
_JUDGE_MODULES, _DYNAMIC, _ATTRIBUTES = (_TABLES[n] for n in ("judge_modules", "dynamic", "attributes"))
_DUNDER = re.compile(r"__\w+__")


def reasons(code: str) -> tuple[str, ...]:
    """Why a pass of this program is not to be trusted, whatever its run looked like."""
    noticed: dict[str, None] = {}
    for node in ast.walk(parse(code) or ast.Module(body=[], type_ignores=[])):
        for reason in _of_node(node):
            noticed[reason] = None
    return tuple(noticed)


def _of_node(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ClassDef):
        return [f"overrides {name}" for name in _overridden(node)]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return ["uses ctypes"] if _imported(node) & _RAW_MEMORY else []
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        if node.value in _COMPARISONS:
            return [f"overrides {node.value}"]
        return [f"names {node.value}"] if node.value in ("TestCases", "/proc/self/mem") else []
    if isinstance(node, ast.Name) and node.id == "TestCases":
        return ["names TestCases"]
    if isinstance(node, ast.Attribute) and node.attr == "ANY":
        return ["uses an object that equals everything"]
    return []


def _imported(node: ast.Import | ast.ImportFrom) -> set[str]:
    """Top-level names of the modules that a statement imports."""
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
    return {name.split(".")[0] for name in names}


def _overridden(node: ast.ClassDef) -> list[str]:
    """Comparison methods that a class defines and that do not depend on anything: they always answer the same."""
    names = []
    for item in node.body:
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and item.name in _COMPARISONS:
            returned = [part.value for part in ast.walk(item) if isinstance(part, ast.Return)]
            if any(value is None or (isinstance(value, ast.Constant) and value.value is True) for value in returned):
                names.append(item.name)
        elif isinstance(item, ast.Assign):
            names += [
                target.id for target in item.targets if isinstance(target, ast.Name) and target.id in _COMPARISONS
            ]
    return names


def unusual(code: str) -> bool:
    """Whether the program uses anything with which it could reach its judge."""
    tree = parse(code)
    if tree is None:
        return True
    return any(_is_unusual(node) for node in ast.walk(tree))


def _is_unusual(node: ast.AST) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return bool(_imported(node) & _JUDGE_MODULES) or any(
            alias.name in _ATTRIBUTES or _is_odd_dunder(alias.name) for alias in node.names
        )
    if isinstance(node, ast.Attribute):
        return node.attr in _ATTRIBUTES or _is_odd_dunder(node.attr)
    if isinstance(node, ast.Name):
        return node.id in _DYNAMIC or _is_odd_dunder(node.id) or node.id == "TestCases"
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return _is_odd_dunder(node.name)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        made_class = node.func.id == "type" and len(node.args) == 3
        return made_class or (node.func.id == "getattr" and not _is_constant(node.args[1:2]))
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return bool(_DUNDER.fullmatch(node.value)) and _is_odd_dunder(node.value)
    return isinstance(node, ast.ClassDef) and bool(node.keywords)


def _is_constant(arguments: list[ast.expr]) -> bool:
    return bool(arguments) and isinstance(arguments[0], ast.Constant)


def _is_odd_dunder(name: str) -> bool:
    return bool(_DUNDER.fullmatch(name)) and name not in _ORDINARY_DUNDERS
