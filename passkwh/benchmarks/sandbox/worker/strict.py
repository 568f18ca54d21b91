"""A second look at a pass in the program's own process: what its test stands on, what it compares, whether it judges.

The test class derives from a private copy of unittest and goes by another name. What the test refers to is compared
with what it was (``pristine``) after the program was loaded and around each call into it. Comparisons that the
program's own code answers are reported, and so are returned values that equal fresh objects. At the end the test runs
again without the program: one that still passes was not judging.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import contextlib
import dis
import importlib
import importlib.util
import secrets
import sys
import types
import unittest
import unittest.case
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from . import plain, pristine, uses, watch

globals()["__builtins__"] = dict(vars(builtins))

_EQUALITIES = ("__eq__", "__ne__")
_COMPARISONS = {
    "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__bool__", "__instancecheck__", "__subclasscheck__",
}  # fmt: skip
_ARITHMETIC = {"__sub__", "__rsub__", "__abs__", "__round__", "__float__", "__len__", "__contains__", "__hash__"}
"""What assertions compute with: a difference, its size, its rounding."""
_COMPARING = {dis.opmap[name] for name in ("COMPARE_OP", "CONTAINS_OP") if name in dis.opmap}
_FUTURE = 0
for _name in __future__.all_feature_names:
    _FUTURE |= getattr(__future__, _name).compiler_flag
_MODULES = ("util", "result", "case", "suite", "loader")  # in the order in which they import each other
_MACHINERY = ("contextlib", "traceback", "functools", "warnings", "signal", "operator", "re", "collections", "sys")
_RECORDED = ("assert", "method_calls", "called", "call_")
_MOST_CALLS, _MOST_VALUES, _CHANGES_AT_ONCE = 16, 200, 5
_ALIASES = {"np": "numpy", "pd": "pandas", "plt": "matplotlib.pyplot", "sns": "seaborn"}

Send = Callable[[str, str], bool]
Tests = Callable[[types.ModuleType], list[tuple[str, str]]]


class Look:
    """One such look at a program with its test; made before any of the program's code runs."""

    def __init__(self, code: str, test: str, file: str, send: Send) -> None:
        suffix = "_" + secrets.token_hex(8)
        self.cases_name = "TestCases" + suffix
        self.code_lines = code.count("\n") + 1
        self.unittest = private_unittest()
        """Private copies of its modules, by name."""
        self.again = False
        """Whether the test runs without the program."""
        base = "TestCase" + suffix
        self.program, self.tests = protected(code, test, file, suffix, base)
        self._base = (base, self.unittest["case"].TestCase)
        self._file, self._send, self._reported = file, send, set[str]()
        self._free = uses.free_names(test)
        self._any_allowed = "ANY" in test
        self._imports = uses.imported(test)
        self._names = frozenset(uses.attributes(test))
        for name in self._imports:
            with contextlib.suppress(BaseException):
                importlib.import_module(name)
        self._pristine: pristine.Pristine | None = None
        self._entered: tuple[FrameType, frozenset[str]] | None = None
        self._calls = 0
        self._values: list[Any] = []
        self._asked: dict[int, str] = {}
        """By the number of a frame: the comparison whose answer is awaited."""
        self._codes: dict[int, tuple[bool, bool, types.CodeType]] = {}
        """By the number of a code: whether it is of the program, or of mock."""
        self._setprofile = sys.setprofile

    def report(self, reason: str) -> None:
        """Say it once."""
        if reason not in self._reported:
            self._reported.add(reason)
            self._send("suspect", reason)

    def remember(self) -> None:
        """Note what the test refers to, right before the program is executed."""
        used = [vars(builtins)[name] for name in self._free if name in vars(builtins)]
        modules = [sys.modules[name] for name in (*_MACHINERY, *self._imports) if name in sys.modules]
        public = [sys.modules[f"unittest.{name}"] for name in _MODULES]
        roots = [builtins, *self.unittest.values(), *public, *modules, *used]
        self._pristine = pristine.Pristine(roots, self._names)

    def compare(self, module: types.ModuleType) -> None:
        """After the program was executed: what differs, and which of the test's names it hides. Then provide the base
        class of the test."""
        for name in self._changes()[:_CHANGES_AT_ONCE]:
            self.report(f"{name} patched")
        space = module.__dict__
        own = [name for name in self._free if _is_own(space.get(name)) and not hasattr(builtins, name)]
        for name in self._free:
            value: Any = space.get(name)
            real = sys.modules.get(_ALIASES.get(name, name))
            if name in space and hasattr(builtins, name) and (own or not _is_own(value)):
                self.report(f"hides {name}, which its test uses")
            elif issubclass(type(value), types.ModuleType) and sys.modules.get(value.__name__) is not value:
                self.report(f"puts something else for the module {name}")
            elif (
                value is not None
                and real is not None
                and name not in own
                and not issubclass(type(value), types.ModuleType)
            ):
                if getattr(real, name, None) is not value:
                    self.report(f"puts something else for the module {name}")
            elif issubclass(type(value), types.BuiltinFunctionType) and value.__name__ != name:
                self.report(f"calls {value.__name__} {name}, which its test uses")
        space[self._base[0]] = self._base[1]

    def _changes(self) -> list[str]:
        return self._pristine.changes() if self._pristine is not None else []

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """A block in which the program's functions are observed."""
        self._setprofile(None if self.again else self._profile)
        try:
            yield
        finally:
            self._setprofile(None)

    def without_program(self, module: types.ModuleType, run_tests: Tests) -> None:
        """After a pass: look at the returned values, and run the test with stubs in place of the program."""
        fresh = _fresh_objects()
        for value in self._values:
            if any(_says_yes(value, other) for other in fresh):
                self.report("returns what equals anything")
        self.again = True
        space = module.__dict__
        own = [name for name in self._free if _is_own(space.get(name))]
        for name in own:
            space[name] = lambda *_args, **_named: object()
        try:
            exec(self.tests, space)
            failures = run_tests(module)
        except BaseException:
            return
        if own and not failures:
            self.report("its test passes without it too")

    # ------------------------------------------------------------ observing calls into the program

    def _belongs_to_program(self, frame: FrameType) -> bool:
        name, line = frame.f_code.co_filename, frame.f_code.co_firstlineno
        if frame.f_code is self.tests:  # a module's code begins in line 1, wherever its first statement stands
            return False
        return (name == self._file and line <= self.code_lines) or (
            name.startswith("<") and not name.startswith(watch.GENERATED)
        )

    def _profile(self, frame: FrameType, event: str, value: Any) -> None:
        if event != "call" and event != "return":
            return
        code = frame.f_code
        known = self._codes.get(id(code))
        if known is None:  # kept with the code, so that no other gets its number
            program, mock = self._belongs_to_program(frame), code.co_filename.endswith("unittest/mock.py")
            known = self._codes[id(code)] = (program, mock, code)
        if not (known[0] or known[1]):
            return
        if event == "call":
            caller = frame.f_back
            if known[0]:
                if self._entered is None and (caller is None or not self._belongs_to_program(caller)):
                    self._enter(frame)
                if caller is not None:
                    self._compared(frame, caller)
            elif caller is not None:
                self._recorded(frame, caller)
        else:
            if self._asked and id(frame) in self._asked:
                name = self._asked.pop(id(frame))
                if value is not NotImplemented and bool(value) is (name != "__ne__"):
                    self.report(f"answers comparisons of its tests itself ({name})")
            if self._entered is not None and frame is self._entered[0]:
                self._leave(value)

    def _enter(self, frame: FrameType) -> None:
        self._calls += 1
        if any(issubclass(type(value), FrameType) for value in frame.f_locals.values()):
            self.report("looks at the stack")  # a signal handler is given the frame that it interrupts
        before = frozenset(self._changes()) if 1 < self._calls <= _MOST_CALLS else frozenset()
        self._entered = (frame, before)

    def _leave(self, value: Any) -> None:
        assert self._entered is not None
        before = self._entered[1]
        self._entered = None
        if self._calls == 1:  # the program itself was executed: ``compare`` looks at that
            return
        if len(self._values) < _MOST_VALUES and value is not None:
            self._values.append(value)
        if self._calls <= _MOST_CALLS:
            for name in [name for name in self._changes() if name not in before][:_CHANGES_AT_ONCE]:
                self.report(f"{name} patched")
            self._look_at_mocks()

    def _compared(self, frame: FrameType, caller: FrameType) -> None:
        """A function of the program is called by a comparison that the test or unittest makes."""
        file, name = caller.f_code.co_filename, frame.f_code.co_name
        from_unittest = "unittest/" in file
        if not (from_unittest or (file == self._file and caller.f_lineno > self.code_lines)):
            return
        opcode = caller.f_code.co_code[caller.f_lasti] if caller.f_lasti >= 0 else -1
        if not (opcode in _COMPARING or name in _COMPARISONS or (from_unittest and name in _ARITHMETIC)):
            return
        arguments = [frame.f_locals.get(argument) for argument in frame.f_code.co_varnames[:2]]
        if len(arguments) == 2 and _is_of_program(arguments[1]):
            return  # two objects of the program's own classes
        if name in _EQUALITIES:
            self._asked[id(frame)] = name
        else:
            self.report(f"answers comparisons of its tests itself ({name})")

    def _recorded(self, frame: FrameType, caller: FrameType) -> None:
        """A mock of the test is read or changed by the program as only the test should."""
        name = frame.f_code.co_name
        attribute = str(frame.f_locals.get("name", "")) if name in ("__setattr__", "__delattr__") else name
        made_by_mock = caller.f_code.co_filename != self._file and caller.f_globals.get("__name__") != "__test__"
        if made_by_mock or not self._belongs_to_program(caller):
            return
        if attribute.startswith((*_RECORDED, "_mock_call", "_get", "_set")):
            self.report("changes what a mock has recorded")

    def _look_at_mocks(self) -> None:
        """Each mock has a class of its own, to which nobody adds assertions."""
        mock = sys.modules.get("unittest.mock")
        first = getattr(mock, "NonCallableMock", None)  # none in a module that is being imported
        kinds = list(first.__subclasses__()) if first is not None else []
        for kind in kinds:
            kinds += type.__subclasses__(kind)
            made = kind.__module__ == "unittest.mock" and getattr(mock, kind.__name__, None) is not kind
            if made and any(key.startswith(_RECORDED) for key in vars(kind)):
                self.report("changes what a mock has recorded")


