"""Figures as readers see them: significant digits, ranges, units. The site's scripts format in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from passkwh import measures
from passkwh.measures import DASH, KWH, WH
from passkwh.reports.leaderboard.rows import MEASURES, OF_REQUESTS, Cell, Row


@dataclass(frozen=True)
class Figure:
    """A figure ready to be printed."""

    name: str
    unit: str
    text: str
    range: str
    note: str
    direction: str
    limits: str


def number(value: float | None) -> str:
    """Three significant digits, thousands apart; a dash where missing."""
    text = measures.number(value)
    return f"{int(text):,}" if text.lstrip("-").isdigit() else text


def figure(name: str, cell: Cell | None) -> Figure:
    """A cell in words; a dash where the row has no such figure. Energy is kept in kWh and shown in Wh, as most runs
    take less than one kWh."""
    measure = MEASURES[name]
    unit, scale = WH if measure.unit == KWH.name else (measure.unit, 1.0)
    if cell is None:
        return Figure(measure.label, unit, DASH, "", "", measure.better or "", measure.limits)
    span = ""
    if cell.low is not None and cell.high is not None:
        span = f"{number(cell.low * scale)} – {number(cell.high * scale)}"
    return Figure(
        measure.label, unit, number(cell.value * scale), span, cell.note or "", measure.better or "", measure.limits
    )


def groups(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows that may be ranked together, measured groups first and larger ones before smaller, best pass@kWh first."""
    by_key: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        by_key.setdefault((row.tasks_key, row.hardware_key, row.provenance), []).append(row)
    order = ("measured", "mixed", "estimated", "simulated", "published")
    ordered = sorted(by_key.values(), key=lambda group: (order.index(group[0].provenance), -len(group)))
    return [sorted(group, key=_best_first) for group in ordered]


def _best_first(row: Row) -> tuple[float, str]:
    for measure, sign in (("pass_at_kwh", -1.0), ("energy_kwh", 1.0)):
        if measure in row.measures:
            return sign * row.measures[measure].value, row.label
    return 0.0, row.label


def columns(rows: Sequence[Row]) -> list[str]:
    """Measures that some row has, in order; those of requests in flight only where some row had several."""
    left_out = () if any(row.concurrency > 1 for row in rows) else OF_REQUESTS
    return [name for name in MEASURES if name not in left_out and any(name in row.measures for row in rows)]


COLUMNS = {
    "id": "id", "content": "content", "configuration": "label", "model": "model", "family": "family",
    "parameters": "parameters",
    "tuning": "tuning", "quant": "quant", "exit": "exit", "thinking": "thinking_mode", "engine": "engine",
    "batch_size": "batch_size", "concurrency": "concurrency",
    "hardware": "hardware", "benchmark": "benchmark", "tasks": "tasks", "repeats": "runs", "provenance": "provenance",
    "energy_saved_against": "saved_against", "energy_saved": "saved", "energy_saved_same_weights": "saved_same_weights",
    "making_j": "making_j", "making_energy_is": "making_provenance", "solved_to_pay_back": "solved_to_pay_back",
}  # fmt: skip
"""Columns of a row as data, with where they stand in :class:`Row`; its measures follow, then where it comes from."""
ENDS = {"": "value", "_low": "low", "_high": "high"}


def flat(row: Row) -> dict[str, object]:
    """A row as one line of a table, for CSV and Parquet: every figure with its low and high end."""
    line: dict[str, object] = {name: getattr(row, attribute) for name, attribute in COLUMNS.items()}
    for name in MEASURES:
        line |= {f"{name}{end}": getattr(row.measures.get(name), part, None) for end, part in ENDS.items()}
    return {**line, "source": row.source, "place": row.place}


def schema() -> pa.Schema:
    """Of a table of rows as ``flat`` gives them."""
    numbers = dict.fromkeys(("parameters", "batch_size", "concurrency", "tasks", "repeats"), pa.int64())
    own = [f"{name}{end}" for name in MEASURES for end in ENDS]
    floats = ["energy_saved", "energy_saved_same_weights", "making_j", "solved_to_pay_back", *own]
    kinds = {**numbers, **dict.fromkeys(floats, pa.float64())}
    names = [*COLUMNS, *own, "source", "place"]
    return pa.schema([(name, kinds.get(name, pa.string())) for name in names])
