"""Printed figures and their tables: each figure is a text, because its digits are part of what it says."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from importlib import resources
from typing import Literal

from passkwh.records import Record

Work = Literal["thesis", "green-code"]


@dataclass(frozen=True)
class Range:
    """A figure with all that the rounding of what it comes from allows: from ``low`` to ``high``."""

    value: float
    low: float
    high: float

    def __add__(self, other: Range) -> Range:
        return Range(self.value + other.value, self.low + other.low, self.high + other.high)

    def __sub__(self, other: Range) -> Range:
        return Range(self.value - other.value, self.low - other.high, self.high - other.low)

    def __mul__(self, other: Range) -> Range:
        corners = [a * b for a in (self.low, self.high) for b in (other.low, other.high)]
        return Range(self.value * other.value, min(corners), max(corners))

    def __truediv__(self, other: Range) -> Range:
        """Raises ZeroDivisionError where the divisor may be 0 as printed."""
        if other.low <= 0 <= other.high:
            raise ZeroDivisionError("a printed figure that may be 0 divides nothing")
        corners = [a / b for a in (self.low, self.high) for b in (other.low, other.high)]
        return Range(self.value / other.value, min(corners), max(corners))

    def through(self, function: Callable[[float], float]) -> Range:
        """Of a function that only rises, or only falls, over the range."""
        ends = [function(self.low), function(self.high)]
        return Range(function(self.value), min(ends), max(ends))


def exactly(value: float) -> Range:
    """A number that nothing was rounded to."""
    return Range(value, value, value)


def printed(text: str, decimals: int | None = None) -> Range:
    """A printed figure and what rounds to it; ``decimals`` where trailing zeros were lost.

    Example:
        >>> printed("0.79")
        Range(value=0.79, low=0.785, high=0.795)
    """
    value = Decimal(text)
    exponent = int(value.as_tuple().exponent)
    half = Decimal((0, (5,), (exponent if decimals is None else min(exponent, -decimals)) - 1))
    return Range(float(value), float(value - half), float(value + half))


def rounded_like(value: float, text: str) -> str:
    """A value with as many decimals as a printed figure has, halves rounded up."""
    exponent = min(int(Decimal(text).as_tuple().exponent), 0)
    # Ten decimals are kept before rounding: 0.975 as a binary number is a little less than that.
    return str(Decimal(f"{value:.10f}").quantize(Decimal((0, (1,), exponent)), ROUND_HALF_UP))


def mean_of(ranges: Iterable[Range]) -> Range:
    """The mean, and between what bounds it lies."""
    own = list(ranges)
    count = len(own)
    return Range(*(sum(getattr(r, name) for r in own) / count for name in ("value", "low", "high")))


def largest(ranges: Iterable[Range]) -> Range:
    """The largest, and between what bounds it lies."""
    own = list(ranges)
    return Range(*(max(getattr(r, name) for r in own) for name in ("value", "low", "high")))


def reduction(before: Range, after: Range) -> Range:
    """By how many per cent a figure falls."""
    return exactly(100.0) - exactly(100.0) * after / before


class PrintedTable(Record):
    """A printed table as data: where it stands, and its cells as printed."""

    number: str
    section: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def records(self) -> list[dict[str, str]]:
        """Its rows by the names of its columns."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


@cache
def tables(work: Work) -> tuple[PrintedTable, ...]:
    """All printed tables of a work that hold figures, in their order."""
    index = tomllib.loads(_text(work, "tables.toml"))
    own: list[PrintedTable] = []
    for entry in index["table"]:
        content = list(csv.reader(_text(work, entry["file"]).splitlines()))
        head, rows = content[0], content[1:]
        if head[0] == "table":  # several tables of one kind share a file
            head, rows = head[1:], [row[1:] for row in rows if row[0] == entry["number"]]
        filled = [i for i, _ in enumerate(head) if any(row[i] for row in rows)]
        own.append(
            PrintedTable(
                number=entry["number"], section=entry["section"], title=entry["title"], note=entry.get("note", ""),
                columns=tuple(head[i] for i in filled), rows=tuple(tuple(row[i] for i in filled) for row in rows),
            )
        )  # fmt: skip
    return tuple(own)


def table(work: Work, number: str) -> PrintedTable:
    """One of them by its number."""
    return next(one for one in tables(work) if one.number == number)


def _text(work: Work, name: str) -> str:
    return resources.files("passkwh.analysis").joinpath("replications/data", work, name).read_text("utf-8")


def results_file(work: Work) -> str:
    """The text of a work's result rows (CSV), every table in one."""
    return _text(work, "results.csv")


def claims_file(work: Work) -> list[dict[str, str]]:
    """What the work's text says of its figures, as data: place, words, the figure, and which quantity it is."""
    return list(tomllib.loads(_text(work, "claims.toml"))["claim"])
