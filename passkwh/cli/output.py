"""How commands speak: results on stdout, progress and warnings on stderr, one JSON object as the last line."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from passkwh.clean import UNSAFE, clean
from passkwh.measures import number as number

if TYPE_CHECKING:
    from rich.table import Table

    from passkwh.analysis.tables import Table as ResultTable


def print_json(result: Mapping[str, Any]) -> None:
    """The machine-readable result: one line, the last of stdout. What a terminal might obey is written as an escape."""
    text = json.dumps(result, ensure_ascii=False, allow_nan=False)
    print(UNSAFE.sub(_escape, text), flush=True)


def _escape(found: re.Match[str]) -> str:
    """A character as JSON may write it."""
    units = found[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))


def say(text: str) -> None:
    """A line of the result for the reader, on stdout."""
    print(clean(text), flush=True)


def note(text: str) -> None:
    """A line for the reader on stderr."""
    print(clean(text), file=sys.stderr, flush=True)


def table(title: str | None, columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> Table:
    """A rich table; columns whose index is in ``right`` are aligned right. Cell text is no markup and never cut."""
    from rich.table import Table
    from rich.text import Text

    whole = None if title is None else Text(clean(title), no_wrap=True, overflow="ignore")  # a path in it can be copied
    result = Table(title=whole, title_justify="left")
    for index, column in enumerate(columns):
        result.add_column(Text(clean(column)), justify="right" if index in right else "left", overflow="fold")
    for row in rows:
        result.add_row(*(Text(clean(cell)) for cell in row))
    return result


def print_table(shown: Table) -> None:
    """Print a table to stdout, as wide as it needs when stdout is not a terminal."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(shown)


def print_result(shown: ResultTable) -> None:
    """Print a table of the analysis or of a report."""
    from passkwh.analysis.tables import text_rows

    right = [i for i, column in enumerate(shown.columns) if column.style != "text"]
    print_table(table(shown.title, [column.name for column in shown.columns], text_rows(shown), right))


def size(size_bytes: int | None) -> str:
    """Bytes for people; a dash where they are not known."""
    if size_bytes is None:
        return "—"
    return f"{size_bytes / 2**30:.2f} GiB" if size_bytes >= 2**30 / 10 else f"{size_bytes / 2**20:.1f} MiB"


def duration(seconds: float | None) -> str:
    """Seconds for people."""
    if seconds is None:
        return "—"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
