"""``bench list``: what can be run here, by name, and who provides it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from passkwh.cli.options import AsJson
from passkwh.cli.output import print_json, print_table, table
from passkwh.errors import UsageError

if TYPE_CHECKING:
    from passkwh.registry import Registry


def list_(
    as_json: AsJson = False,
) -> None:
    """List the registered models and every engine, quantization, benchmark, meter, ..., with the package it is from."""
    from passkwh.adapters import models as named
    from passkwh.registry import GROUPS, QUANTIZATIONS

    models: list[dict[str, Any]] = [
        {"name": m.name, "id": m.id, "family": m.family, "parameters": m.parameters, "tuning": m.tuning,
         "published": [quant for quant in QUANTIZATIONS.names() if named.published(m.id, quant, m.tuning)]}
        for m in sorted(named.registry().values(), key=lambda model: (model.family, model.parameters, model.name))
    ]  # fmt: skip
    groups = {registry.group.removeprefix("passkwh."): _members(registry) for registry in GROUPS}
    if as_json:
        print_json({"models": models, **groups})
        return
    rows = [
        [
            m["name"],
            m["family"],
            f"{m['parameters'] / 1e9:.2f} B",
            m["tuning"],
            m["id"],
            ", ".join(m["published"]) or "—",
        ]
        for m in models
    ]
    columns = ["name", "family", "weights", "tuning", "source", "published quantizations"]
    print_table(table("models (any hub id, local folder or openai:URL#MODEL works too)", columns, rows, right=[2]))
    for group, members in groups.items():
        shown = [[m["name"], m["summary"], " and ".join(m["providers"])] for m in members]
        print_table(table(group.replace("_", " "), ["name", "what", "provided by"], shown))


def _members(registry: Registry) -> list[dict[str, Any]]:
    return [
        {"name": name, "summary": _summary(registry, name), "providers": registry.providers(name)}
        for name in registry.names()
    ]


def _summary(registry: Registry, name: str) -> str:
    """What a member says of itself; what is wrong with one that cannot be used."""
    try:
        member = registry.get(name)
    except UsageError as error:
        return f"cannot be used: {error}"
    usage = getattr(member, "usage", None) or getattr(member, "example", None)
    summary = getattr(member, "summary", None) or (member.__doc__ or "").strip().split("\n")[0]
    return f"{usage}: {summary}" if usage else str(summary)
