"""A second look at a pass: the same tests with protected assertions, and an eye on how results are compared.

The test class derives from a private copy of unittest and goes by another name, so that patching unittest or searching
for ``TestCases`` has no effect. Functions of the program that are entered through a comparison made by a test are
reported: the object that claims to equal everything shows itself.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import dis
import importlib.util
import sys
import types
import unittest
import unittest.case
from collections.abc import Callable
from types import FrameType
from typing import Any

globals()["__builtins__"] = dict(vars(builtins))

_COMPARISONS = {
    "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__contains__", "__bool__", "__instancecheck__",
    "__subclasscheck__",
}  # fmt: skip
_COMPARING = {dis.opmap[name] for name in ("COMPARE_OP", "CONTAINS_OP") if name in dis.opmap}
_FUTURE = 0
for _name in __future__.all_feature_names:
    _FUTURE |= getattr(__future__, _name).compiler_flag
_MODULES = ("util", "result", "case", "suite", "loader")  # in the order in which they import each other

Send = Callable[[str, str], bool]


def private_unittest() -> dict[str, types.ModuleType]:
    """Fresh copies of unittest's modules, which use each other and builtins as they are now."""
    public = {name: sys.modules[f"unittest.{name}"] for name in _MODULES}
    copies: dict[str, types.ModuleType] = {}
    try:
        for name in _MODULES:
            spec = importlib.util.find_spec(f"unittest.{name}")
            if spec is None or spec.loader is None:
                raise ImportError(f"unittest.{name}")
            copies[name] = importlib.util.module_from_spec(spec)
            copies[name].__dict__["__builtins__"] = dict(vars(builtins))
            sys.modules[f"unittest.{name}"] = copies[name]
            setattr(unittest, name, copies[name])
            spec.loader.exec_module(copies[name])
    finally:
        for name, module in public.items():
            sys.modules[f"unittest.{name}"] = module
            setattr(unittest, name, module)
    # Tests raise the public exceptions; they must mean the same to the private runner.
    for name in ("SkipTest", "_ShouldStop"):
        setattr(copies["case"], name, getattr(unittest.case, name))
    return copies


class _Protect(ast.NodeTransformer):
    """Derive test classes from the private TestCase and give them names that nobody can guess."""

    def __init__(self, base: str, suffix: str) -> None:
        self._base = base
        self._suffix = suffix

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        node.bases = [ast.Name(self._base, ast.Load()) if _is_test_case(base) else base for base in node.bases]
        if node.name == "TestCases":
            node.name += self._suffix
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id == "TestCases":
            node.id += self._suffix
        return node


def _is_test_case(node: ast.expr) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr == "TestCase") or (
        isinstance(node, ast.Name) and node.id == "TestCase"
    )


def protected(code: str, test: str, file: str, suffix: str) -> tuple[list[types.CodeType], str]:
    """The program and its protected tests, compiled one after the other; and the name of the base class to provide."""
    tree = ast.parse(code + "\n" + test, file)
    lines = code.count("\n") + 1
    base = "TestCase" + suffix
    protect = _Protect(base, suffix)
    program = ast.Module([node for node in tree.body if node.lineno <= lines], [])
    tests = ast.Module([protect.visit(node) for node in tree.body if node.lineno > lines], [])
    first = compile(program, file, "exec", dont_inherit=True)
    futures = first.co_flags & _FUTURE
    second = compile(ast.fix_missing_locations(tests), file, "exec", flags=futures, dont_inherit=True)
    return [first, second], base


def watch_comparisons(file: str, code_lines: int, any_allowed: bool, send: Send) -> Callable[..., None]:
    """A profile function that reports comparisons, made by a test or by unittest, which the program's code answers."""
    reported: set[str] = set()

    def belongs_to_program(frame: FrameType) -> bool:
        name, line = frame.f_code.co_filename, frame.f_code.co_firstlineno
        if name.endswith("unittest/mock.py"):
            return not any_allowed and "_ANY" in getattr(frame.f_code, "co_qualname", "")
        return (name == file and line <= code_lines) or (name.startswith("<") and not name.startswith("<frozen"))

    def belongs_to_test(frame: FrameType | None) -> bool:
        if frame is None:
            return False
        name = frame.f_code.co_filename
        return (name == file and frame.f_lineno > code_lines) or "unittest/" in name

    def profile(frame: FrameType, event: str, _argument: Any) -> None:
        if event != "call" or not belongs_to_program(frame) or not belongs_to_test(frame.f_back):
            return
        caller = frame.f_back
        opcode = caller.f_code.co_code[caller.f_lasti] if caller is not None and caller.f_lasti >= 0 else -1
        name = frame.f_code.co_name
        if (opcode in _COMPARING or name in _COMPARISONS) and name not in reported:
            reported.add(name)
            send("suspect", f"answers comparisons of its tests itself ({name})")

    return profile
