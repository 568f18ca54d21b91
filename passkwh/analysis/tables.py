"""Result tables, and how they leave the program: text, CSV, Parquet, and LaTeX in the thesis's booktabs layout."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from passkwh.analysis.data_files import data_file
from passkwh.clean import cell as spreadsheet_cell
from passkwh.clean import one_line
from passkwh.records import Record

Cell = str | int | float | None
Style = Literal["text", "integer", "number", "fixed2", "fixed4", "p"]


class Column(Record):
    """A column and how its values are written for people; files of data keep all digits."""

    name: str
    style: Style = "number"


class Table(Record):
    """A titled table of plain values; missing ones are None."""

    name: Annotated[str, Field(description="file name without ending")]
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    thesis: Annotated[str | None, Field(description="the thesis's table with this layout")] = None


def make_table(
    name: str,
    title: str,
    columns: Sequence[tuple[str, Style]],
    rows: Sequence[Sequence[Cell]],
    thesis: str | None = None,
) -> Table:
    """A table from plain rows."""
    return Table(
        name=name,
        title=title,
        columns=tuple(Column(name=n, style=s) for n, s in columns),
        rows=tuple(tuple(row) for row in rows),
        thesis=thesis,
    )


def laid_out(
    layout: str,
    rows: Sequence[Sequence[Cell]],
    *,
    name: str | None = None,
    thesis: str | None = None,
    labels: Sequence[str] = (),
    **values: object,
) -> Table:
    """A table of plain rows in a layout of ``data/tables.toml``.

    ``name`` is the layout's unless given, and so is the thesis's table. ``labels`` are the heads of the columns that
    the layout marks with a star; other ``values`` are filled into its title and heads.
    """
    entry = data_file("tables.toml")[layout]
    columns = [
        (head, style)
        for text, style in entry["columns"]
        for head in (labels if text == "*" else (text.format(**values),))
    ]
    return make_table(name or layout, entry["title"].format(**values), columns, rows, thesis or entry.get("thesis"))


def cell_text(value: Cell, style: Style) -> str:
    """A value as people read it; a dash where it is missing, and p-values below 0.001 as the thesis prints them."""
    if value is None:
        return "—"
    if isinstance(value, str):
        return value
    if style == "p":
        return "< 0.001" if value < 0.001 else f"{value:.3f}"
    if style == "integer" or isinstance(value, int):
        return f"{value:.0f}"
    if style == "fixed2":
        return f"{value:.2f}"
    if style == "fixed4":
        return f"{value:.4f}"
    return f"{value:.4g}"


def text_rows(table: Table) -> list[list[str]]:
    """The rows as people read them."""
    return [[cell_text(v, c.style) for v, c in zip(row, table.columns, strict=True)] for row in table.rows]


def to_csv(table: Table) -> str:
    """Comma-separated values with all digits; missing ones are empty, and no text is a formula to a spreadsheet."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([spreadsheet_cell(c.name) for c in table.columns])
    writer.writerows([spreadsheet_cell(v) if isinstance(v, str) else v for v in row] for row in table.rows)
    return out.getvalue()


def to_latex(table: Table) -> str:
    """A booktabs table, with caption and label: needs \\usepackage{booktabs}."""
    alignment = "".join("l" if c.style == "text" else "r" for c in table.columns)
    body = [" & ".join(_escape(cell) for cell in row) + r" \\" for row in text_rows(table)]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escape(table.title)}}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{{alignment}}}",
        r"\toprule",
        " & ".join(_escape(c.name) for c in table.columns) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def write_parquet(table: Table, path: Path) -> None:
    """Write the table as Parquet, a column per column; what mixes text and numbers becomes text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {}
    for i, column in enumerate(table.columns):
        values = [row[i] for row in table.rows]
        kinds = {type(v) for v in values if v is not None}
        if kinds <= {int}:
            arrays[column.name] = pa.array(values, pa.int64())
        elif kinds <= {int, float}:
            arrays[column.name] = pa.array([None if v is None else float(v) for v in values], pa.float64())
        else:
            arrays[column.name] = pa.array([None if v is None else str(v) for v in values], pa.string())
    pq.write_table(pa.table(arrays), path)


def write_tables(tables: Sequence[Table], folder: Path) -> list[Path]:
    """Write every table as CSV, Parquet and LaTeX into ``folder``; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for table in tables:
        for ending, text in ((".csv", to_csv(table)), (".tex", to_latex(table))):
            path = folder / f"{table.name}{ending}"
            path.write_text(text, encoding="utf-8")
            written.append(path)
        path = folder / f"{table.name}.parquet"
        write_parquet(table, path)
        written.append(path)
    return written


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "—": "---",
    "[": "{[}",
}  # fmt: skip
"""A bracket after a line break would be read as its argument."""


def _escape(text: str) -> str:
    return "".join(_LATEX.get(c, c) for c in one_line(text))
