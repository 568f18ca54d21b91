"""From what a model wrote to the program that is tested.

A base model's continuation is cut (``before``, ``official_cut``); the code of an answer is selected. ``official``
selects as ``sanitize`` of bigcodebench 0.2.5 does: the longest run of lines that parses, and of it the imports and
whatever the entry point depends on. ``fenced`` takes the code block of a markdown answer that defines the entry point,
as it is, ``whole`` the one that is a whole program. Their time is linear in the text but for a logarithm; whoever calls
them on what a model wrote does it through ``extraction``, without the reasoning and under a limit.
"""

from __future__ import annotations

import ast
import builtins
import html
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from passkwh.benchmarks.longest_code import longest_code, parsed
from passkwh.benchmarks.markdown import blocks, without_fences
from passkwh.benchmarks.sandbox.imports import parse

Extraction = Literal["official", "fenced"]

_MAX_CHARS = 10_000
"""The official tool keeps this much of an answer."""


def before(text: str, stops: Sequence[str], otherwise: int | None = None) -> str:
    """``text`` before the first of ``stops``; where none is in it, its first ``otherwise`` characters (None: all)."""
    ends = [place for place in map(text.find, stops) if place >= 0]
    return text[: min(ends, default=otherwise)]


def official_cut(text: str, stops: Sequence[str]) -> str:
    """``text`` before the first stop, tabs as four spaces, as the official tool cuts what a model returns."""
    return before(text, stops, _MAX_CHARS).replace("\t", "    ")


# ---------------------------------------------------------------- blocks of markdown


def whole(text: str) -> str:
    """The program of a markdown answer that may begin inside a block (which the prompt opened) and may break off.

    The last block that parses and is at least half as long as the longest that does, else the longest run of lines that
    does.
    """
    programs = [code for block in blocks(text) if block.strip() and _parses(code := repaired(block))]
    longest = max((len(code.splitlines()) for code in programs), default=0)
    chosen = next((code for code in reversed(programs) if 2 * len(code.splitlines()) >= longest), "")
    return chosen.strip("\n") or longest_code(text)


def fenced(text: str, entry_point: str) -> str:
    """Code of a markdown answer that may begin inside a block (which the prompt opened) and may break off.

    The last block that defines ``entry_point``, preferably one that parses, after those blocks before it that define
    what it lacks. Where none does: the body of the function, if the answer is one, else all lines but fences. Of a
    program that breaks off, the longest part that parses.
    """
    candidates = [repaired(block) for block in blocks(text)]
    for defines in _definitions_of(entry_point):
        defining = [place for place, code in enumerate(candidates) if defines.search(code)]
        if defining:
            chosen = next((place for place in reversed(defining) if _parses(candidates[place])), defining[-1])
            return _with_what_it_lacks(candidates, chosen)
    bodies = [code for code in candidates if code[:1] in (" ", "\t") and _parses(f"if 1:\n{code}")]
    if bodies:
        return bodies[0].strip("\n")
    return _parsing_part(repaired(without_fences(text)))


def _definitions_of(name: str) -> Iterator[re.Pattern[str]]:
    """How a block defines a name: at its top level, or anywhere."""
    name = re.escape(name)
    yield re.compile(rf"^(?:(?:async[ \t]+)?def|class)[ \t]+{name}\b|^{name}[ \t]*[:=]", re.MULTILINE)
    yield re.compile(rf"^[ \t]*(?:async[ \t]+)?def[ \t]+{name}\b", re.MULTILINE)


def _parsing_part(code: str) -> str:
    return (code if _parses(code) else longest_code(code)).strip("\n")


def _with_what_it_lacks(candidates: Sequence[str], chosen: int) -> str:
    """A block after those before it that define names it uses and does not define."""
    parts = [_parsing_part(candidates[chosen])]
    missing = _undefined(parts[0])
    for code in reversed(candidates[:chosen]):
        if missing and _parses(code) and missing & _top_level_names(code):
            parts.insert(0, code.strip("\n"))
            missing = (missing - _top_level_names(code)) | _undefined(code)
    return "\n\n".join(parts)


def _undefined(code: str) -> set[str]:
    """Names that a program uses and binds nowhere."""
    used: set[str] = set()
    bound: set[str] = set(dir(builtins))
    for node in ast.walk(parse(code) or ast.Module([], [])):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            bound.add(node.name)
    return used - bound


_ODD_SPACE = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_INDENT = re.compile(r"^[ \t\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+", re.MULTILINE)
_NO_WIDTH = re.compile("[\u200b-\u200d\u2060\ufeff]")
_ENTITY = re.compile(r"&(?:lt|gt|amp|quot|apos|#39|#x27|#34|nbsp);")
_STRING_OR_COMMENT = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"|#.*")
_FENCE_AT_THE_END = re.compile(r"`{3,}[ \t]*\Z")

_REPAIRS: tuple[Callable[[str], str], ...] = (
    lambda code: _INDENT.sub(lambda match: _ODD_SPACE.sub(" ", match[0]), code),
    lambda code: _NO_WIDTH.sub("", code),
    lambda code: _ODD_SPACE.sub(" ", code),
    html.unescape,
    lambda code: _FENCE_AT_THE_END.sub("", code),
)
"""What renderers do to code, undone: spaces that do not break, characters without width, entities of HTML, a fence on
the last line."""


