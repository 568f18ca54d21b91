"""What a test stands on, as the interpreter and its libraries shipped it: what of it differs after a program ran.

From the modules that a test and unittest refer to, everything is followed that they use by name: members of modules and
classes with the names that stand in the test, then what the functions among them use, with the cells that these close
over, and so on, the nearest first, up to a number of steps. All that must stay the same objects. (The code of functions
is the audit hook's business: ``watch``.)
"""

from __future__ import annotations

import builtins
import operator
import sys
import types
from collections import deque
from collections.abc import Iterable, Set
from typing import Any

globals()["__builtins__"] = dict(vars(builtins))

MOST_STEPS = 4_000
_CONSTANTS = (int, float, complex, str, bytes, tuple, frozenset)
_WRAPPED = (staticmethod, classmethod)
_BOOKKEEPING = {
    "__dict__",
    "__weakref__",
    "__doc__",
    "__abstractmethods__",
    "_abc_impl",
    "__annotations__",
    "__slotnames__",
}
_WHOLE = ("unittest", "unittest.case", "unittest.loader", "unittest.result", "unittest.suite", "contextlib", "builtins")
"""Modules of which every member is followed."""


class _Owner:
    """A module or class, and those of its members that must stay as they are."""

    def __init__(self, label: str, space: Any, kind: type | None) -> None:
        self.label, self.space, self.kind = label, space, kind
        self.known = frozenset(space)
        self.members: dict[str, Any] = {}

    def changes(self) -> Iterable[str]:
        """What is another object now; what came to a class and hides its bases', or to a module and hides builtins."""
        now = self.space if self.kind is None else vars(self.kind)
        if not all(map(operator.is_, map(now.get, self.members), self.members.values())):
            yield from (key for key, value in self.members.items() if now.get(key) is not value)
        if len(now) != len(self.known) or now.keys() != self.known:
            new = [key for key in now if key not in self.known and type(key) is str]
            hides = _BUILTIN_NAMES.__contains__ if self.kind is None else self._hides
            yield from (key for key in new if hides(key))

    def _hides(self, key: str) -> bool:
        assert self.kind is not None
        if key in _BOOKKEEPING:
            return False
        special = key.startswith("__") and key.endswith("__")
        bases = self.kind.__mro__
        return special or any(key in vars(base) or "__getattr__" in vars(base) for base in bases[1:])


class Pristine:
    """What ``roots`` (modules, classes, functions) and the ``names`` used with them lead to, when it is made."""

    def __init__(self, roots: Iterable[Any], names: Set[str]) -> None:
        self._owners: dict[int, _Owner] = {}
        self._cells: list[tuple[str, Any, Any]] = []
        self._classes: dict[type, tuple[tuple[type, ...], type]] = {}
        self._followed: dict[tuple[int, int], Any] = {}
        """By the number of a value and of the names it is followed with; both are kept, so that no number is reused."""
        self._queue: deque[tuple[Any, Set[str]]] = deque((root, names) for root in roots)
        while self._queue and len(self._followed) < MOST_STEPS:
            self._follow(*self._queue.popleft())
        self._loaded = dict(sys.modules)

    def changes(self) -> list[str]:
        """Names of what differs now, sorted."""
        names = {f"{owner.label}.{key}" for owner in self._owners.values() for key in owner.changes()}
        names |= {f"{name}'s closure" for name, cell, content in self._cells if _content(cell) is not content}
        for kind, (bases, meta) in self._classes.items():
            if kind.__bases__ is not bases or type(kind) is not meta:
                names.add(f"{kind.__module__}.{kind.__qualname__}")
        loaded = sys.modules
        if not all(map(operator.is_, map(loaded.get, self._loaded), self._loaded.values())):
            names |= {f"sys.modules[{n!r}]" for n, module in self._loaded.items() if loaded.get(n) is not module}
        return sorted(names)

    def _follow(self, value: Any, names: Set[str]) -> None:
        once = issubclass(type(value), types.FunctionType) or (
            issubclass(type(value), types.ModuleType) and value.__name__ in _WHOLE
        )
        key = (id(value), 0 if once else id(names))
        if key in self._followed:
            return
        self._followed[key] = (value, names)
        if issubclass(type(value), types.ModuleType):
            self._members(value.__name__, vars(value), None, names, whole=value.__name__ in _WHOLE)
        elif issubclass(type(value), type):
            for kind in value.__mro__[:-1]:
                self._classes.setdefault(kind, (kind.__bases__, type(kind)))
                label = f"{kind.__module__}.{kind.__qualname__}"
                self._members(label, vars(kind), kind, names, whole=kind.__module__ in _WHOLE[:-1])
        elif issubclass(type(value), types.FunctionType):
            self._function(value)
        elif issubclass(type(value), types.MethodType):
            self._queue += [(value.__func__, names), (type(value.__self__), names)]
        elif issubclass(type(value), property):
            self._queue += [(part, names) for part in (value.fget, value.fset) if part is not None]
        elif issubclass(type(value), _WRAPPED):
            self._queue.append((value.__func__, names))

    def _members(self, label: str, space: Any, kind: type | None, names: Set[str], whole: bool) -> None:
        if whole:
            chosen = list(space)
        elif kind is None:
            chosen = [name for name in names if name in space]
        else:
            chosen = [key for key in space if key in names or key.startswith("__")]
        self._note(label, space, kind, chosen, names)

    def _note(self, label: str, space: Any, kind: type | None, keys: Iterable[str], names: Set[str]) -> None:
        """Members that must not change, each of which is followed with the names used beside it."""
        owner = self._owners.get(id(space if kind is None else kind))
        if owner is None:
            owner = self._owners[id(space if kind is None else kind)] = _Owner(label, space, kind)
        for key in keys:
            value = space[key]
            if key in _BOOKKEEPING or not _is_fixed(key, value):
                continue
            if key not in owner.members:
                owner.members[key] = value
            elif not issubclass(type(value), (types.ModuleType, type)):
                continue
            if not issubclass(type(value), _CONSTANTS):
                self._queue.append((value, names))

    def _function(self, function: types.FunctionType) -> None:
        if function.__globals__.get("__name__") == "__test__":
            return
        names = frozenset(_names(function.__code__))
        for cell in function.__closure__ or ():
            content = _content(cell)
            if callable(content):
                self._cells.append((f"{function.__module__}.{function.__qualname__}", cell, content))
                self._queue.append((content, names))
        space = function.__globals__
        label = str(space.get("__name__"))
        self._note(label, space, None, [name for name in names if name in space], names)


_BUILTIN_NAMES = frozenset(name for name in vars(builtins) if not name.startswith("__"))


def _is_fixed(key: str, value: Any) -> bool:
    """Whether an honest program leaves this member alone: what can be called, a module, a public constant."""
    if (
        issubclass(type(value), (types.ModuleType, property, *_WRAPPED, type))
        or callable(value)
        or hasattr(type(value), "__get__")
    ):
        return True
    return type(value) in _CONSTANTS and not key.startswith("_")


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _names(code: types.CodeType) -> Iterable[str]:
    """Names that a function's code uses, with those of the functions inside it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
