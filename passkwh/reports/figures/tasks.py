"""Energy task by task, and tasks and energies by domain (figures 4.6-4.9 of the thesis)."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from passkwh.reports.document.content import FigureBlock, NotAvailable
from passkwh.reports.document.evidence import NO_DOMAINS, Evidence
from passkwh.reports.document.section import Drawing
from passkwh.reports.figures.theme import BLUE, CATEGORIES, INK, SOFT, WIDTH, Sheet

MOST_DOTS = 2500
"""More tasks x configurations are drawn as lines: a dot each would fill the page's file."""
MOST_COLOURS = 6
DECADES = [10.0**power for power in range(-6, 10)]


def energy_per_task(evidence: Evidence) -> Drawing | NotAvailable:
    """Energy of every task in the benchmark's order, a panel for each configuration."""
    table = evidence.table
    if not np.isfinite(table.energy_j).any():
        return NotAvailable(what="Energy per task", reason="no configuration has energies", after="thesis, figure 4.6")
    data = pd.DataFrame(
        {
            "configuration": np.repeat(table.labels, len(table.task_ids)),
            "task": np.tile(table.task_ids, len(table.labels)),
            "place": np.tile(np.arange(1, len(table.task_ids) + 1), len(table.labels)),
            "energy_j": table.energy_j.ravel(),
        }
    )
    positive = data[data["energy_j"] > 0]
    if positive.empty:
        return NotAvailable(what="Energy per task", reason="no task has a positive energy", after="thesis, figure 4.6")
    few = len(table.labels) <= 3
    width, height = (WIDTH - 100, 130) if few else (WIDTH // 2 - 60, 64)
    sheet = Sheet()
    base = alt.Chart(sheet.rows(positive[["configuration", "place", "energy_j"]]))
    dots = len(positive) <= MOST_DOTS
    marks = base.mark_circle(size=14, opacity=0.75, color=BLUE) if dots else base.mark_line(strokeWidth=0.5, color=BLUE)
    chart = marks.encode(
        x=alt.X("place:Q", title="task, in the benchmark's order", scale=alt.Scale(nice=False),
                axis=alt.Axis(grid=False)),
        y=alt.Y("energy_j:Q", title=["J per task", evidence.energy_named.removesuffix(" energy")],
                scale=alt.Scale(type="log"), axis=alt.Axis(values=DECADES, format="~s")),
        facet=alt.Facet("configuration:N", columns=1 if few else 2, title=None, sort=list(table.labels),
                        header=alt.Header(labelAnchor="start", labelPadding=2)),
    ).properties(width=width, height=height)  # fmt: skip
    block = FigureBlock(
        name="energy_per_task", title="Energy of every task", after="thesis, figure 4.6",
        caption=f"{evidence.settings.energy.capitalize()} energy of generating and scoring, mean of repeats, "
        f"on one logarithmic scale; lower is better.{evidence.energy_is}",
    )  # fmt: skip
    return sheet.drawing(chart, data, block)


def tasks_by_domain(evidence: Evidence) -> Drawing | NotAvailable:
    """How many tasks touch each domain."""
    if not evidence.domains:
        return NotAvailable(what="Tasks by domain", reason=NO_DOMAINS, after="thesis, figure 4.7")
    own = [row for row in evidence.domains if row.label == evidence.domains[0].label]
    data = pd.DataFrame([{"domain": row.domain, "tasks": row.tasks, "share": row.share} for row in own])
    order = list(data.sort_values("tasks", ascending=False)["domain"])
    sheet = Sheet()
    chart = (
        alt.Chart(sheet.rows(data))
        .mark_bar(color=BLUE, height=14)
        .encode(y=alt.Y("domain:N", title=None, sort=order), x=alt.X("tasks:Q", title="tasks"))
        .properties(width=WIDTH - 220, height=alt.Step(24))
    )
    block = FigureBlock(
        name="tasks_by_domain", title="Tasks by domain", after="thesis, figure 4.7",
        caption=f"Of {evidence.analysis.tasks} tasks; one that uses libraries of several domains counts in each.",
    )  # fmt: skip
    return sheet.drawing(chart, data, block)


def energy_by_domain(evidence: Evidence, per: str) -> Drawing | NotAvailable:
    """Mean energy of a task (``per`` is task) or of a generated token, by domain, with intervals."""
    number = {"task": "4.8", "token": "4.9"}[per]
    what = f"Energy per {per} by domain"
    if not evidence.domains:
        return NotAvailable(what=what, reason=NO_DOMAINS, after=f"thesis, figure {number}")
    data = pd.DataFrame(
        [
            {"configuration": row.label, "domain": row.domain, "value": getattr(row, f"joules_per_{per}"),
             "bounds": getattr(row, f"joules_per_{per}_range")}
            for row in evidence.domains
        ]
    )  # fmt: skip
    data = data[data["value"].notna()]
    if data.empty:
        return NotAvailable(what=what, reason="no configuration has energies", after=f"thesis, figure {number}")
    for i, name in enumerate(("low", "high")):
        data[name] = [v if b is None else b[i] for v, b in zip(data["value"], data["bounds"], strict=True)]
    data = data.drop(columns=["bounds"])
    log = bool((data["low"] > 0).all() and data["high"].max() / data["low"].min() > 8)
    scale = alt.Scale(type="log" if log else "linear", zero=False, nice=True)
    title = f"{evidence.energy_named}, J per {per} — lower is better"
    many = len(evidence.labels) > MOST_COLOURS
    sheet = Sheet()
    values = sheet.rows(data)
    chart = (_panels if many else _coloured)(values, evidence, list(dict.fromkeys(data["domain"])), scale, title)
    block = FigureBlock(
        name=f"energy_per_{per}_by_domain", title=what, after=f"thesis, figure {number}",
        caption="Means with intervals over the domain's tasks." + (" Logarithmic scale." if log else "")
        + evidence.energy_is,
    )  # fmt: skip
    return sheet.drawing(chart, data, block)


def _coloured(
    values: dict[str, str], evidence: Evidence, domains: list[str], scale: alt.Scale, title: str
) -> alt.LayerChart:
    labels = list(evidence.labels)
    base = alt.Chart(values).encode(
        y=alt.Y("domain:N", sort=domains, title=None, axis=alt.Axis(grid=True, bandPosition=0.5)),
        yOffset=alt.YOffset("configuration:N", sort=labels),
        color=alt.Color("configuration:N", sort=labels, title=None, legend=alt.Legend(orient="top", columns=3),
                        scale=alt.Scale(domain=labels, range=list(CATEGORIES[: len(labels)]))),
    )  # fmt: skip
    rule = base.mark_rule(strokeWidth=1.6).encode(x=alt.X("low:Q", title=title, scale=scale), x2="high:Q")
    dots = base.mark_point(filled=True, size=46, opacity=1).encode(x="value:Q")
    return alt.layer(rule, dots).properties(width=WIDTH - 220, height=alt.Step(11 if len(labels) > 2 else 14))


def _panels(
    values: dict[str, str], evidence: Evidence, domains: list[str], scale: alt.Scale, title: str
) -> alt.FacetChart:
    labels = list(evidence.labels)
    base = alt.Chart().encode(
        y=alt.Y("configuration:N", sort=labels, title=None, axis=alt.Axis(grid=True, ticks=False))
    )
    rule = base.mark_rule(strokeWidth=1.6, color=SOFT).encode(
        x=alt.X("low:Q", title=None, scale=scale, axis=alt.Axis(tickCount=2, format="~s", labelOverlap=True)),
        x2="high:Q",
    )
    dots = base.mark_point(filled=True, size=30, opacity=1, color=INK).encode(x="value:Q")
    width = (WIDTH - 210 - 12 * len(domains)) // max(len(domains), 1)
    return (
        alt.layer(rule, dots, data=values)
        .properties(width=width, height=alt.Step(15))
        .facet(column=alt.Column("domain:N", title=title, sort=domains, spacing=12,
               header=alt.Header(labelFontSize=11, titleOrient="bottom")),
               )
    )  # fmt: skip
