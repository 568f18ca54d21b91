"""Values as plain data: what may cross between two processes of which one is not trusted.

Kinds are asked of ``type(value)``: ``isinstance`` would wake a lazy object of a library, and believe ``__class__``.

``pack`` turns a value into what JSON can carry, ``unpack`` makes an equal value of it. Numbers, text, containers and
a few types of the standard library and numpy have a plain form; an object of a class of the program's own has that of
the built-in type it derives from, and none where it derives from no such type. ``unpack`` builds only these types,
whatever it is given, and calls nothing else: it is safe on data that a program made up.
"""

from __future__ import annotations

import base64
import builtins
import collections
import datetime
import decimal
import fractions
import importlib
import math
import pathlib
import sys
import types
from collections.abc import Callable
from typing import Any

# A program may patch builtins; this module's functions keep their own.
globals()["__builtins__"] = dict(vars(builtins))

_JSON_INT = 1 << 53
_MAX_DEPTH = 60
_EXACT_DATES: tuple[type, ...] = (datetime.datetime, datetime.date, datetime.time)
_NUMPY_KINDS = "biufcSUmM"
_DEFAULTS = {"int": int, "float": float, "str": str, "list": list, "dict": dict, "set": set, "bool": bool}
_JUDGE = ("unittest", "_pytest", "pytest", "__test__")
_OWN_FORMS = ("named tuple", "Counter", "OrderedDict", "defaultdict")
"""Of classes derived from plain ones that come out as themselves."""
_PATHS = {kind.__name__: kind for kind in (pathlib.PurePosixPath, pathlib.PosixPath)}


class NotPlain(Exception):
    """A value has no plain form; the message says which."""


class Packer:
    """Packs values of one message; ``reduced`` is whether some were of a subclass of a plain type."""

    def __init__(self) -> None:
        self.reduced = False

    def pack(self, value: Any, depth: int = 0) -> Any:
        """The plain form of ``value``. Raises NotPlain."""
        kind = type(value)
        if value is None or kind in (bool, float, str):
            return value
        if kind is int:
            return value if -_JSON_INT < value < _JSON_INT else ["int", hex(value)]
        if depth > _MAX_DEPTH:
            raise NotPlain("a value that contains itself")
        if value is Ellipsis or value is NotImplemented:
            return ["constant", repr(value)]
        if issubclass(type(value), (type, types.ModuleType, types.BuiltinFunctionType, types.FunctionType)):
            return reference(value)
        for base, write in _WRITERS.items():
            if issubclass(type(value), base):
                form = write(self, value, depth + 1)
                self.reduced |= kind is not base and form[0] not in _OWN_FORMS
                return form
        if kind.__module__ == "numpy":
            return _numpy_form(self, value, depth + 1)
        raise NotPlain(f"an object of {kind.__module__}.{kind.__qualname__}")

    def many(self, values: Any, depth: int) -> list[Any]:
        """The plain forms of several values."""
        return [self.pack(value, depth) for value in values]


def _tuple_form(packer: Packer, value: Any, depth: int) -> list[Any]:
    names = getattr(type(value), "_fields", None)
    items = packer.many(tuple.__iter__(value), depth)
    if isinstance(names, tuple) and len(names) == len(items) and all(type(name) is str for name in names):
        return ["named tuple", type(value).__name__, list(names), *items]
    return ["tuple", *items]


def _dict_form(packer: Packer, value: Any, depth: int) -> list[Any]:
    pairs = [packer.many(pair, depth) for pair in dict.items(value)]
    if issubclass(type(value), collections.defaultdict):
        factory = value.default_factory
        return ["defaultdict", getattr(factory, "__name__", None) if factory in _DEFAULTS.values() else None, pairs]
    if issubclass(type(value), (collections.Counter, collections.OrderedDict)):
        return ["Counter" if issubclass(type(value), collections.Counter) else "OrderedDict", pairs]
    return ["dict", pairs]


def _date_form(packer: Packer, value: Any, depth: int) -> list[Any]:
    zone = getattr(value, "tzinfo", None)
    if zone is not None and type(zone) is not datetime.timezone:
        raise NotPlain("a time of an unusual zone")
    seconds = zone.utcoffset(None).total_seconds() if zone is not None else None
    bare = value.replace(tzinfo=None) if zone is not None else value
    return [next(base.__name__ for base in _EXACT_DATES if issubclass(type(value), base)), bare.isoformat(), seconds]


