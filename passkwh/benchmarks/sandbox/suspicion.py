"""What the text of a program, and of its test, say about how a pass is looked at again.

``reasons`` names what no honest solution writes. ``unusual`` is whether a program contains anything with which it could
reach its judge: all that is not plainly harmless. ``separable`` is whether a test can run in another process than the
program it calls.
"""

from __future__ import annotations

import ast
import builtins
import re
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from passkwh.benchmarks.sandbox.imports import imported_modules, parse

_FILE = Path(__file__).with_suffix(".toml")
_TABLES = {name: frozenset(names) for name, names in tomllib.loads(_FILE.read_text("utf-8")).items()}
_ORDINARY_DUNDERS, _TAME, _ATTRIBUTES = (_TABLES[n] for n in ("ordinary_dunders", "tame_modules", "attributes"))
_DYNAMIC, _TEST_MODULES, _TEST_NAMES = (_TABLES[n] for n in ("dynamic", "separable_modules", "inseparable_names"))
_DUNDER = re.compile(r"__\w+__")
_BUILTINS = frozenset(vars(builtins))
_FRAME_ATTRIBUTES = ("f_back", "f_locals", "f_globals", "f_code", "f_builtins")
"""Reading them raises no audit event; a signal handler is given a frame."""
_STORES = ast.Store | ast.Del


def reasons(code: str) -> tuple[str, ...]:
    """Why a pass of this program in its judge's process is not to be trusted, whatever its run looked like."""
    noticed: dict[str, None] = {}
    for node in ast.walk(parse(code) or ast.Module(body=[], type_ignores=[])):
        name = node.value if isinstance(node, ast.Constant) else node.id if isinstance(node, ast.Name) else None
        if name == "TestCases" or name == "/proc/self/mem":
            noticed[f"names {name}"] = None
        if (node.attr if isinstance(node, ast.Attribute) else name) in _FRAME_ATTRIBUTES:
            noticed["reads frames"] = None
    return tuple(noticed)


def unusual(code: str) -> bool:
    """Whether the program contains anything with which it could change or read its judge.

    What it may contain without: functions, expressions, assignments to names and items, imports of modules that
    neither evaluate text nor set attributes of what they are given. A class, an attribute that is set, a name with two
    underscores, a builtin that is hidden, an import of any other module: all that asks for a second look.
    """
    tree = parse(code)
    if tree is None:
        return True
    return any(_is_unusual(node) for node in ast.walk(tree)) or any(name in _BUILTINS for name in _bound(tree))


def _is_unusual(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        return any(alias.name.partition(".")[0] not in _TAME for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        names = [*(node.module or ".").split("."), *(alias.name for alias in node.names)]
        return names[0] not in _TAME or any(_is_odd(name) or name == "*" for name in names)
    if isinstance(node, ast.Attribute):
        return isinstance(node.ctx, _STORES) or _is_odd(node.attr)
    if isinstance(node, ast.Name):
        return node.id in _DYNAMIC or node.id == "TestCases" or (node.id.startswith("__") and _is_odd(node.id))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return bool(_DUNDER.fullmatch(node.name))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        made_class = node.func.id == "type" and len(node.args) != 1
        return made_class or (node.func.id in ("getattr", "hasattr") and _reads_odd(node.args[1:2]))
    if isinstance(node, ast.keyword):
        return node.arg is None or node.arg in _ATTRIBUTES
    return isinstance(node, ast.ClassDef | ast.Global)


def _is_odd(name: str) -> bool:
    """Whether an attribute is private, special or known to lead to frames, hooks, modules or evaluation."""
    return name in _ATTRIBUTES or (name.startswith("_") and name != "_" and name not in _ORDINARY_DUNDERS)


def _reads_odd(arguments: list[ast.expr]) -> bool:
    """Whether the attribute that is read by name is odd, or cannot be known."""
    constant = arguments[0].value if arguments and isinstance(arguments[0], ast.Constant) else None
    return not isinstance(constant, str) or _is_odd(constant)


def _bound(tree: ast.Module) -> Iterator[str]:
    """Names that a program binds in its module."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, _STORES):
            yield node.id
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            yield node.name
        waiting.extend(ast.iter_child_nodes(node))


@lru_cache(maxsize=2048)
def separable(test: str) -> bool:
    """Whether a test only calls functions with values, as far as its text says: it needs no mock, no log, no warning
    and no library whose objects have no plain form."""
    tree = parse(test)
    if tree is None:
        return False
    tops = {name.partition(".")[0] for name in imported_modules(test)}
    if not tops <= _TEST_MODULES:
        return False
    for node in ast.walk(tree):
        names = (getattr(node, field, None) for field in ("id", "attr", "name", "module"))
        if any(isinstance(name, str) and not _TEST_NAMES.isdisjoint(name.split(".")) for name in names):
            return False
    return True
