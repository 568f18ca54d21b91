"""A review as data, and in Markdown for a comment: what strangers named stands as code, and there is an end to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from passkwh.clean import one_line
from passkwh.reports.leaderboard.cells import figure
from passkwh.reports.leaderboard.review import FileChange, Place, Review, RowChange

MOST_CHARACTERS = 20_000
"""GitHub takes 65,536 in a comment."""
MOST_FINDINGS = 5
"""Of one file."""
LONGEST = 240
"""Characters of one foreign text."""
SHOWN = ("pass_at_1", "energy_kwh", "pass_at_kwh")


def markdown(review: Review) -> str:
    """The review, at most ``MOST_CHARACTERS`` long; what is left out is counted."""
    kept, left = [], 0
    room = MOST_CHARACTERS - 200
    for line in _lines(review):
        room -= len(line) + 1
        if room < 0:
            left += 1
        else:
            kept.append(line)
    if left:
        kept.append(f"\n{left} more lines: `bench leaderboard review --json` has everything.")
    return "\n".join(kept)


def as_dict(review: Review) -> dict[str, Any]:
    """The review as data."""
    return {
        "accepted": review.accepted,
        "files": [
            {
                "name": file.name, "change": file.kind, "refused": file.refused,
                "findings": [finding.model_dump() for finding in file.findings],
            }
            for file in review.files
        ],
        "rows": [
            {
                "change": change.kind, "id": change.row.id, "configuration": change.row.label,
                "benchmark": change.row.benchmark, "hardware": change.row.hardware,
                "provenance": change.row.provenance, "runs": change.row.runs,
                "rank": change.place.rank, "of": change.place.of, "rank_range": change.row.ranks,
                "rank_before": None if change.before is None else change.before.rank,
            }
            for change in review.rows
        ],
        "moved": review.moved,
    }  # fmt: skip


def code(text: str) -> str:
    """Foreign text as a span of code, in which nothing is a link, a name that is called, or markup."""
    shown = one_line(text, LONGEST) or "(empty)"
    fence = "`" * (max((len(run) for run in re.findall("`+", shown)), default=0) + 1)
    space = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{space}{shown}{space}{fence}"


def _lines(review: Review) -> Iterator[str]:
    if not review.files:
        yield "No pack is added, changed or removed."
        return
    refused = sum(file.refused for file in review.files)
    yield f"**Refused**: {refused} of {len(review.files)} files cannot be taken." if refused else "**Valid**."
    yield "\nFiles\n"
    for file in review.files:
        yield from _file(file)
    yield "\nRows of the board, if this were merged as it is\n"
    for change in review.rows:
        yield _row(change)
    if not review.rows:
        yield "- none would come, change or go"
    if review.moved:
        yield f"- {review.moved} other {'row' if review.moved == 1 else 'rows'} would have another rank"


def _file(file: FileChange) -> Iterator[str]:
    verdict = "refused" if file.refused else "somebody's pack is withdrawn" if file.kind == "removes" else "valid"
    yield f"- {file.kind} {code(file.name)}: {verdict}"
    errors_first = sorted(file.findings, key=lambda finding: finding.severity != "error")
    for finding in errors_first[:MOST_FINDINGS]:
        yield f"  - {code(str(finding))}"
    if len(file.findings) > MOST_FINDINGS:
        yield f"  - {len(file.findings) - MOST_FINDINGS} more findings"


def _row(change: RowChange) -> str:
    row, before = change.row, change.before
    if change.kind == "removes":
        ranked = f"{_place(change.place)} until now"
    else:
        ranked = _place(change.place)
        if row.ranks is not None and row.ranks[0] < row.ranks[1]:
            ranked += f" ({row.ranks[0]} to {row.ranks[1]} within the uncertainty of all)"
        if before is not None and before.rank != change.place.rank:
            ranked += f", was {_place(before)}"
    shown = [figure(name, row.measures[name]) for name in SHOWN if name in row.measures]
    figures = ", ".join(f"{one.name} {one.text}{f' {one.unit}' if one.unit else ''}" for one in shown)
    where = f"{code(row.benchmark)} on {code(row.hardware)}, energy {row.provenance}"
    return f"- {change.kind} {code(row.label)}: {ranked}; {figures}; {where}"


def _place(place: Place) -> str:
    return "no rank (no pass@kWh)" if place.rank is None else f"rank {place.rank} of {place.of} by pass@kWh"
