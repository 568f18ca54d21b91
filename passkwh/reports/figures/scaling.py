"""Requirements of a model along one axis (figures 4.1-4.5 of the thesis)."""

from __future__ import annotations

import altair as alt
import pandas as pd

from passkwh.analysis.estimate.scaling import FIGURES, Scaling
from passkwh.reports.document.content import FigureBlock
from passkwh.reports.document.section import Drawing
from passkwh.reports.figures.theme import ACCENT, BLUE, WIDTH, Sheet

AXES = {
    "layers": "layers", "hidden": "width of the model", "heads": "attention heads", "batch": "rows of a batch",
    "precision": "bits a weight", "tokens": "generated tokens",
}  # fmt: skip
PANELS = {
    "parameters": ("parameters, billions", 1e9), "kv_cache_bytes": ("KV cache, GB", 1e9), "vram_bytes": ("VRAM, GB",
    1e9),
}  # fmt: skip


def scaling_figure(scaling: Scaling) -> Drawing:
    """Parameters, KV cache, VRAM and the parts of the generation time, a panel each."""
    data = pd.DataFrame([point.model_dump() for point in scaling.points])
    sheet = Sheet()
    x = alt.X("value:Q", title=AXES[scaling.varied], scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5))
    charts = []
    for name, (title, unit) in PANELS.items():
        own = data[["value"]].assign(shown=data[name] / unit)
        base = alt.Chart(sheet.rows(own)).encode(x=x, y=alt.Y("shown:Q", title=title, axis=alt.Axis(tickCount=4)))
        charts.append(alt.layer(base.mark_line(color=BLUE), base.mark_point(color=BLUE, filled=True, size=40)))
    parts = data.melt("value", ["ttft_s", "decoding_s"], "part", "seconds")
    parts["part"] = parts["part"].map({"ttft_s": "to the first token", "decoding_s": "every token after it"})
    order = ["to the first token", "every token after it"]
    share = scaling.varied == "tokens"  # figures 4.1 and 4.2: what the time of so many tokens is made of
    charts.append(
        alt.layer(
            alt.Chart(sheet.rows(parts))
            .mark_bar()
            .encode(
                x=alt.X("value:O", title=AXES[scaling.varied], axis=alt.Axis(labelAngle=0)),
                y=alt.Y(
                    "seconds:Q",
                    title="share of generation time" if share else "generation time, s",
                    stack="normalize" if share else "zero",
                    axis=alt.Axis(tickCount=4, format="%" if share else ""),
                ),
                color=alt.Color(
                    "part:N",
                    title=None,
                    sort=order,
                    legend=alt.Legend(orient="top"),
                    scale=alt.Scale(domain=order, range=[ACCENT, BLUE]),
                ),
            )
        )
    )
    width = WIDTH // 2 - 90
    chart = alt.concat(*(c.properties(width=width, height=170) for c in charts), columns=2, spacing=18)
    block = FigureBlock(
        name=f"scaling_{scaling.varied}", after=FIGURES[scaling.varied],
        title=f"{scaling.model} on {scaling.device}: requirements by {AXES[scaling.varied]}",
        caption="Estimated from the architecture, not measured.",
    )  # fmt: skip
    return sheet.drawing(chart, data, block)
