"""Early exit's figures (GREEN-CODE, figures 1 and 7-11)."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from passkwh.analysis.exits import ExitStudy, Leaving
from passkwh.reports.document.content import FigureBlock, Missing
from passkwh.reports.document.draft import Drawing
from passkwh.reports.figures.theme import ACCENT, BLUE, CATEGORIES, SOFT, WIDTH, Sheet

_RESOURCES = (
    ("generation_net_j", "{provenance} net energy of generating (J) — lower is better"),
    ("generation_gross_j", "{provenance} gross energy of generating (J) — lower is better"),
    ("s_per_sample", "time a sample (s) — lower is better"),
    ("tokens_per_s", "tokens/s — higher is better"),
    ("mean_exit_layer", "mean exit layer"),
)


def by_fixed_exit(found: ExitStudy) -> Drawing | Missing:
    """Quality and resources over the layer that every token leaves at."""
    what, after = "Quality, energy and latency by fixed exit layer", "GREEN-CODE, figure 1"
    fixed = found.fixed()
    if len({c.argument for c in fixed}) < 2:
        return Missing(what=what, after=after, reason="it takes runs with two or more fixed exits (--exit fixed:LAYER)")
    return _curves("exits_fixed", what, after, fixed, found, "layer that tokens leave at")


def by_threshold(found: ExitStudy) -> Drawing | Missing:
    """Quality and resources over a rule's threshold."""
    what, after = "Quality and resources by threshold", "GREEN-CODE, figures 8-11"
    swept = [c for some in found.sweeps().values() for c in some if c.argument is not None and not c.hindsight]
    if not swept:
        return Missing(what=what, after=after, reason="it takes runs of a rule with a threshold (--exit agent:0.9)")
    return _curves("exits_thresholds", what, after, swept, found, "threshold: how sure the rule must be to leave")


def where_tokens_leave(found: ExitStudy) -> Drawing | Missing:
    """Shares of tokens by the exit they left at; of the oracle, by the exit they could have left at."""
    shown = [c for c in found.configurations if c.exit_shares and c.rule != "fixed"]
    if not shown:
        reason = "no run tells where its tokens left by a rule of their own, or could have left (--exit oracle)"
        return Missing(what="Where leaving would have been best", after="GREEN-CODE, figure 7", reason=reason)
    data = pd.DataFrame(
        [
            {"configuration": c.label, "layer": layer, "share": share,
             "kind": "could have left, by hindsight" if c.hindsight else "left"}
            for c in shown
            for layer, share in c.exit_shares.items()
        ]
    )  # fmt: skip
    sheet = Sheet()
    chart = (
        alt.Chart(sheet.rows(data))
        .mark_bar()
        .encode(
            x=alt.X("layer:O", title="exit layer", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("share:Q", title="share of tokens", axis=alt.Axis(format="%", tickCount=4)),
            color=alt.Color(
                "kind:N", title=None, legend=alt.Legend(orient="top"),
                scale=alt.Scale(domain=["left", "could have left, by hindsight"], range=[BLUE, ACCENT]),
            ),
            facet=alt.Facet("configuration:N", columns=2, title=None, sort=[c.label for c in shown],
                            header=alt.Header(labelAnchor="start")),
        )
        .properties(width=WIDTH // 2 - 70, height=120)
    )  # fmt: skip
    oracle = any(c.hindsight for c in shown)
    block = FigureBlock(
        name="exits_where", title="Where tokens leave", after="GREEN-CODE, figure 7" if oracle else None,
        caption="Without the first token of each completion, which the prompt's pass through all layers gives.",
    )  # fmt: skip
    return Drawing(block, sheet.specification(chart), data)


def _curves(
    name: str, what: str, after: str, configurations: Sequence[Leaving], found: ExitStudy, x_title: str
) -> Drawing:
    """One panel a measure; a line for each model, quantization and rule; baselines as dashed lines."""
    measures = [
        *((f"quality.{m}", f"{m} — higher is better") for m in found.metrics),
        *((key, title.format(provenance=found.provenance)) for key, title in _RESOURCES),
    ]
    base = {c.label: c for c in found.configurations}
    rows, baselines = [], []
    several = len({c.kv for c in configurations}) > 1
    for key, title in measures:
        for c in configurations:
            quant = "" if c.quant == "none" else c.quant
            kept = c.kv if several else ""
            series = " ".join(word for word in (c.model.rsplit("/", 1)[-1], quant, c.asked, kept) if word)
            value = _value(c, key)
            if value is not None:
                rows.append({"measure": title, "series": series, "argument": c.argument, "value": value})
            whole = _value(base[c.baseline], key) if c.baseline in base else None
            if whole is not None and key != "mean_exit_layer":
                baselines.append({"measure": title, "series": series, "value": whole})
    data = pd.DataFrame(rows)
    lines = pd.DataFrame(baselines, columns=["measure", "series", "value"]).drop_duplicates()
    names = list(dict.fromkeys(data["series"]))
    sheet = Sheet()
    colour = alt.Color(
        "series:N", title=None, legend=alt.Legend(orient="top", columns=3),
        scale=alt.Scale(domain=names, range=[CATEGORIES[i % len(CATEGORIES)] for i in range(len(names))]),
    )  # fmt: skip
    panels = []
    for title in dict.fromkeys(data["measure"]):
        points = alt.Chart(sheet.rows(data[data["measure"] == title])).encode(
            x=alt.X("argument:Q", title=x_title, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=6)),
            y=alt.Y("value:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=4)),
            color=colour,
        )  # fmt: skip
        whole_line = (
            alt.Chart(sheet.rows(lines[lines["measure"] == title]))
            .mark_rule(strokeDash=[4, 4], strokeWidth=1.2)
            .encode(y="value:Q", color=colour)
        )
        panels.append(
            alt.layer(whole_line, points.mark_line(strokeWidth=1.4), points.mark_point(filled=True, size=42, opacity=1))
            .properties(width=WIDTH // 2 - 70, height=130,
                        title=alt.Title(title, anchor="start", fontSize=12, color=SOFT))
        )  # fmt: skip
    chart = alt.concat(*panels, columns=2, spacing={"row": 14, "column": 24})
    block = FigureBlock(
        name=name, title=what, after=after,
        caption="Dashed: the same with every token through all layers. Means over repeats, without intervals.",
    )  # fmt: skip
    return Drawing(block, sheet.specification(chart), pd.concat([data, lines.assign(argument=None)], ignore_index=True))


def _value(c: Leaving, key: str) -> float | None:
    if key.startswith("quality."):
        return c.quality.get(key.removeprefix("quality."))
    value = getattr(c, key)
    return None if value is None else float(value)
