"""Values as text that carries no code: what the process of a ``calls`` job is given and gives back.

Read on both sides. Outside, the text is a stranger's: :func:`unpack` makes nothing but plain values and numpy's numbers
and arrays of them, whatever it says. A value that has no such form crosses as the name of its type.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MOST_DEEP = 200
"""Levels of containers within each other."""
MOST_SHOWN = 100
"""Characters of a value in a message."""
MOST_DECIMAL = 2**63
"""Whole numbers from here on cross in base 16, which takes no longer a digit the more there are."""
FORM = 2
"""Raised when the text of a value changes, so that what was kept of older ones is computed anew."""
_DTYPE = re.compile(r"(?:bool|u?int\d+|float\d+|complex\d+)\Z")
"""Of arrays that cross: an array of texts takes as much memory for each as for the longest, so it crosses by name."""
_CONTAINERS: dict[str, Callable[[list[Any]], Any]] = {
    "list": list, "tuple": tuple, "set": set, "frozenset": frozenset,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Opaque:
    """A value without a plain form: it equals nothing, itself apart."""

    type_name: str


def dump(value: Any) -> str:
    """The text of a value; of one without a plain form, that of its type's name.

    Example:
        >>> dump((1, 2.0, {"a"}))
        '["tuple",1,2.0,["set","a"]]'
    """
    try:
        return json.dumps(_form(value, 0), separators=(",", ":"))
    except (RecursionError, ValueError, TypeError):  # nested too deeply
        return json.dumps(["opaque", type(value).__name__[:100]])


def load(text: str) -> Any:
    """The value of a text that :func:`dump` could have made. Raises ValueError for any other."""
    try:
        return _value(json.loads(text), 0)
    except (RecursionError, TypeError, OverflowError, AttributeError) as error:
        raise ValueError(f"no value: {error}") from None


def shown(value: Any) -> str:
    """A value in a message."""
    try:
        text = f"something of the type {value.type_name}" if isinstance(value, Opaque) else repr(value)
    except (RecursionError, ValueError):  # a number of too many digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def _form(value: Any, depth: int) -> Any:
    if depth > MOST_DEEP:
        raise ValueError("nested too deeply")
    kind = type(value)
    if value is None or kind is bool:
        return value
    for base, plain in _PLAIN.items():
        if issubclass(kind, base):
            return plain(value)
    for name, base in (("list", list), ("tuple", tuple), ("set", set), ("frozenset", frozenset)):
        if issubclass(kind, base):
            return [name, *(_form(item, depth + 1) for item in base.__iter__(value))]
    if issubclass(kind, dict):
        return ["dict", *([_form(key, depth + 1), _form(item, depth + 1)] for key, item in dict.items(value))]
    dtype = str(getattr(value, "dtype", ""))
    numpy = sys.modules.get("numpy")  # one that is not imported has made no value
    if numpy is not None and issubclass(kind, (numpy.generic, numpy.ndarray)) and _DTYPE.match(dtype):
        return ["scalar" if issubclass(kind, numpy.generic) else "array", dtype, _form(value.tolist(), depth + 1)]
    return ["opaque", kind.__name__[:100]]


_PLAIN: dict[type, Callable[[Any], Any]] = {
    int: lambda value: _whole(int.__int__(value)),
    float: float.__float__,
    str: str.__str__,
    complex: lambda value: ["complex", complex(value).real, complex(value).imag],
    bytes: lambda value: ["bytes", bytes(value).hex()],
}
"""Also of classes that derive from these, as what they derive from."""


def _whole(value: int) -> Any:
    return value if abs(value) < MOST_DECIMAL else ["int", hex(value)]


def _value(form: Any, depth: int) -> Any:
    if not isinstance(form, list):
        if isinstance(form, dict):
            raise ValueError("no value")
        return form
    if depth > MOST_DEEP or not form or not isinstance(form[0], str):
        raise ValueError("no value")
    kind, *parts = form
    if kind in _CONTAINERS:
        return _CONTAINERS[kind]([_value(part, depth + 1) for part in parts])
    if kind == "dict":
        return {_value(key, depth + 1): _value(item, depth + 1) for key, item in parts}
    if kind == "complex" and len(parts) == 2:
        return complex(*parts)
    if kind == "int" and len(parts) == 1 and isinstance(parts[0], str):
        return int(parts[0], 16)
    if kind == "bytes" and len(parts) == 1:
        return bytes.fromhex(parts[0])
    if kind == "opaque" and len(parts) == 1 and isinstance(parts[0], str):
        return Opaque(parts[0])
    if kind in ("scalar", "array") and len(parts) == 2 and _DTYPE.match(parts[0]):
        import numpy

        array = numpy.array(_value(parts[1], depth + 1), dtype=parts[0])
        return array[()] if kind == "scalar" else array
    raise ValueError("no value")
