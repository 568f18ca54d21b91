"""From what a model wrote to the program that is tested.

A base model's continuation is cut (``before``, ``official_cut``); the code of an answer is selected. ``official``
selects as ``sanitize`` of bigcodebench 0.2.5 does: the longest run of lines that parses, and of it the imports and
whatever the entry point depends on. ``fenced`` takes the code block of a markdown answer that defines the entry point,
as it is, ``whole`` the one that is a whole program.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from typing import Literal

from passkwh.benchmarks.sandbox.imports import parse

Extraction = Literal["official", "fenced"]

_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[^\n`]*$", re.MULTILINE)
_MAX_CHARS = 10_000
"""The official tool keeps this much of an answer."""


def before(text: str, stops: Sequence[str], otherwise: int | None = None) -> str:
    """``text`` before the first of ``stops``; where none is in it, its first ``otherwise`` characters (None: all)."""
    ends = [place for place in map(text.find, stops) if place >= 0]
    return text[: min(ends, default=otherwise)]


def official_cut(text: str, stops: Sequence[str]) -> str:
    """``text`` before the first stop, tabs as four spaces, as the official tool cuts what a model returns."""
    return before(text, stops, _MAX_CHARS).replace("\t", "    ")


def whole(text: str) -> str:
    """The program of a markdown answer that may begin inside a block (which the prompt opened) and may break off.

    Of the pieces between fences the longest that parses, else the longest run of lines that does.
    """
    pieces = [piece for piece in _FENCE.split(text) if piece.strip() and _parses(piece)]
    return max(pieces, key=lambda piece: len(piece.splitlines()), default="").strip("\n") or longest_code(text)


def fenced(text: str, entry_point: str) -> str:
    """Code of a markdown answer that may begin inside a block (which the prompt opened) and may break off.

    The first block that defines ``entry_point``, preferably one that parses, else all text between fences; of a
    program that breaks off, the longest part that parses.
    """
    pieces = _FENCE.split(text)
    defines = re.compile(rf"^\s*(?:async\s+)?def\s+{re.escape(entry_point)}\b", re.MULTILINE)
    defining = [piece for piece in pieces if defines.search(piece)]
    code = next((piece for piece in defining if _parses(piece)), defining[0] if defining else "\n".join(pieces))
    return (code if _parses(code) else longest_code(code)).strip("\n")


def official(text: str, entry_point: str) -> str:
    """What bigcodebench's ``sanitize(text, entry_point)`` returns."""
    return _reachable_code(longest_code(text.strip()), entry_point).strip() or longest_code(text)


def longest_code(text: str) -> str:
    """The run of lines with the most non-blank ones that parses; the first of equals; the first line if none parses."""
    lines = text.split("\n")
    filled = [0]
    for line in lines:
        filled.append(filled[-1] + bool(line.strip()))
    best, best_span = 0, (0, 0)
    for start in range(len(lines)):
        if filled[-1] - filled[start] <= best:
            break
        for end in range(len(lines) - 1, start, -1):
            count = filled[end + 1] - filled[start]
            if count <= best:
                break
            if _parses("\n".join(lines[start : end + 1])):
                while end > start + 1 and not lines[end].strip() and _parses("\n".join(lines[start:end])):
                    end -= 1  # of equally long runs the official tool keeps the first, the one without blank lines
                best, best_span = count, (start, end)
                break
    return "\n".join(lines[best_span[0] : best_span[1] + 1])


def _parses(code: str) -> bool:
    return parse(code) is not None


def _reachable_code(code: str, entry_point: str) -> str:
    """Imports, then those top-level definitions that ``entry_point`` depends on, in the order of the code."""
    imports: list[str] = []
    definitions: list[tuple[str | None, str, set[str]]] = []
    seen: set[str | None] = set()
    for node in getattr(parse(code), "body", []):
        text = ast.get_source_segment(code, node) or ""
        if isinstance(node, ast.Import | ast.ImportFrom):
            if not (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
                imports.append(text)
            continue
        name = _defined_name(node)
        if name is _NOT_A_DEFINITION or name in seen:
            continue
        seen.add(name)
        definitions.append((name, text, set(_identifiers(node))))
    reachable = _closure(entry_point, {name: used for name, _, used in definitions})
    kept = imports + [text for name, text, _ in definitions if name in reachable]
    return _without_calls("\n".join(kept), entry_point)


_NOT_A_DEFINITION = "\0"


def _defined_name(node: ast.stmt) -> str | None:
    """The name that the official tool files a top-level statement under; None where it finds none.

    It looks for a bare identifier among the direct children of the syntax node: of ``a.b = c`` that is ``c``. Decorated
    definitions are not definitions to it.
    """
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return _NOT_A_DEFINITION if node.decorator_list else node.name
    if isinstance(node, ast.Assign):
        if isinstance(node.targets[0], ast.Name):
            return node.targets[0].id
        return node.value.id if len(node.targets) == 1 and isinstance(node.value, ast.Name) else None
    if isinstance(node, ast.AnnAssign):
        if isinstance(node.target, ast.Name):
            return node.target.id
        return node.value.id if isinstance(node.value, ast.Name) else None
    return _NOT_A_DEFINITION


def _identifiers(node: ast.AST) -> Iterator[str]:
    for child in ast.walk(node):
        for _, value in ast.iter_fields(child):
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, str) and not isinstance(child, ast.Constant):
                    yield from item.split(".")


def _closure(entry_point: str, uses: dict[str | None, set[str]]) -> set[str | None]:
    reached: set[str | None] = {entry_point}
    queue: list[str | None] = [entry_point]
    while queue:
        for name in uses.get(queue.pop(), ()):
            if name not in reached:
                reached.add(name)
                queue.append(name)
    return reached


def _without_calls(code: str, entry_point: str) -> str:
    """Without the trailing unindented lines from the first one that names the entry point."""
    lines = code.splitlines()
    first = None
    for index in range(len(lines) - 1, -1, -1):
        if lines[index].startswith(" "):
            break
        if entry_point in lines[index]:
            first = index
    return code if first is None else "\n".join(lines[:first])
