"""Energy against accuracy with the efficient frontier (figure 4.12 of the thesis)."""

from __future__ import annotations

import altair as alt
import pandas as pd

from passkwh.reports.document.content import FigureBlock, Missing
from passkwh.reports.document.draft import Drawing, EnergyUnit
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.document.text import scaled
from passkwh.reports.figures.plane import plane
from passkwh.reports.figures.theme import ACCENT, BLUE, Sheet

WHAT = "Energy against accuracy with the efficient frontier"


def tradeoff(evidence: Evidence, unit: EnergyUnit) -> Drawing | Missing:
    """One point a configuration, with intervals both ways, its name, and the frontier."""
    data = _data(evidence, unit)
    if data.empty:
        reason = "no configuration has both an energy and a pass@1"
        return Missing(what=WHAT, reason=reason, after="thesis, figure 4.12")
    sheet = Sheet()
    colour = alt.Color(
        "place:N", title=None, legend=alt.Legend(orient="top"),
        scale=alt.Scale(domain=["on the efficient frontier", "beaten by another"], range=[ACCENT, BLUE]),
    )  # fmt: skip
    titles = (f"{evidence.energy_named} of one run, {unit.name} — lower is better", "pass@1 — higher is better")
    found = plane(data, "pass_at_1", titles, colour, source=sheet.rows)
    caption = "Top left is better. Bars are intervals; dashed: no configuration is both thriftier and more accurate."
    caption += found.about + evidence.energy_is
    block = FigureBlock(name="tradeoff", title=WHAT, caption=caption, after="thesis, figure 4.12")
    return Drawing(block, sheet.specification(found.chart), data.drop(columns=["on"]))


def _data(evidence: Evidence, unit: EnergyUnit) -> pd.DataFrame:
    found = []
    points = evidence.analysis.tradeoff.points if evidence.analysis.tradeoff else ()
    for point in points:
        energy = scaled(evidence.interval("energy_kwh", point.label), unit.per_kwh)
        accuracy = scaled(evidence.interval("pass_at_1", point.label))
        if energy.value is not None and accuracy.value is not None:
            found.append(
                {
                    "configuration": point.label, "energy": energy.value,
                    "energy_low": energy.value if energy.low is None else energy.low,
                    "energy_high": energy.value if energy.high is None else energy.high,
                    "pass_at_1": accuracy.value,
                    "pass_at_1_low": accuracy.value if accuracy.low is None else accuracy.low,
                    "pass_at_1_high": accuracy.value if accuracy.high is None else accuracy.high,
                    "place": "on the efficient frontier" if point.on_frontier else "beaten by another",
                    "probability_on_frontier": point.probability, "on": point.on_frontier,
                }
            )  # fmt: skip
    return pd.DataFrame(found)