def _is_own(value: Any) -> bool:
    """Whether a value can be called and is of the program, not of a library."""
    if not callable(value):
        return False
    if not issubclass(type(value), (type, types.FunctionType, types.BuiltinFunctionType)):
        return True
    try:
        plain.reference(value)
    except plain.NotPlain:
        return True
    return False


def _is_of_program(value: Any) -> bool:
    return type(value).__module__ == "__test__"


def _fresh_objects() -> list[Any]:
    number, word = secrets.randbits(60) + (1 << 60), secrets.token_hex(8)
    return [object(), number, float(number) + 0.5, word, word.encode(), (number,), [word], {word: number}, {number}]


def _says_yes(value: Any, other: Any) -> bool:
    """Whether a value claims to equal, or to hold, what nobody else has."""
    try:
        if value == other:
            return True
        if type(value).__module__.partition(".")[0] not in ("__test__", "unittest"):
            return False
        differs = bool(value != other)
        return not differs or (hasattr(type(value), "__contains__") and other in value)
    except BaseException:
        return False


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


def protected(code: str, test: str, file: str, suffix: str, base: str) -> tuple[types.CodeType, types.CodeType]:
    """The program and its protected tests, which derive from the class under the name ``base``, compiled."""
    tree = ast.parse(code + "\n" + test, file)
    lines = code.count("\n") + 1
    protect = _Protect(base, suffix)
    program = ast.Module([node for node in tree.body if node.lineno <= lines], [])
    tests = ast.Module([protect.visit(node) for node in tree.body if node.lineno > lines], [])
    first = compile(program, file, "exec", dont_inherit=True)
    futures = first.co_flags & _FUTURE
    return first, compile(ast.fix_missing_locations(tests), file, "exec", flags=futures, dont_inherit=True)
