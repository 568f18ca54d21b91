"""Where each published table and figure of results stands in this report, and why one does not."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from importlib import resources

from passkwh.reports.document.content import FigureBlock, NotAvailable, Section, TableBlock, table_of
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.document.section import Deferred, Draft, FunctionSection, everywhere


def published_items() -> list[tuple[str, str, str]]:
    """Published item, what it shows, and the experiment it belongs to (``any``: every report)."""
    text = resources.files(__package__).joinpath("published_items.csv").read_text("utf-8")
    return [(row[0], row[1], row[2]) for row in list(csv.reader(text.splitlines()))[1:]]


def build(evidence: Evidence) -> Draft:
    """One row for each published table and figure of results, once the others have their numbers."""
    return Draft((Deferred(lambda sections: _table(evidence, sections)),))


def _table(evidence: Evidence, sections: Sequence[Section]) -> TableBlock:
    rows = []
    for item, what, experiment in published_items():
        places = list(_places(item, sections))
        missing = next(_reasons(item, sections), None)
        if places:
            rows.append((item, what, ", ".join(places), f"in part: {missing}" if missing else None))
        else:
            rows.append((item, what, "not computed", missing or _reason(experiment, evidence)))
    columns = dict.fromkeys(("published", "what it shows", "here", "why not"), "text")
    title = "Where each published table and figure of results stands in this report"
    return table_of("coverage", title, columns, rows)


def _places(item: str, sections: Sequence[Section]) -> Iterator[str]:
    places: list[str] = []
    for block in (block for section in sections for block in section.blocks):
        if isinstance(block, TableBlock) and _covers(block.thesis, item):
            places.append(f"table {block.number}")
        elif isinstance(block, FigureBlock) and block.after == item:
            places.append(f"figure {block.number}")
    if len(places) > 3:
        yield f"{places[0]} to {places[-1].removeprefix('table ')}"
    else:
        yield from places


def _covers(thesis: str | None, item: str) -> bool:
    """Whether a table with the layout of the thesis's table ``thesis`` is (one of) ``item``."""
    return thesis is not None and thesis in (item, re.sub(r"^thesis, tables? ", "", item))


def _reasons(item: str, sections: Sequence[Section]) -> Iterator[str]:
    for block in (block for section in sections for block in section.blocks):
        if isinstance(block, NotAvailable) and block.after == item:
            yield block.reason


def _reason(experiment: str, evidence: Evidence) -> str:
    if experiment in evidence.impossible:
        return evidence.impossible[experiment]
    if evidence.outline not in ("all", experiment):
        return f"it belongs to another experiment: --experiment {experiment}"
    return "these runs hold nothing to compute it from"


COVERAGE = FunctionSection(
    "coverage",
    "The published tables and figures",
    "where each published table and figure stands in the report, and why one does not",
    everywhere(90),
    build,
)
