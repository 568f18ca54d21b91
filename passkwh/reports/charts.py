"""Charts, each defined once (Altair): interactive in the page, and as SVG where scripts do not run."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from passkwh.analysis.pareto import frontier
from passkwh.reports.runs import RunView
from passkwh.units import joules_to_kwh

STAGE_COLOURS = {
    "idle_before": "#9aa5b1",
    "warmup": "#e0b84c",
    "generate": "#3f7fbf",
    "score": "#5aa469",
    "idle_after": "#9aa5b1",
}


def energy_accuracy(runs: Sequence[RunView]) -> alt.LayerChart | None:
    """pass@1 against gross energy with the Pareto frontier (less energy, more accuracy); None with nothing to draw."""
    shown = [r for r in runs if r.summary.gross_energy_j is not None and "1" in r.summary.pass_at_k]
    if not shown:
        return None
    points = [(r.summary.gross_energy_j or 0.0, r.summary.pass_at_k["1"]) for r in shown]
    efficient = frontier(points, ["min", "max"])
    data = pd.DataFrame(
        {
            "configuration": [r.label for r in shown],
            "energy_wh": [joules_to_kwh(energy_j) * 1000 for energy_j, _ in points],
            "pass_at_1": [accuracy for _, accuracy in points],
            "pass_at_kwh": [r.summary.pass_at_kwh for r in shown],
            "provenance": [r.summary.provenance for r in shown],
            "place": ["on the frontier" if on else "dominated" for on in efficient],
        }
    )
    x = alt.X(
        "energy_wh:Q",
        title="energy of the run, gross (Wh) — lower is better",
        scale=alt.Scale(zero=False, padding=40),
        axis=alt.Axis(tickCount=8, labelOverlap=True),
    )
    y = alt.Y(
        "pass_at_1:Q",
        title="pass@1 — higher is better",
        scale=alt.Scale(zero=False, padding=30),
        axis=alt.Axis(format="~g"),
    )
    line = (
        alt.Chart(data[data["place"] == "on the frontier"])
        .mark_line(strokeDash=[6, 4], color="#b5482f")
        .encode(x=x, y=y, order="energy_wh:Q")
    )
    dots = (
        alt.Chart(data)
        .mark_point(size=140, filled=True, opacity=1)
        .encode(
            x=x,
            y=y,
            color=alt.Color(
                "place:N",
                title="Pareto frontier",
                scale=alt.Scale(domain=["on the frontier", "dominated"], range=["#b5482f", "#6b7785"]),
            ),
            tooltip=[
                "configuration",
                alt.Tooltip("energy_wh:Q", title="energy (Wh)", format=".4g"),
                alt.Tooltip("pass_at_1:Q", title="pass@1", format=".3f"),
                alt.Tooltip("pass_at_kwh:Q", title="pass@kWh", format=".4g"),
                "provenance",
            ],
        )
    )
    names = alt.Chart(data).mark_text(dy=-14, fontSize=12).encode(x=x, y=y, text="configuration:N")
    return alt.layer(line, dots, names).properties(width=780, height=360)


def power_timeline(run: RunView) -> alt.LayerChart | None:
    """Power of each channel over the run's own time, with its stages behind; None without readings."""
    if not run.power.points:
        return None
    power = pd.DataFrame([point.model_dump() for point in run.power.points])
    stages = pd.DataFrame([stage.model_dump() for stage in run.power.stages])
    bands = (
        alt.Chart(stages)
        .mark_rect(opacity=0.25)
        .encode(
            x=alt.X("start_s:Q", title="time since the first idle window (s)"),
            x2="end_s:Q",
            color=alt.Color(
                "kind:N",
                title="stage",
                scale=alt.Scale(domain=list(STAGE_COLOURS), range=list(STAGE_COLOURS.values())),
            ),
        )
    )
    lines = (
        alt.Chart(power)
        .mark_line(color="#1f2933", strokeWidth=1.2)
        .encode(
            x="time_s:Q",
            y=alt.Y("power_w:Q", title="power (W)"),
            strokeDash=alt.StrokeDash("channel:N", title="channel"),
        )
    )
    return alt.layer(bands, lines).properties(width=780, height=200)