_WRITERS: dict[Any, Callable[[Packer, Any, int], list[Any]]] = {
    bool: lambda packer, value, depth: ["constant", repr(value)],
    int: lambda packer, value, depth: ["int", hex(int.__int__(value))],
    float: lambda packer, value, depth: ["float", float.__float__(value)],
    str: lambda packer, value, depth: ["str", str.__str__(value)],
    bytes: lambda packer, value, depth: ["bytes", base64.b64encode(bytes.__getitem__(value, slice(None))).decode()],
    bytearray: lambda packer, value, depth: ["bytearray", base64.b64encode(value).decode()],
    complex: lambda packer, value, depth: ["complex", value.real, value.imag],
    list: lambda packer, value, depth: ["list", *packer.many(list.__iter__(value), depth)],
    tuple: _tuple_form,
    dict: _dict_form,
    set: lambda packer, value, depth: ["set", *packer.many(set.__iter__(value), depth)],
    frozenset: lambda packer, value, depth: ["frozenset", *packer.many(frozenset.__iter__(value), depth)],
    collections.deque: lambda packer, value, depth: ["deque", value.maxlen, *packer.many(value, depth)],
    range: lambda packer, value, depth: ["range", *packer.many((value.start, value.stop, value.step), depth)],
    decimal.Decimal: lambda packer, value, depth: ["Decimal", decimal.Decimal.__str__(value)],
    fractions.Fraction: lambda packer, value, depth: ["Fraction", hex(value._numerator), hex(value._denominator)],
    datetime.timedelta: lambda packer, value, depth: ["timedelta", value.days, value.seconds, value.microseconds],
    datetime.datetime: _date_form,
    datetime.date: _date_form,
    datetime.time: _date_form,
    pathlib.PosixPath: lambda packer, value, depth: ["PosixPath", str(value)],
    pathlib.PurePosixPath: lambda packer, value, depth: ["PurePosixPath", str(value)],
}
"""By type: how a value of it, or of a class derived from it, is written. Derived types stand before their bases."""


def _numpy_form(packer: Packer, value: Any, depth: int) -> list[Any]:
    numpy: Any = sys.modules["numpy"]
    kind = type(value)
    if not issubclass(kind, (numpy.ndarray, numpy.generic)) or kind not in (numpy.ndarray, value.dtype.type):
        raise NotPlain(f"an object of numpy.{kind.__qualname__}")
    if kind is numpy.ndarray and value.dtype == object:
        return ["objects", list(value.shape), *packer.many(value.ravel(), depth)]
    if value.dtype.kind not in _NUMPY_KINDS or value.dtype.hasobject:
        raise NotPlain(f"an array of {value.dtype}")
    data = base64.b64encode(value.tobytes()).decode()
    return ["array" if kind is numpy.ndarray else "scalar", value.dtype.str, list(value.shape), data]


def reference(value: Any) -> list[Any]:
    """The form of a class, function or module of an installed library: where it is. Raises NotPlain."""
    if issubclass(type(value), types.ModuleType):
        name, path = value.__name__, ""
    else:
        name, path = getattr(value, "__module__", None) or "", getattr(value, "__qualname__", "")
    if name.partition(".")[0] in _JUDGE or sys.modules.get(name) is None or _at(name, path) is not value:
        raise NotPlain(f"{getattr(value, '__qualname__', name)}, which is of no library")
    return ["reference", name, path]


def _at(name: str, path: str) -> Any:
    target: Any = sys.modules.get(name)
    for part in path.split(".") if path else ():
        target = getattr(target, part, None)
    return target


def unpack(form: Any, depth: int = 0) -> Any:
    """The value of a plain form. Raises NotPlain or another Exception for what is none."""
    if form is None or type(form) in (bool, int, float, str):
        return form
    if type(form) is not list or not form or type(form[0]) is not str or depth > _MAX_DEPTH:
        raise NotPlain("what is no plain form")
    tag, rest = form[0], form[1:]
    if tag in _CONTAINERS:
        return _CONTAINERS[tag]([unpack(item, depth + 1) for item in rest])
    if tag in _READERS:
        return _READERS[tag](*rest)
    if tag in ("dict", "OrderedDict", "Counter", "defaultdict"):
        pairs = [(unpack(key, depth + 1), unpack(value, depth + 1)) for key, value in rest[-1]]
        if tag == "defaultdict":
            return collections.defaultdict(_DEFAULTS.get(rest[0]), pairs)
        return {"dict": dict, "OrderedDict": collections.OrderedDict, "Counter": collections.Counter}[tag](dict(pairs))
    if tag == "deque":
        return collections.deque((unpack(item, depth + 1) for item in rest[1:]), rest[0])
    if tag == "named tuple":
        kind = collections.namedtuple(rest[0], rest[1])  # type: ignore[misc]
        return kind(*(unpack(item, depth + 1) for item in rest[2:]))
    if tag == "objects":
        import numpy  # type: ignore[import-not-found,unused-ignore]

        flat = numpy.empty(len(rest) - 1, dtype=object)
        flat[:] = [unpack(item, depth + 1) for item in rest[1:]]
        return flat.reshape(rest[0])
    raise NotPlain(f"the unknown form {tag}")


