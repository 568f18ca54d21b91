"""Configurations side by side: measures with their intervals, and every pair's ratio of energy."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from passkwh.measures import MEASURES
from passkwh.reports.document.content import FigureBlock, NotAvailable
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.document.section import Drawing
from passkwh.reports.figures.theme import ACCENT, BLUE, GREY, WIDTH, Sheet

MOST_PAIRED = 40


def measures(evidence: Evidence, name: str, labels: Sequence[str], references: Sequence[str]) -> Drawing | NotAvailable:
    """Energy, pass@1 and pass@kWh of configurations, one row each; references of families stand out."""
    unit = evidence.energy_unit
    axes = {
        "energy_kwh": MEASURES["energy_kwh"].axis(unit, evidence.energy_named),
        "pass_at_1": MEASURES["pass_at_1"].axis(),
        "pass_at_kwh": MEASURES["pass_at_kwh"].axis(),
    }
    rows = []
    for measure, title in axes.items():
        for label in labels:
            cell = evidence.headline(measure, label, unit.factor if measure == "energy_kwh" else 1.0)
            if cell.value is not None:
                rows.append(
                    {"configuration": label, "measure": title, **cell.ends("value", "low", "high"),
                     "role": "its family's reference" if label in references else "compared with it"}
                )  # fmt: skip
    if not rows:
        return NotAvailable(what="Measures side by side", reason="no configuration has an energy or a pass@1")
    data = pd.DataFrame(rows)
    titles = [title for title in axes.values() if title in set(data["measure"])]
    sheet = Sheet()
    panels = [
        _panel(sheet, data[data["measure"] == t], list(labels), t, i == 0, bool(references))
        for i, t in enumerate(titles)
    ]
    width = (WIDTH - 260) // len(panels)
    chart = alt.hconcat(*(p.properties(width=width, height=alt.Step(17)) for p in panels), spacing=16)
    block = FigureBlock(
        name=name, title="Energy, accuracy and accuracy per energy",
        caption=f"Points with {evidence.settings.level:.0%} intervals over tasks.{evidence.energy_is}",
    )  # fmt: skip
    return sheet.drawing(chart, data, block)


def _panel(sheet: Sheet, data: pd.DataFrame, labels: list[str], title: str, first: bool, roles: bool) -> alt.LayerChart:
    axis = alt.Axis(grid=True, ticks=False, labels=first, labelLimit=220, labelPadding=8)
    scale = alt.Scale(zero=False, nice=True, padding=6)
    roles_scale = alt.Scale(domain=["its family's reference", "compared with it"], range=[GREY, BLUE])
    legend = alt.Legend(orient="top", title=None) if first and roles else None
    colour = alt.Color("role:N", scale=roles_scale, legend=legend) if roles else alt.value(BLUE)
    base = alt.Chart(sheet.rows(data)).encode(
        y=alt.Y("configuration:N", sort=labels, scale=alt.Scale(domain=labels), title=None, axis=axis), color=colour
    )
    rule = base.mark_rule(strokeWidth=1.8).encode(
        x=alt.X("low:Q", title=title.split(" — "), scale=scale, axis=alt.Axis(tickCount=4)), x2="high:Q"
    )
    return alt.layer(rule, base.mark_point(filled=True, size=46, opacity=1).encode(x="value:Q"))


def pair_matrix(evidence: Evidence) -> Drawing | NotAvailable:
    """Ratio of geometric means of energy of every pair, with a dot where the two are not told apart."""
    what = "Energy of every configuration over that of every other"
    labels, pairs = list(evidence.labels), evidence.analysis.pairs
    known = [p for p in pairs if p.energy_ratio.estimate is not None]
    if not known or len(labels) > MOST_PAIRED:
        reason = "no pair has energies" if not known else f"more than {MOST_PAIRED} configurations: see the table"
        return NotAvailable(what=what, reason=reason)
    alpha = 1 - evidence.settings.level
    cells_of = []
    for p in known:
        ratio = p.energy_ratio.estimate or float("nan")
        alike = p.energy_p_holm is None or p.energy_p_holm >= alpha
        for a, b, value in ((p.a, p.b, ratio), (p.b, p.a, 1 / ratio)):
            cells_of.append({"a": a, "b": b, "ratio": value, "log2": float(np.log2(value)), "alike": alike})
    data = pd.DataFrame(cells_of)
    size = max(16, min(34, (WIDTH - 220) // len(labels)))
    most = float(data["log2"].abs().max()) or 1.0
    sheet = Sheet()
    base = alt.Chart(sheet.rows(data)).encode(
        x=alt.X("b:N", sort=labels, title="compared with",
                axis=alt.Axis(orient="top", labelAngle=-55, ticks=False, domain=False, labelLimit=220)),
        y=alt.Y("a:N", sort=labels, title=None, axis=alt.Axis(ticks=False, domain=False, labelLimit=220)),
    )  # fmt: skip
    cells = base.mark_rect().encode(
        color=alt.Color("log2:Q", title=f"{evidence.energy_named} ×", scale=alt.Scale(
                            domain=[-most, 0, most], range=[BLUE, "#f1f2f3", ACCENT], interpolate="rgb"),
                        legend=alt.Legend(orient="bottom", gradientLength=260,
                                          labelExpr="format(pow(2, datum.value), '.2~f')",
                                          titleAlign="left"))
    )  # fmt: skip
    dots = base.transform_filter("datum.alike").mark_point(filled=True, color="#1f2934", size=18, opacity=1)
    chart = alt.layer(cells, dots).properties(width=size * len(labels), height=max(14, size * 0.7) * len(labels))
    block = FigureBlock(
        name="pairs_matrix", title=what,
        caption="Row over column, ratio of geometric means over tasks: blue, the row uses less; red, more. A dot: not "
        "told apart (log ratio of totals with every source of error, Holm over all pairs)." + evidence.energy_is,
    )  # fmt: skip
    return sheet.drawing(chart, data[["a", "b", "ratio", "alike"]].rename(columns={"alike": "not_told_apart"}), block)
