"""The report's folder: the page, the same content as JSON, tables as CSV and LaTeX, figures as SVG, PNG and data."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from passkwh.analysis.result_tables import analysis_tables
from passkwh.analysis.tables import Table, make_table, to_csv, to_latex
from passkwh.errors import UsageError
from passkwh.harness.runs.folder import write_atomic
from passkwh.reports.document.assemble import Assembled
from passkwh.reports.document.content import TableBlock
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.document.page import render
from passkwh.reports.figures.render import pictures

PAGE, CONTENT = "report.html", "report.json"


def write_report(assembled: Assembled, evidence: Evidence, folder: Path) -> list[Path]:
    """Write everything into ``folder`` (made where missing); returns the files, the page first.

    Raises:
        UsageError: where the folder cannot be written.
    """
    drawn = pictures(assembled.drawings)
    try:
        for name in ("tables", "figures"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        written = [folder / PAGE, folder / CONTENT]
        for table in report_tables(assembled, evidence):
            written += _write(folder / "tables" / f"{table.name}.csv", to_csv(table))
            written += _write(folder / "tables" / f"{table.name}.tex", to_latex(table))
        for name, picture in drawn.items():
            written += _write(folder / "figures" / f"{name}.svg", picture.svg)
            png = folder / "figures" / f"{name}.png"
            png.write_bytes(picture.png)
            written += [png]
            data = _data_table(name, assembled.drawings[name].data)
            written += _write(folder / "figures" / f"{name}.csv", to_csv(data))
        content = assembled.report.model_dump(mode="json")
        write_atomic(folder / CONTENT, json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n")
        write_atomic(folder / PAGE, render(assembled.report, {name: p.inline for name, p in drawn.items()}))
    except OSError as error:
        raise UsageError(f"--out {folder}: cannot be written ({error.strerror}); choose another folder") from error
    return written


def report_tables(assembled: Assembled, evidence: Evidence) -> Iterable[Table]:
    """Every table of the page, and those of the analysis that the page leaves out, each once."""
    seen: set[str] = set()
    for section in assembled.report.sections:
        for block in section.blocks:
            if isinstance(block, TableBlock):
                seen.add(block.name)
                yield block.plain()
    for table in analysis_tables(evidence.analysis):
        if table.name not in seen:
            yield table


def _write(path: Path, text: str) -> list[Path]:
    path.write_text(text, encoding="utf-8")
    return [path]


def _data_table(name: str, data: pd.DataFrame) -> Table:
    columns = [(str(column), "number" if data[column].dtype.kind in "if" else "text") for column in data.columns]
    rows = [[None if pd.isna(value) else value for value in row] for row in data.itertuples(index=False)]
    return make_table(name, name, columns, rows)  # type: ignore[arg-type]
