"""The board without scripts: a plain table for each group of rows that may be ranked together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from passkwh.analysis.deadline import COST, DEADLINE, within_each
from passkwh.reports.leaderboard.cells import columns, figure, groups, number
from passkwh.reports.leaderboard.rows import Row

PLAIN_TEXTS = ("engine", "thinking_mode")
"""Columns of a table where its rows differ in them; their labels say the rest."""


def plain_groups(rows: Sequence[Row], most: int) -> list[dict[str, Any]]:
    """What the template shows of each group, of at most so many rows."""
    shown = []
    for place, group in enumerate(groups(rows)):
        kept = group[: max(most, 0)]
        most -= len(kept)
        if not kept:
            break
        names = columns(group)
        shown.append(
            {
                "anchor": f"group-{place + 1}",
                "benchmark": group[0].benchmark,
                "hardware": group[0].hardware,
                "provenance": group[0].provenance,
                "source": group[0].source if group[0].provenance == "published" else "",
                "columns": [figure(name, None) for name in names],
                "rows": [{"row": r, "cells": [figure(name, r.measures.get(name)) for name in names]} for r in kept],
                "texts": [name for name in PLAIN_TEXTS if len({getattr(row, name) for row in group}) > 1],
                "within": _within(group),
                "left": len(group) - len(kept),
            }
        )
    return shown


def _within(group: Sequence[Row]) -> list[dict[str, Any]]:
    """The cheapest row of a group within each deadline, where requests were in flight."""
    some = [row for row in group if COST in row.measures and DEADLINE in row.measures]
    if all(row.concurrency == 1 for row in some):
        return []
    costs, latencies_s = ([row.measures[name].value for row in some] for name in (COST, DEADLINE))
    return [
        {"row": some[i], "cost": number(costs[i]), "latency": number(latencies_s[i])}
        for i in within_each(costs, latencies_s)
    ]
