"""Published result tables of code generation: do ratios follow from their columns, and do tables agree?"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Annotated

from pydantic import Field

from passkwh.analysis.pareto import frontier, hypervolume, knee
from passkwh.analysis.sentences import about_printed_accuracy, about_printed_energy
from passkwh.errors import UsageError
from passkwh.records import Record

MEASURES = ("energy_kwh", "latency_min", "throughput_tok_s", "pass_at_1")


class PublishedRow(Record):
    """A row as printed: figures are texts, because their number of digits is part of what they say."""

    table: str
    model: str
    tuning: str
    quant: str
    batch_size: str
    energy_kwh: str
    latency_min: str
    throughput_tok_s: str
    pass_at_1: str
    pass_at_kwh: str = ""

    @property
    def label(self) -> str:
        """The configuration."""
        parts = [self.model, "" if self.tuning in self.model.lower() else self.tuning]
        parts += ["" if self.quant == "none" else self.quant, f"batch {self.batch_size}" if self.batch_size else ""]
        return " ".join(p for p in parts if p)


COLUMNS = tuple(name for name, field in PublishedRow.model_fields.items() if field.is_required())


class RatioCheck(Record):
    """pass@1 / kWh recomputed from a row's printed figures."""

    table: str
    label: str
    printed: str | None
    computed: str
    low: float
    high: float
    agrees: bool | None


class Conflict(Record):
    """One configuration with different figures for the same measure."""

    label: str
    measure: str
    values: dict[str, tuple[str, ...]]
    """Printed value to the tables that print it."""


