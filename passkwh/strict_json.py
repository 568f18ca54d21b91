"""JSON of strangers: read as RFC 8259 has it, and nothing of what Python's reader lets through beyond that.

Refused are names that stand twice in an object (readers differ in which one counts), NaN and Infinity, halves of
characters, bytes that are not UTF-8, and nesting deeper than a program that walks it can bear. Imports nothing of ours.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, NoReturn

DEEPEST = 64
"""Objects and lists within each other; records have about six."""


def loads(content: bytes | str, *, constants: bool = False) -> Any:
    """The value that the text is; with ``constants`` NaN and Infinity are read, for a reader that names their field.

    Raises:
        ValueError: it is none, with the reason in a line.
    """
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from None
    try:
        value = json.loads(text, object_pairs_hook=distinct, parse_constant=float if constants else _no_number)
    except RecursionError:
        raise ValueError(f"nested deeper than {DEEPEST}") from None
    if text.count("[") + text.count("{") > DEEPEST and not _is_shallow(value):
        raise ValueError(f"nested deeper than {DEEPEST}")
    try:
        if "\\u" in text:  # the only way to write half a character
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("a text holds half a character (a lone surrogate)") from None
    return value


def distinct(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """For ``json.loads(object_pairs_hook=...)``: an object as a dict. Raises ValueError where a name stands twice."""
    made = dict(pairs)
    if len(made) < len(pairs):
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"{twice[:60]!a} stands twice in one object")
    return made


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _is_shallow(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return True
    return False