def repaired(code: str) -> str:
    """Code as it was meant, where it does not parse as it stands and does after some of ``_REPAIRS``."""
    if _parses(code) and not (_ENTITY.search(code) and _ENTITY.search(_STRING_OR_COMMENT.sub("", code))):
        return code
    meant = code
    for repair in _REPAIRS:
        meant, earlier = repair(meant), meant
        if meant != earlier and not _ENTITY.search(_STRING_OR_COMMENT.sub("", meant)) and _parses(meant):
            return meant
    return code


def _parses(code: str) -> bool:
    return parsed(code) == "whole"


_FUTURE = re.compile(r"^from[ \t]+__future__[ \t]+import[ \t]+(?:\([^)]*\)|[^\n;#()]+)[ \t]*$\n?", re.MULTILINE)


def behind(beginning: str, program: str) -> str:
    """A program behind the beginning that its task gives it: ``__future__`` imports have to stand before both."""
    imports = "".join(text.rstrip("\r\n") + "\n" for text in _FUTURE.findall(program))
    return imports + beginning + _FUTURE.sub("", program) if imports else beginning + program


# ---------------------------------------------------------------- bigcodebench's sanitize


def official(text: str, entry_point: str) -> str:
    """What bigcodebench's ``sanitize(text, entry_point)`` returns."""
    return _reachable_code(longest_code(text.strip()), entry_point).strip() or longest_code(text)


def _reachable_code(code: str, entry_point: str) -> str:
    """Imports, then those top-level definitions that ``entry_point`` depends on, in the order of the code."""
    imports: list[str] = []
    definitions: list[tuple[str | None, str, set[str]]] = []
    seen: set[str | None] = set()
    source = _Source(code)
    for node in getattr(parse(code), "body", []):
        if isinstance(node, ast.Import | ast.ImportFrom):
            if not (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
                imports.append(source.of(node))
            continue
        name = _defined_name(node)
        if name is _NOT_A_DEFINITION or name in seen:
            continue
        seen.add(name)
        definitions.append((name, source.of(node), set(_identifiers(node))))
    reachable = _closure(entry_point, {name: used for name, _, used in definitions})
    kept = imports + [text for name, text, _ in definitions if name in reachable]
    return _without_calls("\n".join(kept), entry_point)


class _Source:
    """The text of syntax nodes; ``ast.get_source_segment`` splits the whole source for each."""

    _LINE_END = re.compile(rb"\r\n?|\n")
    _COMMENT = re.compile(rb"[ \t]*#[^\r\n]*")

    def __init__(self, code: str) -> None:
        self._bytes = code.encode("utf-8", "surrogatepass")
        self._starts = [0, *(match.end() for match in self._LINE_END.finditer(self._bytes)), len(self._bytes)]

    def of(self, node: ast.stmt) -> str:
        """The source of a statement as the official tool cuts it: a block has the comments that end it."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self._starts[node.lineno - 1] + node.col_offset
        end = self._starts[node.end_lineno - 1] + node.end_col_offset
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            end = self._end_of_comments(node.body[0], node.end_lineno, end)
        return self._bytes[start:end].decode()

    def _end_of_comments(self, first: ast.stmt, line: int, end: int) -> int:
        """Where the last comment ends that belongs to a block, which begins with ``first`` and ends in ``line``."""
        if comment := self._COMMENT.match(self._bytes, end):
            end = comment.end()
        for number in range(line, len(self._starts) - 1):
            start = self._starts[number]
            text = self._bytes[start : self._starts[number + 1]]
            code = text.strip()
            if code.startswith(b"#") and len(text) - len(text.lstrip(b" \t")) >= first.col_offset:
                end = start + len(text.rstrip(b"\r\n"))
            elif code:
                break
        return end


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


# ---------------------------------------------------------------- what a verdict should say of a program


_STATEMENTS = {
    "FunctionDef": "a decorated function",
    "AsyncFunctionDef": "a decorated function",
    "ClassDef": "a decorated class",
    "Assign": "an assignment on a line of its own",
    "AnnAssign": "an assignment on a line of its own",
}


def undefined_remark(program: str, entry_point: str) -> str:
    """That a program lacks the function it should define; empty where it has it, or does not parse."""
    tree = parse(program)
    if tree is None or entry_point in _top_level_names(program):
        return ""
    return f"the answer does not define {entry_point}"


def official_remark(text: str, program: str, entry_point: str) -> str:
    """What the official extraction left out of an answer although the program lacks it; empty where nothing is."""
    tree = parse(longest_code(text.strip()))
    kept = _top_level_names(program)
    lacking = ({entry_point} | _undefined(program)) - kept
    dropped = {
        name: _STATEMENTS.get(type(statement).__name__, f"in a statement of the kind {type(statement).__name__}")
        for statement in getattr(tree, "body", [])
        for name in sorted(_bound(statement) & lacking)
    }
    if not dropped:
        return undefined_remark(program, entry_point)
    names = ", ".join(f"{name} ({what})" for name, what in dropped.items())
    return f"the official extraction leaves out {names}"


def _top_level_names(code: str) -> set[str]:
    return {name for statement in getattr(parse(code), "body", []) for name in _bound(statement)}


def _bound(statement: ast.AST) -> set[str]:
    """Names that a statement binds in its own scope."""
    names: set[str] = set()
    queue: list[ast.AST] = [statement]
    while queue:
        node = queue.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).partition(".")[0])
        queue.extend(ast.iter_child_nodes(node))
    return names
