"""Figures as readers see them: significant digits, ranges, units. The site's scripts format in the same way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from passkwh import measures
from passkwh.reports.leaderboard.rows import MEASURES, Cell, Row

WH_PER_KWH = 1000.0
SHOWN_UNIT = {"energy_kwh": ("energy", "Wh", WH_PER_KWH)}
"""Energy is kept in kilowatt-hours and shown in watt-hours, which most runs take."""


@dataclass(frozen=True)
class Figure:
    """A figure ready to be printed."""

    name: str
    unit: str
    text: str
    range: str
    note: str
    direction: str


def number(value: float | None) -> str:
    """Three significant digits, thousands apart; a dash where missing."""
    text = measures.number(value)
    return f"{int(text):,}" if text.lstrip("-").isdigit() else text


def figure(measure: str, cell: Cell | None) -> Figure:
    """A cell in words; a dash where the row has no such figure."""
    name, unit, direction = MEASURES[measure]
    scale = 1.0
    if measure in SHOWN_UNIT:
        name, unit, scale = SHOWN_UNIT[measure]
    if cell is None:
        return Figure(name, unit, "—", "", "", direction)
    span = ""
    if cell.low is not None and cell.high is not None:
        span = f"{number(cell.low * scale)} – {number(cell.high * scale)}"
    return Figure(name, unit, number(cell.value * scale), span, cell.note or "", direction)


def groups(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows that may be ranked together, measured groups first and larger ones before smaller, best pass@kWh first."""
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.tasks_key, row.hardware_key, row.provenance), []).append(row)
    order = ("measured", "mixed", "estimated", "simulated", "published")
    ordered = sorted(found.values(), key=lambda group: (order.index(group[0].provenance), -len(group)))
    return [sorted(group, key=_best_first) for group in ordered]


def _best_first(row: Row) -> tuple[float, str]:
    for measure, sign in (("pass_at_kwh", -1.0), ("energy_kwh", 1.0)):
        if measure in row.measures:
            return sign * row.measures[measure].value, row.label
    return 0.0, row.label


def columns(rows: Sequence[Row]) -> list[str]:
    """Measures that some row has, in order."""
    return [name for name in MEASURES if any(name in row.measures for row in rows)]


def flat(row: Row) -> Mapping[str, object]:
    """A row as one line of a table, for CSV and Parquet: every figure with its low and high end."""
    line: dict[str, object] = {
        "id": row.id, "configuration": row.label, "model": row.model, "family": row.family,
        "parameters": row.parameters, "tuning": row.tuning, "quant": row.quant, "exit": row.exit,
        "batch_size": row.batch_size, "hardware": row.hardware, "benchmark": row.benchmark, "tasks": row.tasks,
        "repeats": row.runs, "provenance": row.provenance, "energy_saved": row.saved,
    }  # fmt: skip
    for measure in MEASURES:
        cell = row.measures.get(measure)
        line[measure] = None if cell is None else cell.value
        line[f"{measure}_low"] = None if cell is None else cell.low
        line[f"{measure}_high"] = None if cell is None else cell.high
    line["source"], line["place"] = row.source, row.place
    return line
