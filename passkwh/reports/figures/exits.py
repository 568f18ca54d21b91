"""Early exit's figures: GREEN-CODE's figures 1 and 7-11, and quality against energy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile

import altair as alt
import pandas as pd

from passkwh.analysis.exits import ExitStudy, ExitSummary
from passkwh.analysis.pareto import frontier
from passkwh.reports.document.content import FigureBlock, NotAvailable
from passkwh.reports.document.section import Drawing
from passkwh.reports.figures.plane import plane
from passkwh.reports.figures.theme import ACCENT, BLUE, CATEGORIES, SOFT, WIDTH, Sheet

_RESOURCES = {
    "generation_net_j": "{provenance} net energy of generating (J) — lower is better",
    "generation_gross_j": "{provenance} gross energy of generating (J) — lower is better",
    "s_per_sample": "time a sample (s) — lower is better",
    "tokens_per_s": "tokens/s — higher is better",
    "mean_exit_layer": "mean exit layer",
}


def by_fixed_exit(study: ExitStudy) -> Drawing | NotAvailable:
    """Quality and resources over the layer that every token leaves at."""
    what, after = "Quality, energy and latency by fixed exit layer", "GREEN-CODE, figure 1"
    fixed = study.fixed()
    if len({c.argument for c in fixed}) < 2:
        return NotAvailable(
            what=what, after=after, reason="it needs runs with two or more fixed exits (--exit fixed:LAYER)"
        )
    return _curves("exits_fixed", what, after, fixed, study, "layer that tokens leave at")


def by_threshold(study: ExitStudy) -> Drawing | NotAvailable:
    """Quality and resources over a rule's threshold."""
    what, after = "Quality and resources by threshold", "GREEN-CODE, figures 8-11"
    swept = [c for some in study.sweeps().values() for c in some if c.argument is not None and not c.hindsight]
    if not swept:
        return NotAvailable(
            what=what, after=after, reason="it needs runs of a rule with a threshold (--exit agent:0.9)"
        )
    return _curves("exits_thresholds", what, after, swept, study, "threshold: how sure the rule must be to leave")


def where_tokens_leave(study: ExitStudy) -> Drawing | NotAvailable:
    """Shares of tokens by the exit they left at; of the oracle, by the exit they could have left at."""
    shown = [c for c in study.configurations if c.exit_shares and c.rule != "fixed"]
    if not shown:
        reason = "it needs a run whose tokens leave by a rule, or one that tells where they could have (--exit oracle)"
        return NotAvailable(what="Where leaving would have been best", after="GREEN-CODE, figure 7", reason=reason)
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
    return sheet.drawing(chart, data, block)


def exit_plane(study: ExitStudy) -> Drawing | NotAvailable:
    """Quality against net energy of generating, a point a configuration, those that only know afterwards excepted."""
    what = "Quality against energy"
    shown = [c for c in study.configurations if c.generation_net_j is not None and not c.hindsight]
    if not study.metrics or not shown:
        return NotAvailable(what=what, reason="no configuration has both a quality and a net energy")
    metric = study.metrics[0]
    energies, qualities = [c.generation_net_j or 0.0 for c in shown], [c.quality[metric] for c in shown]
    rules = [
        "all layers" if c.rule == "none" else f"{c.rule} (lossless)" if c.lossless else c.rule_and_agent for c in shown
    ]
    engines = len({c.engine for c in shown}) > 1
    rules = [
        ", ".join([rule, *([] if c.quant == "none" else [c.quant]), *([c.engine] if engines else [])])
        for rule, c in zip(rules, shown, strict=True)
    ]
    names = _without_shared_words([c.label for c in study.configurations])
    data = pd.DataFrame(
        {
            "configuration": [names[c.label] for c in shown],
            **dict.fromkeys(("energy", "energy_low", "energy_high"), energies),
            **dict.fromkeys(("quality", "quality_low", "quality_high"), qualities),
            "rule": rules,
            "on": frontier([*zip(energies, qualities, strict=True)], ["min", "max"]),
        }
    )
    block = FigureBlock(
        name="exits_plane", title=what,
        caption="Top left is better. Means over repeats, without intervals; dashed: the frontier, the most quality "
        "that so much energy buys.",
    )  # fmt: skip
    titles = (_RESOURCES["generation_net_j"].format(provenance=study.provenance), f"{metric} — higher is better")
    return plane(data, "quality", titles, _colours("rule:N", rules), block)


def _without_shared_words(labels: Sequence[str]) -> dict[str, str]:
    """Labels without the words that all of them begin with, by the whole label."""
    words = {label: label.split(" ") for label in labels}
    shared = len(list(takewhile(lambda same: len(set(same)) == 1, zip(*words.values(), strict=False))))
    return {label: " ".join(own[shared:]).replace("exit=", "") or label for label, own in words.items()}


def _colours(field: str, values: Iterable[str]) -> alt.Color:
    """A colour for each value, in order of appearance; more than there are colours begin again."""
    names = list(dict.fromkeys(values))
    colours = [CATEGORIES[i % len(CATEGORIES)] for i in range(len(names))]
    scale = alt.Scale(domain=names, range=colours)
    return alt.Color(field, title=None, legend=alt.Legend(orient="top", columns=3), scale=scale)


def _curves(
    name: str, what: str, after: str, configurations: Sequence[ExitSummary], study: ExitStudy, x_title: str
) -> Drawing:
    """One panel a measure; a line for each model, quantization and rule; baselines as dashed lines."""
    measures = [
        *((f"quality.{m}", f"{m} — higher is better") for m in study.metrics),
        *((key, title.format(provenance=study.provenance)) for key, title in _RESOURCES.items()),
    ]
    base = {c.label: c for c in study.configurations}
    rows, baselines = [], []
    several = len({c.kv for c in configurations}) > 1
    for key, title in measures:
        for c in configurations:
            quant = "" if c.quant == "none" else c.quant
            kept = c.kv if several else ""
            series = " ".join(word for word in (c.model.rsplit("/", 1)[-1], quant, c.rule_and_agent, kept) if word)
            value = _value(c, key)
            if value is not None:
                rows.append({"measure": title, "series": series, "argument": c.argument, "value": value})
            whole = _value(base[c.baseline], key) if c.baseline in base else None
            if whole is not None and key != "mean_exit_layer":
                baselines.append({"measure": title, "series": series, "value": whole})
    data = pd.DataFrame(rows)
    lines = pd.DataFrame(baselines, columns=["measure", "series", "value"]).drop_duplicates()
    sheet = Sheet()
    colour = _colours("series:N", data["series"])
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
    return sheet.drawing(chart, pd.concat([data, lines.assign(argument=None)], ignore_index=True), block)


def _value(c: ExitSummary, key: str) -> float | None:
    if key.startswith("quality."):
        return c.quality.get(key.removeprefix("quality."))
    value = getattr(c, key)
    return None if value is None else float(value)
