"""Where each published table and figure of results stands in this report, and why one does not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from passkwh.reports.document.content import Column, FigureBlock, Missing, Section, TableBlock
from passkwh.reports.document.draft import Draft
from passkwh.reports.document.evidence import Evidence

ITEMS: tuple[tuple[str, str, str], ...] = (
    ("thesis, figure 3.1", "Power over time", "any"),
    *(
        (f"thesis, figure {n}", what, "granularity")
        for n, what in (
            ("4.6", "Energy per task"),
            ("4.7", "Tasks per domain"),
            ("4.8", "Energy per task by domain"),
            ("4.9", "Energy per token by domain"),
        )
    ),
    ("thesis, figure 4.12", "Energy against pass@1 with the frontier", "any"),
    ("thesis, table 5.1", "Domains", "granularity"),
    ("thesis, tables 5.2-5.4", "Durbin-Watson, Shapiro-Wilk, Levene over time", "granularity"),
    ("thesis, tables 5.5-5.13", "Regressions of log energy", "granularity"),
    *(
        (f"thesis, table 5.{n}", what, experiment)
        for experiment, first, names in (
            ("batch-size", 14, ("Requirements", "Levene", "Kruskal-Wallis", "Dunn", "Results")),
            ("model-size", 19, ("Requirements", "Shapiro-Wilk", "Levene", "Kruskal-Wallis", "Dunn", "Results")),
            ("fine-tuning", 25, ("Requirements", "Shapiro-Wilk", "Levene", "Kruskal-Wallis", "Results")),
            ("awq", 30, ("Requirements", "Shapiro-Wilk", "Levene", "Kruskal-Wallis", "Results")),
            ("gptq", 35, ("Requirements", "Shapiro-Wilk", "Levene", "Kruskal-Wallis", "Dunn", "Results")),
        )
        for n, what in enumerate(names, start=first)
    ),
    ("GREEN-CODE, figure 1", "Quality, energy and latency by fixed exit layer", "early-exit"),
    ("GREEN-CODE, figure 6", "Reward while the agent is trained", "early-exit"),
    ("GREEN-CODE, figure 7", "Where leaving would have been best", "early-exit"),
    ("GREEN-CODE, figures 8-11", "Quality and resources by threshold", "early-exit"),
    ("GREEN-CODE, table IV", "What the agent costs", "early-exit"),
)
"""Published item, what it shows, and the experiment it belongs to."""


def coverage(evidence: Evidence, sections: Sequence[Section]) -> Draft:
    """One row for each published table and figure of results."""
    rows = []
    for item, what, experiment in ITEMS:
        here = list(_places(item, sections))
        missing = next((reason for reason in _reasons(item, sections)), None)
        if here:
            shown = ", ".join(here)
            note = f"in part: {missing}" if missing else None
        else:
            shown = "not computed"
            note = missing or _reason(experiment, evidence)
        rows.append((item, what, shown, note))
    return Draft(
        "coverage",
        "The published tables and figures",
        (
            TableBlock(
                name="coverage",
                title="Where each published table and figure of results stands in this report",
                columns=tuple(Column(name=n, style="text") for n in ("published", "what it shows", "here", "why not")),
                rows=tuple(rows),
            ),
        ),
    )


def _places(item: str, sections: Sequence[Section]) -> Iterator[str]:
    found: list[str] = []
    for section in sections:
        for block in section.blocks:
            if isinstance(block, TableBlock) and _covers(block.thesis, item):
                found.append(f"table {block.number}")
            elif isinstance(block, FigureBlock) and block.after == item:
                found.append(f"figure {block.number}")
    if len(found) > 3:
        yield f"{found[0]} to {found[-1].removeprefix('table ')}"
    else:
        yield from found


def _covers(thesis: str | None, item: str) -> bool:
    """Whether a table with the layout of the thesis's table ``thesis`` is (one of) ``item``."""
    return thesis is not None and thesis in (item, re.sub(r"^thesis, tables? ", "", item))


def _reasons(item: str, sections: Sequence[Section]) -> Iterator[str]:
    for section in sections:
        for block in section.blocks:
            if isinstance(block, Missing) and block.after == item:
                yield block.reason


def _reason(experiment: str, evidence: Evidence) -> str:
    if experiment in evidence.impossible:
        return evidence.impossible[experiment]
    if evidence.experiment not in ("all", experiment):
        return f"it belongs to another experiment: --experiment {experiment}"
    return "these runs hold nothing to compute it from"
