"""What the text of a test uses: what of it the program, its surroundings or a library must provide."""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterator
from typing import Any


def of(test: str) -> dict[str, Any]:
    """What a look with the test in a process of its own has to know of it, for the job's message.

    ``free``: names that it uses and binds nowhere; ``imports``: its import statements; ``defined``: its own functions
    and classes. It depends on the test alone, so the controller finds it once and not every process again.
    """
    body = ast.parse(test).body
    imports = [node for node in body if isinstance(node, (ast.Import, ast.ImportFrom))]
    return {
        "free": free_names(test),
        "imports": "\n".join(map(ast.unparse, imports)),
        "defined": [node.name for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))],
    }


def free_names(test: str) -> list[str]:
    """Names that a test uses and binds nowhere: the program's, those of its surroundings, builtins."""
    top = symtable.symtable(test, "test", "exec")
    bound = {name.get_name() for name in top.get_symbols() if name.is_assigned() or name.is_imported()}
    used: set[str] = set()
    tables = [top]
    for table in tables:
        tables += table.get_children()
        used |= {
            name.get_name()
            for name in table.get_symbols()
            if name.is_referenced() and (table is top or name.is_global())
        }
    return sorted(used - bound)


def imported(test: str) -> list[str]:
    """Modules that a test imports, or may: what stands behind ``from a import`` may be the module ``a.b``."""
    names: list[str] = []
    for node in ast.walk(ast.parse(test)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


def attributes(test: str) -> Iterator[str]:
    """Names of members that a test uses, by a dot or by an import."""
    for node in ast.walk(ast.parse(test)):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "." in node.value:
            yield from node.value.split(".")  # what is patched by its name