def _date(tag: str) -> Callable[[str, float | None], Any]:
    kind: Any = getattr(datetime, tag)

    def read(text: str, offset_s: float | None) -> Any:
        value = kind.fromisoformat(text)
        if offset_s is None:
            return value
        return value.replace(tzinfo=datetime.timezone(datetime.timedelta(seconds=offset_s)))

    return read


def _numpy_value(dtype: str, shape: list[int], data: str) -> Any:
    import numpy

    kind = numpy.dtype(dtype)
    if kind.kind not in _NUMPY_KINDS or kind.hasobject:
        raise NotPlain(f"an array of {kind}")
    count = math.prod(shape)
    return numpy.frombuffer(base64.b64decode(data), dtype=kind, count=count).reshape(shape).copy()


def _dereferenced(name: str, path: str) -> Any:
    if name.partition(".")[0] in _JUDGE:
        raise NotPlain(f"{name}.{path}")
    if name not in sys.modules:
        importlib.import_module(name)
    return _at(name, path)


_CONTAINERS: dict[str, Callable[[list[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "range": lambda items: range(*items),
}
_READERS: dict[str, Callable[..., Any]] = {
    "constant": {"True": True, "False": False, "Ellipsis": ..., "NotImplemented": NotImplemented}.__getitem__,
    "int": lambda text: int(text, 16),
    "float": float,
    "str": str,
    "bytes": base64.b64decode,
    "bytearray": lambda text: bytearray(base64.b64decode(text)),
    "complex": complex,
    "Decimal": decimal.Decimal,
    "Fraction": lambda numerator, denominator: fractions.Fraction(int(numerator, 16), int(denominator, 16)),
    "timedelta": datetime.timedelta,
    **{kind.__name__: _date(kind.__name__) for kind in _EXACT_DATES},
    **_PATHS,
    "array": _numpy_value,
    "scalar": lambda dtype, shape, data: _numpy_value(dtype, shape, data)[()],
    "reference": _dereferenced,
}


def refilled(old: Any, new: Any) -> Any:
    """``old`` with the content of ``new``, where it can be changed in place; otherwise ``new``."""
    if type(old) is not type(new):
        return new
    if isinstance(old, list):
        old[:] = [refilled(old[i], item) if i < len(old) else item for i, item in enumerate(new)]
    elif isinstance(old, dict):
        content = {key: refilled(old[key], value) if key in old else value for key, value in new.items()}
        old.clear()
        old.update(content)
    elif isinstance(old, (set, bytearray, collections.deque)):
        old.clear()
        old.update(new) if isinstance(old, set) else old.extend(new)
    elif type(old).__name__ == "ndarray" and old.shape == new.shape and old.dtype == new.dtype:
        old[...] = new
    else:
        return new
    return old


def pack_error(packer: Packer, error: BaseException) -> list[Any]:
    """The form of an exception: its class, or the nearest base that a library has, and its arguments."""
    for kind in type(error).__mro__:
        try:
            _, name, path = reference(kind)
        except NotPlain:
            continue
        try:
            arguments = packer.many(BaseException.args.__get__(error), 0)  # type: ignore[attr-defined]
        except NotPlain:
            arguments = [str(error)]
        return [name, path, arguments]
    raise NotPlain(f"an exception of {type(error).__qualname__}")


def unpack_error(form: list[Any]) -> BaseException:
    """An exception of its form. Raises NotPlain for what is none, or is one of the judge's."""
    name, path, arguments = form
    kind = _dereferenced(name, path)
    if not (isinstance(kind, type) and issubclass(kind, BaseException)):
        raise NotPlain(f"{name}.{path}, which is no exception")
    values = tuple(unpack(argument) for argument in arguments)
    error: BaseException = kind.__new__(kind, *values)
    error.args = values
    return error
