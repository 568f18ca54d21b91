"""Reference tables that are made of the code: measures, members of the registries, fields of the records."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from passkwh import records as contract
from passkwh.cli.listing import _summary
from passkwh.measures import MEASURES
from passkwh.registry import GROUPS, OURS, Registry

RECORDS = (
    contract.Spec, contract.Manifest, contract.ModelInfo, contract.BenchmarkInfo, contract.HostInfo, contract.MeterInfo,
    contract.ChannelInfo, contract.Session, contract.Window, contract.Sample, contract.Verdict, contract.Energy,
    contract.Reasoning, contract.Drafts, contract.Summary, contract.ChannelTotal, contract.IdleBaseline,
)  # fmt: skip
"""The records that the files of a run consist of, outermost first."""


def measures() -> str:
    """A table of everything that can be reported of a run."""
    better = {"min": "lower", "max": "higher", None: "—"}
    rows = [(f"`{m.name}`", _text(m.about), _text(m.label), m.unit or "—", better[m.better]) for m in MEASURES.values()]
    return _table(("name in data", "what it is", "label", "unit", "better"), rows)


def registries() -> str:
    """A section for each registry: its entry-point group and its built-in members."""
    return "\n\n".join(_registry(registry) for registry in GROUPS)


def _registry(registry: Registry) -> str:
    group = registry.group.removeprefix("passkwh.")
    rows = [
        (f"`{name}`", _text(_summary(registry, name)))
        for name in registry.by_preference()
        if registry.providers(name) == [OURS]
    ]
    heading = group.replace("_", " ").capitalize()
    return f"## {heading}\n\nEntry-point group `{registry.group}`.\n\n" + _table(("name", "what"), rows)


def records() -> str:
    """A section for each record: what it is, and its fields."""
    return "\n\n".join(_record(record) for record in RECORDS)


def _record(record: type[contract.Record]) -> str:
    rows = [(f"`{name}`", _field(field), f"`{_type(field.annotation)}`") for name, field in record.model_fields.items()]
    about = " ".join((record.__doc__ or "").split())
    return f"### {record.__name__}\n\n{_text(about)}\n\n" + _table(("field", "what", "type"), rows)


def _field(field: FieldInfo) -> str:
    default = "" if field.is_required() or field.default in (None, "", {}, ()) else f"default `{field.default!r}`"
    return "; ".join(part for part in (_text(field.description or ""), default) if part) or "—"


def _type(annotation: Any) -> str:
    """A type as a reader of the files sees it: without modules, and without limits of numbers."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0])
    if origin is Literal:
        return " or ".join(json.dumps(value) for value in arguments)
    if origin in (Union, UnionType):
        return " or ".join(_type(argument) for argument in arguments)
    if origin is not None:
        inside = ", ".join("..." if argument is Ellipsis else _type(argument) for argument in arguments)
        return f"{origin.__name__}[{inside}]"
    return "None" if annotation is type(None) else str(getattr(annotation, "__name__", annotation))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _text(text: str) -> str:
    """Text of the code as Markdown shows it; what stands in (double) backticks stays code."""
    pieces = text.replace("``", "`").split("`")
    for index in range(0, len(pieces), 2):
        pieces[index] = re.sub(r"([\\*_\[\]#])", r"\\\1", html.escape(pieces[index], quote=False))
    return re.sub(r":[a-z]+:(?=`)", "", "`".join(pieces))
