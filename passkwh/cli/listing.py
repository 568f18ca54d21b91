"""``bench list``: what can be run here, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from passkwh.cli.output import print_json, print_table, table

if TYPE_CHECKING:
    from passkwh.adapters.hub import Model


def _published(model: Model) -> list[str]:
    from passkwh.adapters import hub

    return [quant for quant in hub.QUANTS if quant != "none" and hub.published(model.id, quant)]


def list_(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line of stdout.")] = False,
) -> None:
    """List the registered models, quantizations, benchmarks and meters."""
    from passkwh import benchmarks
    from passkwh.adapters import hub
    from passkwh.harness.meter.registry import METERS

    models = sorted(hub.registry().values(), key=lambda model: (model.family, model.parameters, model.name))
    if as_json:
        print_json(
            {
                "models": [
                    {"name": m.name, "id": m.id, "family": m.family, "parameters": m.parameters, "tuning": m.tuning}
                    for m in models
                ],
                "quants": list(hub.QUANTS),
                "benchmarks": benchmarks.names(),
                "meters": list(METERS),
            }
        )
        return
    rows = [
        [m.name, m.family, f"{m.parameters / 1e9:.2f} B", m.tuning, m.id, ", ".join(_published(m)) or "—"]
        for m in models
    ]
    columns = ["name", "family", "weights", "tuning", "source", "published quantizations"]
    print_table(table("models (any hub id, local folder or openai:URL#MODEL works too)", columns, rows, right=[2]))
    print("quantizations:", ", ".join(hub.QUANTS))
    print("benchmarks:   ", ", ".join(benchmarks.names()))
    print("meters:       ", ", ".join(entry.usage for entry in METERS.values()))
