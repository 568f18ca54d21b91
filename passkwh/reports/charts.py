"""Charts, each defined once (Altair): interactive in the page, and as SVG where scripts do not run."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from passkwh.analysis.pareto import frontier
from passkwh.measures import kinds
from passkwh.reports.figures.plane import Plane, plane
from passkwh.reports.figures.theme import ACCENT, BLUE
from passkwh.reports.runs import RunView
from passkwh.units import joules_to_kwh

STAGE_COLOURS = {
    "idle_before": "#9aa5b1",
    "warmup": "#e0b84c",
    "generate": "#3f7fbf",
    "score": "#5aa469",
    "idle_after": "#9aa5b1",
}


def energy_accuracy(runs: Sequence[RunView]) -> Plane | None:
    """pass@1 against gross energy with the Pareto frontier (less energy, more accuracy); None with nothing to draw."""
    shown = [r for r in runs if r.summary.gross_energy_j is not None and "1" in r.summary.pass_at_k]
    if not shown:
        return None
    points = [(r.summary.gross_energy_j or 0.0, r.summary.pass_at_k["1"]) for r in shown]
    efficient = frontier(points, ["min", "max"])
    data = pd.DataFrame(
        {
            "configuration": [r.label for r in shown],
            **_with_interval(shown, "energy_kwh", "energy", [joules_to_kwh(energy_j) for energy_j, _ in points], 1000),
            **_with_interval(shown, "pass_at_1", "pass_at_1", [accuracy for _, accuracy in points]),
            "pass_at_kwh": [r.summary.pass_at_kwh for r in shown],
            "provenance": [r.summary.provenance for r in shown],
            "place": ["on the frontier" if on else "beaten by another" for on in efficient],
            "on": efficient,
        }
    )
    return plane(
        data,
        "pass_at_1",
        (f"{kinds(data['provenance'])} energy of the run, gross (Wh) — lower is better", "pass@1 — higher is better"),
        alt.Color(
            "place:N",
            title="Pareto frontier",
            legend=alt.Legend(orient="top"),
            scale=alt.Scale(domain=["on the frontier", "beaten by another"], range=[ACCENT, BLUE]),
        ),
        tooltip=[
            "configuration",
            alt.Tooltip("energy:Q", title="energy (Wh)", format=".4g"),
            alt.Tooltip("pass_at_1:Q", title="pass@1", format=".3f"),
            alt.Tooltip("pass_at_kwh:Q", title="pass@kWh", format=".4g"),
            "provenance",
        ],
    )


def _with_interval(
    runs: Sequence[RunView], measure: str, name: str, values: Sequence[float], scale: float = 1.0
) -> dict[str, list[float]]:
    """Columns of a figure and of the ends of its interval; these are the figure itself where it has none."""
    ends = [
        (
            value if found is None or found.low is None else found.low,
            value if found is None or found.high is None else found.high,
        )
        for value, found in zip(values, (run.intervals.get(measure) for run in runs), strict=True)
    ]
    return {
        name: [value * scale for value in values],
        f"{name}_low": [low * scale for low, _ in ends],
        f"{name}_high": [high * scale for _, high in ends],
    }


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
            y=alt.Y("power_w:Q", title=["power (W)", run.summary.provenance]),
            strokeDash=alt.StrokeDash("channel:N", title="channel"),
        )
    )
    return alt.layer(bands, lines).properties(width=780, height=200)
