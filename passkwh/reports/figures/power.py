"""Power over time (figure 3.1 of the thesis)."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt
import pandas as pd

from passkwh.analysis.power import PowerTimeline
from passkwh.reports.document.content import FigureBlock, NotAvailable
from passkwh.reports.document.section import Drawing
from passkwh.reports.figures.theme import AMBER, BLUE, CATEGORIES, GREEN, GREY, WIDTH, Sheet

STAGES = {"idle": GREY, "warm-up": AMBER, "generating": BLUE, "scoring": GREEN}
_NAMES = {
    "idle_before": "idle",
    "idle_after": "idle",
    "warmup": "warm-up",
    "generate": "generating",
    "score": "scoring",
}
WHAT, AFTER = "Power over time", "thesis, figure 3.1"


def power_over_time(
    timelines: Mapping[str, PowerTimeline], provenance: str, each: str, idle_w: Mapping[str, Mapping[str, float]]
) -> Drawing | NotAvailable:
    """Power of every channel, a panel a label, with what the run was doing behind it.

    ``provenance`` is that of the power; ``each`` says whose timelines these are, for the caption; ``idle_w`` is the
    idle power of each label's channels, which net energy is net of.
    """
    shown = {label: timeline for label, timeline in timelines.items() if timeline.points}
    if not shown:
        reason = next((t.reason for t in timelines.values() if t.reason), None)
        return NotAvailable(what=WHAT, reason=reason or "no run has a trace", after=AFTER)
    power = pd.DataFrame(
        [{"configuration": label, **point.model_dump()} for label, t in shown.items() for point in t.points]
    )
    stages = pd.DataFrame(
        [{"configuration": label, "start_s": s.start_s, "end_s": s.end_s, "stage": _NAMES[s.kind]}
         for label, t in shown.items() for s in t.stages]
    )  # fmt: skip
    longest_s = float(stages["end_s"].max())
    unit, seconds = ("h", 3600.0) if longest_s > 3 * 3600 else ("min", 60.0) if longest_s > 600 else ("s", 1.0)
    power["time"] = power["time_s"] / seconds
    stages["start"], stages["end"] = stages["start_s"] / seconds, stages["end_s"] / seconds
    few = len(shown) <= 3
    width, height = (WIDTH - 100, 130) if few else (WIDTH // 2 - 55, 64)
    top_w = max(float(power["power_w"].max()) * 1.08, 1.0)
    channels = sorted(power["channel"].unique())
    columns = 1 if few else 2
    charts = []
    sheet = Sheet()
    for place, label in enumerate(shown):
        own, doing = power[power["configuration"] == label], stages[stages["configuration"] == label]
        lowest = place >= len(shown) - columns
        titles = (f"time ({unit})" if lowest else None, ["power (W)", provenance])
        idle = pd.DataFrame([{"channel": c, "idle_w": w} for c, w in idle_w.get(label, {}).items() if c in channels])
        panel = _panel(sheet, own, doing, channels, titles, top_w, idle)
        title = alt.Title(label, anchor="start", fontSize=12, offset=4, limit=width)
        charts.append(panel.properties(width=width, height=height, title=title))
    chart = alt.concat(*charts, columns=columns, spacing={"row": 10, "column": 18})
    step_s = max(t.step_s or 0.0 for t in shown.values())
    block = FigureBlock(
        name="power", title=WHAT, after=AFTER,
        caption=f"{each}; power is {provenance}. Thinned for the picture to means over up to {step_s:.3g} s; energies "
        "are computed from the whole trace. Power has one scale. Dashed: idle power before the work, which net "
        "energy is "
        "net of.",
    )  # fmt: skip
    return sheet.drawing(chart, power[["configuration", "channel", "time_s", "power_w"]], block)


def _panel(
    sheet: Sheet,
    power: pd.DataFrame,
    stages: pd.DataFrame,
    channels: list[str],
    titles: tuple[str | None, list[str]],
    top_w: float,
    idle: pd.DataFrame,
) -> alt.LayerChart:
    colours = [CATEGORIES[(i + 1) % len(CATEGORIES)] for i in range(len(channels))]
    bands = alt.Chart(sheet.rows(stages)).mark_rect(opacity=0.16).encode(
        x=alt.X("start:Q", title=titles[0], scale=alt.Scale(nice=False), axis=alt.Axis(grid=False, tickCount=6)),
        x2="end:Q",
        fill=alt.Fill("stage:N", title="stage", legend=alt.Legend(orient="top", symbolOpacity=0.5, symbolStrokeWidth=0),
                      scale=alt.Scale(domain=list(STAGES), range=list(STAGES.values()))),
    )  # fmt: skip
    lines = alt.Chart(sheet.rows(power)).mark_line(strokeWidth=1.1, interpolate="step").encode(
        x="time:Q",
        y=alt.Y("power_w:Q", title=titles[1], scale=alt.Scale(domain=[0, top_w]), axis=alt.Axis(tickCount=3)),
        color=alt.Color("channel:N", title="channel", legend=alt.Legend(orient="top", labelLimit=220),
                        scale=alt.Scale(domain=channels, range=colours)),
    )  # fmt: skip
    if idle.empty:
        return alt.layer(bands, lines)
    level = alt.Chart(sheet.rows(idle)).mark_rule(strokeDash=[5, 4], strokeWidth=1.3).encode(
        y="idle_w:Q", color="channel:N"
    )  # fmt: skip
    return alt.layer(bands, lines, level)
