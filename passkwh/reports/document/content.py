"""A report as data: sections of sentences, tables and figures. The page and ``report.json`` are the same content.

Every number keeps its full value beside the text that people read, so a page can be checked against the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from passkwh.analysis.tables import Cell, Style, Table, make_table
from passkwh.records import Record


class Number(Record):
    """A number inside a sentence."""

    value: float
    text: Annotated[str, Field(description="as people read it, with its unit")]


class Link(Record):
    """A reference to a place on the page, to a file of the report, or into the report of a study's part."""

    text: str
    target: Annotated[
        str,
        Field(pattern=r"^(#[a-z0-9-]+|(tables|figures)/[a-z0-9_]+\.[a-z]+|part-[0-9]+/report\.html(#[a-z0-9-]+)?)$"),
    ]


Part = str | Number | Link
Sentence = tuple[Part, ...]


class Estimate(Record):
    """A cell with an interval."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: Annotated[str | None, Field(description="why the value or its interval is missing")] = None

    def ends(self, value: str, low: str, high: str) -> dict[str, float | None]:
        """Value and bounds under these names, for a chart; without an interval the bounds are the value."""
        return {
            value: self.value,
            low: self.value if self.low is None else self.low,
            high: self.value if self.high is None else self.high,
        }


class Column(Record):
    """A column of a table; ``estimate`` columns hold cells with intervals."""

    name: str
    style: Style | Literal["estimate"] = "number"


class Text(Record):
    """A paragraph."""

    kind: Literal["text"] = "text"
    sentence: Sentence
    tone: Literal["plain", "lead", "soft"] = "plain"


class Bullets(Record):
    """A list of sentences."""

    kind: Literal["bullets"] = "bullets"
    items: tuple[Sentence, ...]
    tone: Literal["plain", "warning"] = "plain"


class NotAvailable(Record):
    """Something that a reader may look for and that could not be computed, with the reason."""

    kind: Literal["not_available"] = "not_available"
    what: str
    reason: str
    after: Annotated[str | None, Field(description="the published figure or table that is missing")] = None


class Heading(Record):
    """A heading within a section."""

    kind: Literal["heading"] = "heading"
    text: str


class TableBlock(Record):
    """A table, shown and as files."""

    kind: Literal["table"] = "table"
    name: Annotated[str, Field(pattern=r"^[a-z0-9_]+$", description="file name without ending")]
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell | Estimate, ...], ...]
    thesis: Annotated[str | None, Field(description="the thesis's table with this layout, or `paper, table`")] = None
    note: str | None = None
    folded: Annotated[bool, Field(description="closed on the screen until asked for; always printed")] = False
    number: Annotated[int, Field(description="its place among the report's tables")] = 0

    def plain(self) -> Table:
        """The table for files: an estimate becomes three columns."""
        columns: list[tuple[str, Style]] = []
        for column in self.columns:
            if column.style == "estimate":
                columns += [
                    (column.name, "number"),
                    (f"{column.name} low", "number"),
                    (f"{column.name} high", "number"),
                ]
            else:
                columns.append((column.name, column.style))
        rows: list[list[Cell]] = []
        for row in self.rows:
            cells: list[Cell] = []
            for cell in row:
                cells += [cell.value, cell.low, cell.high] if isinstance(cell, Estimate) else [cell]
            rows.append(cells)
        return make_table(self.name, self.title, columns, rows, self.thesis)


class FigureBlock(Record):
    """A figure; its picture is a file and stands in the page."""

    kind: Literal["figure"] = "figure"
    name: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    title: str
    caption: str
    after: Annotated[str | None, Field(description="the published figure it corresponds to")] = None
    number: int = 0


Block = Text | Bullets | NotAvailable | Heading | TableBlock | FigureBlock


class Section(Record):
    """A titled section of the report."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    title: str
    group: Annotated[str, Field(description="which runs it is about, where a page is about several groups")] = ""
    blocks: tuple[Block, ...]


class Report(Record):
    """The whole report. ``results`` is what the analysis computed, in full."""

    schema_version: int = 2
    title: str
    subtitle: Sentence
    outline: str
    created: str
    version: str
    sections: tuple[Section, ...]
    results: dict[str, Any]


def table_of(
    name: str,
    title: str,
    columns: Mapping[str, str] | Sequence[tuple[str, str]],
    rows: Iterable[Sequence[Cell | Estimate]],
    *,
    thesis: str | None = None,
    note: str | None = None,
    folded: bool = False,
) -> TableBlock:
    """A table from its columns (name to style: text, integer, number, fixed2, fixed4, p or estimate) and rows."""
    pairs = columns.items() if isinstance(columns, Mapping) else columns
    return TableBlock.model_validate(
        {"name": name, "title": title, "thesis": thesis, "note": note, "folded": folded,
         "columns": tuple(Column.model_validate({"name": n, "style": s}) for n, s in pairs),
         "rows": tuple(tuple(row) for row in rows)}
    )  # fmt: skip


def table_block(table: Table, *, folded: bool = False, note: str | None = None) -> TableBlock:
    """A table of the analysis as it is."""
    return TableBlock(
        name=table.name, title=table.title, thesis=table.thesis, folded=folded, note=note, rows=table.rows,
        columns=tuple(Column(name=c.name, style=c.style) for c in table.columns),
    )  # fmt: skip
