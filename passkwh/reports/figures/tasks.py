"""Energy task by task, and tasks and energies by domain (figures 4.6-4.9 of the thesis)."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from passkwh.measures import number
from passkwh.reports.document.content import FigureBlock, NotAvailable
from passkwh.reports.document.evidence import NO_DOMAINS, Evidence
from passkwh.reports.document.section import Drawing
from passkwh.reports.figures.theme import BLUE, CATEGORIES, INK, SOFT, WIDTH, Sheet

MOST_DOTS = 2500
"""More tasks x configurations are drawn as lines: a dot each would fill the page's file."""
MOST_COLOURS = 6
MOST_ON_ONE_SCALE = 3
PANELS = 4
"""Panels beside each other."""
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
    few = len(table.labels) <= MOST_ON_ONE_SCALE
    width, height = (WIDTH - 100, 130) if few else (WIDTH // 2 - 60, 84)
    if not few:  # on one scale of joules each would fill a fraction of its panel's height
        positive = _by_median(positive)
    sheet = Sheet()
    base = alt.Chart(sheet.rows(positive[["configuration", "place", "energy_j"]]))
    dots = len(positive) <= MOST_DOTS
    marks = base.mark_circle(size=14, opacity=0.75, color=BLUE) if dots else base.mark_line(strokeWidth=0.5, color=BLUE)
    chart = marks.encode(
        x=alt.X("place:Q", title="task, in the benchmark's order", scale=alt.Scale(nice=False),
                axis=alt.Axis(grid=False)),
        y=alt.Y("energy_j:Q",
                title=["J per task", evidence.energy_named.removesuffix(" energy")] if few else "× its median",
                scale=alt.Scale(type="log", clamp=True) if few else
                alt.Scale(type="log", clamp=True, domain=_span(positive["energy_j"])),
                axis=alt.Axis(values=DECADES, format="~s") if few else alt.Axis(tickCount=4, format="~g")),
        facet=alt.Facet("configuration:N", columns=1 if few else 2, title=None,
                        sort=list(dict.fromkeys(positive["configuration"])),
                        header=alt.Header(labelAnchor="start", labelPadding=2)),
    ).properties(width=width, height=height)  # fmt: skip
    block = FigureBlock(
        name="energy_per_task", title="Energy of every task", after="thesis, figure 4.6",
        caption=f"{evidence.settings.energy.capitalize()} energy of generating and scoring, mean of repeats, "
        + ("on one logarithmic scale" if few else "over the configuration's own median, which its title has, on one "
           "logarithmic scale that leaves out the outermost 0.5 % of tasks at either end")
        + f"; lower is better.{evidence.energy_is}",
    )  # fmt: skip
    return sheet.drawing(chart, data, block)


def _by_median(data: pd.DataFrame) -> pd.DataFrame:
    """Energies over the median of their configuration, whose name then says it."""
    median = data.groupby("configuration", sort=False)["energy_j"].transform("median")
    names = [
        f"{name} (median {number(value, 3)} J per task)"
        for name, value in zip(data["configuration"], median, strict=True)
    ]
    return data.assign(energy_j=data["energy_j"] / median, configuration=names)


def _span(values: pd.Series[float]) -> list[float]:
    """Between which ratios nearly all lie."""
    low, high = (float(values.quantile(q)) for q in (0.005, 0.995))
    return [min(low, 0.9), max(high, 1.1)]


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
    many = len(evidence.labels) > MOST_COLOURS
    if many:  # which domain costs more is a question within each configuration, so it is asked of one panel
        data[f"joules_per_{per}"] = data["value"]
        data[["value", "low", "high"]] = data[["value", "low", "high"]].div(
            data["configuration"].map(_means(evidence, per)), axis=0
        )
    log = bool((data["low"] > 0).all() and data["high"].max() / data["low"].min() > 8)
    scale = alt.Scale(type="log" if log else "linear", zero=False, nice=True)
    title = f"{evidence.energy_named}, J per {per} — lower is better"
    if many:
        title = f"{evidence.energy_named}, J per {per} over the configuration's own mean — lower is better"
    sheet = Sheet()
    values = sheet.rows(data)
    chart = (_panels if many else _coloured)(values, evidence, list(dict.fromkeys(data["domain"])), scale, title)
    block = FigureBlock(
        name=f"energy_per_{per}_by_domain", title=what, after=f"thesis, figure {number}",
        caption="Means with intervals over the domain's tasks." + (" Logarithmic scale." if log else "")
        + (" The line is the mean over all tasks of the configuration." if many else "")
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


def _means(evidence: Evidence, per: str) -> dict[str, float]:
    """Each configuration's mean energy of a task, or of a generated token, over all tasks."""
    table = evidence.table
    of_tasks = table.energy_j.mean(axis=1)
    of_tokens = table.generation_j.sum(axis=1) / np.maximum(table.tokens.sum(axis=1), 1.0)
    return dict(zip(table.labels, (of_tasks if per == "task" else of_tokens).tolist(), strict=True))


def _panels(
    values: dict[str, str], evidence: Evidence, domains: list[str], scale: alt.Scale, title: str
) -> alt.FacetChart:
    """A panel for each configuration, domains below each other in it."""
    base = alt.Chart().encode(y=alt.Y("domain:N", sort=domains, title=None, axis=alt.Axis(grid=False, ticks=False)))
    at_mean = alt.Chart().mark_rule(color=SOFT, strokeDash=[3, 3]).encode(x=alt.datum(1.0))
    rule = base.mark_rule(strokeWidth=1.8, color=BLUE).encode(
        x=alt.X("low:Q", title=None, scale=scale, axis=alt.Axis(tickCount=3, format="~g", labelOverlap=True)),
        x2="high:Q",
    )
    dots = base.mark_point(filled=True, size=34, opacity=1, color=INK).encode(x="value:Q")
    return (
        alt.layer(at_mean, rule, dots, data=values)
        .properties(width=WIDTH // PANELS - 112, height=alt.Step(13))
        .facet(
            facet=alt.Facet("configuration:N", title=title, sort=list(evidence.labels),
                            header=alt.Header(labelFontSize=11, titleOrient="bottom", labelLimit=180)),
            columns=PANELS, spacing=10,
        )
    )  # fmt: skip