class PublishedReport(Record):
    """What the check found."""

    rows: int
    ratios: tuple[RatioCheck, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    oddities: tuple[str, ...]
    conclusions: tuple[str, ...]
    """What the printed figures can show, and what they cannot."""
    configurations: tuple[str, ...]
    frontier: tuple[str, ...]
    knee: str | None = None
    hypervolume: Annotated[float | None, Field(description="None where rows are of several sets of tasks")] = None


def read_published(path: Path) -> tuple[PublishedRow, ...]:
    """Read a CSV of published rows.

    Raises:
        UsageError: when the file cannot be read or a column is missing.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    return parse_published(text, str(path))


def parse_published(text: str, path: str) -> tuple[PublishedRow, ...]:
    """The rows of a CSV's text; ``path`` is what messages call it. Raises UsageError as :func:`read_published`."""
    rows = list(csv.DictReader(text.splitlines()))
    missing = [c for c in COLUMNS if not rows or c not in rows[0]]
    if missing:
        raise UsageError(
            f"{path} has no column {missing[0]}: a table of code generation needs {', '.join(COLUMNS)}; one of code "
            "completion language, model, method, threshold, codebleu, exact_match, mean_energy_j, total_energy_j"
        )
    result = []
    for number, row in enumerate(rows, start=2):
        for measure in MEASURES:
            printed_number(row[measure], f"{path}, line {number}: {measure}")
        if not printed_bounds(row["energy_kwh"])[0] > 0:
            raise UsageError(
                f"{path}, line {number}: energy_kwh is {row['energy_kwh']}, which may be 0: pass@kWh needs an energy "
                "that is above 0 as printed; give more digits, or leave the row out"
            )
        result.append(PublishedRow(**{k: row.get(k) or "" for k in (*COLUMNS, "pass_at_kwh")}))
    return tuple(result)


def check_published(rows: Sequence[PublishedRow], family: str = "", tasks: int | None = None) -> PublishedReport:
    """Check rows; the frontier is over distinct configurations whose model name starts with ``family``.

    ``tasks`` is how many the shares are of, where that is known: without it nothing can be said of their errors.
    """
    chosen: dict[str, PublishedRow] = {}
    for row in rows:
        if row.model.startswith(family):
            chosen.setdefault(row.label, row)
    points = [(float(row.energy_kwh), float(row.pass_at_1)) for row in chosen.values()]
    labels = tuple(chosen)
    on = frontier(points, ("min", "max"))
    bend = knee(points, ("min", "max"))
    reference = (max((e for e, _ in points), default=0.0), 0.0)
    return PublishedReport(
        rows=len(rows),
        ratios=tuple(_ratio(row) for row in rows),
        conflicts=tuple(_conflicts(rows)),
        oddities=tuple(_oddities(rows)),
        conclusions=tuple(_conclusions(rows, tasks)),
        configurations=labels,
        frontier=tuple(label for label, is_on in zip(labels, on, strict=True) if is_on),
        knee=None if bend is None else labels[bend],
        hypervolume=hypervolume(points, ("min", "max"), reference) if points else 0.0,
    )


def _conclusions(rows: Sequence[PublishedRow], tasks: int | None) -> list[str]:
    """Of every printed table, what its figures show of the configuration that is best in each measure."""
    said = []
    for table in dict.fromkeys(row.table for row in rows):
        own = list({row.label: row for row in rows if row.table == table}.values())
        if len(own) < 2:
            continue
        energies = [printed_bounds(row.energy_kwh) for row in own]
        least = min(range(len(own)), key=lambda i: energies[i][0] + energies[i][1])
        tied = [row.label for i, row in enumerate(own) if i != least and energies[i][0] <= energies[least][1]]
        said.append(f"table {table}: {about_printed_energy(own[least].label, tied).text}")
        best = max(range(len(own)), key=lambda i: float(own[i].pass_at_1))
        rest = [(row.label, float(row.pass_at_1)) for i, row in enumerate(own) if i != best]
        claim = about_printed_accuracy(own[best].label, float(own[best].pass_at_1), rest, tasks)
        said.append(f"table {table}: {claim.text}")
    return said


def printed_number(text: str | None, place: str) -> Decimal:
    """A printed figure. Raises UsageError, with ``place``, for one that is no finite number."""
    try:
        value = Decimal(text or "")
    except ArithmeticError as error:
        raise UsageError(f"{place} is {text!r}, not a number") from error
    if not value.is_finite():
        raise UsageError(f"{place} is {text!r}, not a finite number")
    return value


def printed_bounds(text: str) -> tuple[float, float]:
    """Between what bounds a printed figure lies."""
    value = Decimal(text)
    return float(value - _half_step(value)), float(value + _half_step(value))


def _ratio(row: PublishedRow) -> RatioCheck:
    accuracy, energy = Decimal(row.pass_at_1), Decimal(row.energy_kwh)
    printed = Decimal(row.pass_at_kwh) if row.pass_at_kwh else None
    step = printed if printed is not None else Decimal("0.01")
    # Printed figures round halves up: 0.39 / 0.40 = 0.975 is printed 0.98.
    computed = (accuracy / energy).quantize(Decimal((0, (1,), step.as_tuple().exponent)), ROUND_HALF_UP)  # type: ignore[arg-type]
    half_a, half_e = _half_step(accuracy), _half_step(energy)
    return RatioCheck(
        table=row.table,
        label=row.label,
        printed=row.pass_at_kwh or None,
        computed=str(computed),
        low=float(max(accuracy - half_a, Decimal(0)) / (energy + half_e)),
        high=float((accuracy + half_a) / (energy - half_e)),
        agrees=None if printed is None else computed == printed,
    )


def _half_step(value: Decimal) -> Decimal:
    """Half a unit of the last printed digit, which rounding hides; two decimals where trailing zeros were lost."""
    exponent = min(int(value.as_tuple().exponent), -2)
    return Decimal((0, (5,), exponent - 1))


def _conflicts(rows: Sequence[PublishedRow]) -> list[Conflict]:
    conflicts = []
    for label in dict.fromkeys(row.label for row in rows):
        own = [row for row in rows if row.label == label]
        for measure in MEASURES:
            values: dict[str, list[str]] = {}
            for row in own:
                values.setdefault(getattr(row, measure), []).append(row.table)
            if len(values) > 1:
                conflicts.append(
                    Conflict(label=label, measure=measure, values={v: tuple(t) for v, t in values.items()})
                )
    return conflicts


def _oddities(rows: Sequence[PublishedRow]) -> list[str]:
    """Figures that cannot both be right: other configurations' timings, and accuracy that depends on the batch size."""
    oddities = []
    timings: dict[tuple[str, str], list[PublishedRow]] = {}
    for row in rows:
        timings.setdefault((row.latency_min, row.throughput_tok_s), []).append(row)
    for (latency, throughput), shared in timings.items():
        tables: dict[str, list[str]] = {}
        for row in shared:
            tables.setdefault(row.label, []).append(row.table)
        if len({row.energy_kwh for row in shared}) > 1 and len(tables) > 1:
            who = " and ".join(f"{label} (table {', '.join(t)})" for label, t in tables.items())
            oddities.append(f"{who} have the same {latency} min and {throughput} tokens/s at different energies")
    models = dict.fromkeys((row.table, row.model) for row in rows if row.batch_size)
    for table, model in models:
        rates = {
            row.batch_size: row.pass_at_1 for row in rows if (row.table, row.model) == (table, model) and row.batch_size
        }
        values = [float(v) for v in rates.values()]
        if max(values) - min(values) > 0.05:
            listed = ", ".join(f"{v} at batch size {b}" for b, v in rates.items())
            oddities.append(f"table {table}: pass@1 of {model} changes with the batch size alone: {listed}")
    return oddities
