"""Early exit's figures: GREEN-CODE's figures 1 and 7-11, and quality against energy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

import altair as alt
import pandas as pd

from passkwh.analysis.exits.baselines import base_of, full_depth_of
from passkwh.analysis.exits.study import ExitStudy
from passkwh.analysis.exits.summary import ExitSummary
from passkwh.analysis.pareto import frontier
from passkwh.reports.document.content import FigureBlock, NotAvailable
from passkwh.reports.document.section import Drawing
from passkwh.reports.figures.axes import padded
from passkwh.reports.figures.plane import plane
from passkwh.reports.figures.theme import ACCENT, BLUE, CATEGORIES, INK, SOFT, WIDTH, Sheet

BASE, SAME_WEIGHTS = "unmodified model, all layers", "fine-tuned weights of the rule, all layers"
PANEL = (WIDTH // 2 - 70, 130)
MARKS = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
_RESOURCES = {
    "energy": "{energy} of generating (J) — lower is better",
    "s_per_sample": "time a sample (s) — lower is better",
    "tokens_per_s": "tokens/s, all tokens / all time — higher is better",
    "tokens_per_s_mean": "tokens/s, mean of the samples' own — higher is better",
    "mean_exit_layer_decoded": "mean exit layer, first tokens excepted",
}


def energy_named(study: ExitStudy) -> str:
    """``measured gross energy``, ..."""
    return f"{study.provenance} {study.energy} energy"


def by_fixed_exit(study: ExitStudy) -> Drawing | NotAvailable:
    """Quality and resources over the layer that every token leaves at."""
    what, after = "Quality, energy and latency by fixed exit layer", "GREEN-CODE, figure 1"
    fixed = study.fixed()
    if len({c.argument for c in fixed}) < 2:
        return NotAvailable(
            what=what, after=after, reason="it needs runs with two or more fixed exits (--exit fixed:LAYER)"
        )
    layers = sorted({layer for c in fixed for layer in c.exits})
    block = FigureBlock(name="exits_fixed", title=what, after=after, caption="All exits of the layout are on the axis.")
    return _curves(block, fixed, study, "layer that tokens leave at", layers)


def by_threshold(study: ExitStudy) -> Drawing | NotAvailable:
    """Quality and resources over a rule's threshold."""
    what, after = "Quality and resources by threshold", "GREEN-CODE, figures 8-11"
    swept = [c for some in study.sweeps().values() for c in some if c.argument is not None and not c.hindsight]
    if not swept:
        return NotAvailable(
            what=what, after=after, reason="it needs runs of a rule with a threshold (--exit agent:0.9)"
        )
    block = FigureBlock(name="exits_thresholds", title=what, after=after, caption="")
    return _curves(block, swept, study, "threshold: how sure the rule must be to leave")


def where_tokens_leave(study: ExitStudy) -> Drawing | NotAvailable:
    """Shares of tokens by the exit they left at; of the oracle, by the exit they could have left at."""
    shown = [c for c in study.configurations if c.exit_shares and c.rule != "fixed"]
    if not shown:
        reason = "it needs a run whose tokens leave by a rule, or one that tells where they could have (--exit oracle)"
        return NotAvailable(what="Where leaving would have been best", after="GREEN-CODE, figure 7", reason=reason)
    layers = sorted({layer for c in shown for layer in (*c.exits, *c.exit_shares)})
    names = _without_shared_words([c.label for c in study.configurations])
    data = pd.DataFrame(
        [
            {"configuration": names[c.label], "layer": layer, "share": c.exit_shares.get(layer, 0.0),
             "kind": "could have left, by hindsight" if c.hindsight else "left"}
            for c in shown
            for layer in layers
            if layer in c.exits or layer in c.exit_shares
        ]
    )  # fmt: skip
    sheet = Sheet()
    chart = (
        alt.Chart(sheet.rows(data))
        .mark_bar()
        .encode(
            x=alt.X("layer:O", title="exit layer", axis=alt.Axis(labelAngle=0), scale=alt.Scale(domain=layers)),
            y=alt.Y("share:Q", title="share of tokens", axis=alt.Axis(format="%", tickCount=4)),
            color=alt.Color(
                "kind:N", title=None, legend=alt.Legend(orient="top"),
                scale=alt.Scale(domain=["left", "could have left, by hindsight"], range=[BLUE, ACCENT]),
            ),
            facet=alt.Facet("configuration:N", columns=2, title=None, sort=[names[c.label] for c in shown],
                            header=alt.Header(labelAnchor="start")),
        )
        .properties(width=PANEL[0], height=120)
    )  # fmt: skip
    oracle = any(c.hindsight for c in shown)
    block = FigureBlock(
        name="exits_where", title="Where tokens leave", after="GREEN-CODE, figure 7" if oracle else None,
        caption="All exits are on the axis, also those that no token left at. Without the first token of each "
        "completion, which the prompt's pass through all layers gives.",
    )  # fmt: skip
    return sheet.drawing(chart, data, block)


def exit_plane(study: ExitStudy) -> Drawing | NotAvailable:
    """Quality against energy of generating, a point a configuration, those that only know afterwards excepted."""
    what = "Quality against energy"
    shown = [c for c in study.configurations if c.energy_j(study.energy) is not None and not c.hindsight]
    if not study.metrics or not shown:
        return NotAvailable(what=what, reason=f"no configuration has both a quality and a {study.energy} energy")
    metric = study.metrics[0]
    energies, qualities = [c.energy_j(study.energy) or 0.0 for c in shown], [c.quality[metric] for c in shown]
    rules = [
        "all layers" if c.rule == "none" else f"{c.rule} (lossless)" if c.lossless else c.rule_and_agent for c in shown
    ]
    several = len({c.engine for c in shown}) > 1
    weights = [
        ", ".join(["unquantized" if c.quant == "none" else c.quant, *([c.engine] if several else [])]) for c in shown
    ]
    names = _without_shared_words([c.label for c in study.configurations])
    data = pd.DataFrame(
        {
            "configuration": [names[c.label] for c in shown],
            **dict.fromkeys(("energy", "energy_low", "energy_high"), energies),
            **dict.fromkeys(("quality", "quality_low", "quality_high"), qualities),
            "rule": rules,
            "weights": weights,
            "on": frontier([*zip(energies, qualities, strict=True)], ["min", "max"]),
        }
    )
    block = FigureBlock(
        name="exits_plane", title=what,
        caption="Top left is better. Means over repeats; the intervals are those of what is saved and lost. Dashed: "
        "the frontier, the most quality that so much energy buys.",
    )  # fmt: skip
    titles = (_RESOURCES["energy"].format(energy=energy_named(study)), f"{metric} — higher is better")
    return plane(data, "quality", titles, _colours("rule:N", rules), block, _shapes("weights:N", weights))


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


def _shapes(field: str, values: Iterable[str]) -> alt.Shape | None:
    """A shape for each value, unquantized weights first; None where there is one value."""
    names = sorted(set(values), key=lambda value: (not value.startswith("unquantized"), value))
    shapes = [MARKS[i % len(MARKS)] for i in range(len(names))]
    legend = alt.Legend(orient="top", columns=3, symbolFillColor=INK)
    scale = alt.Scale(domain=names, range=shapes)
    return alt.Shape(field, title=None, legend=legend, scale=scale) if len(names) > 1 else None


# ---------------------------------------------------------------- curves with baselines


@dataclass(frozen=True)
class _Baseline:
    """A line to compare curves with."""

    name: str
    series: str
    """The curves it belongs to."""
    configuration: ExitSummary


def _curves(
    block: FigureBlock,
    configurations: Sequence[ExitSummary],
    study: ExitStudy,
    x_title: str,
    ticks: Sequence[int] | None = None,
) -> Drawing:
    """One panel a measure; a line for each model, quantization and rule; both baselines, each in a style of its own."""
    titles = {
        **{f"quality.{m}": f"{m} — higher is better" for m in study.metrics},
        **{key: title.format(energy=energy_named(study)) for key, title in _RESOURCES.items()},
    }
    several = len({c.kv for c in configurations}) > 1
    baselines = list(_baselines(configurations, study, several))
    rows, lines = [], []
    for key, title in titles.items():
        for c in configurations:
            if (value := _value(c, key, study)) is not None:
                rows.append({"measure": title, "series": _series(c, several), "argument": c.argument, "value": value})
        for line in baselines if key != "mean_exit_layer_decoded" else ():
            if (value := _value(line.configuration, key, study)) is not None:
                lines.append({"measure": title, "series": line.series, "baseline": line.name, "value": value})
    data = pd.DataFrame(rows)
    flat = pd.DataFrame(lines, columns=["measure", "series", "baseline", "value"]).drop_duplicates()
    sheet = Sheet()
    panels = [
        _panel(sheet, title, data[data["measure"] == title], flat[flat["measure"] == title], x_title, ticks,
               _colours("series:N", data["series"]))
        for title in dict.fromkeys(data["measure"])
    ]  # fmt: skip
    chart = alt.concat(*panels, columns=2, spacing={"row": 14, "column": 24})
    missing = [name for name in (BASE, SAME_WEIGHTS) if name not in set(flat["baseline"])]
    caption = f"{block.caption} Lines across are the baselines, each with all layers."
    caption += f" Not among these runs: {' and '.join(missing)}." if missing else ""
    block = block.model_copy(update={"caption": f"{caption} Means over repeats, without intervals.".strip()})
    return sheet.drawing(chart, pd.concat([data, flat.assign(argument=None)], ignore_index=True), block)


def _baselines(configurations: Sequence[ExitSummary], study: ExitStudy, several: bool) -> Iterator[_Baseline]:
    for c in configurations:
        base, full = base_of(c, study.configurations), full_depth_of(c, study.configurations)
        if base is not None:
            yield _Baseline(BASE, _series(c, several), base)
        if full is not None and (base is None or (full.weights, full.quant) != (base.weights, base.quant)):
            yield _Baseline(SAME_WEIGHTS, _series(c, several), full)


def _series(c: ExitSummary, several_kv: bool) -> str:
    quant = "" if c.quant == "none" else c.quant
    kv = c.kv if several_kv else ""
    return " ".join(word for word in (c.model.rsplit("/", 1)[-1], quant, c.rule_and_agent, kv) if word)


def _panel(
    sheet: Sheet,
    title: str,
    data: pd.DataFrame,
    lines: pd.DataFrame,
    x_title: str,
    ticks: Sequence[int] | None,
    colour: alt.Color,
) -> alt.LayerChart:
    ends = padded([*ticks] if ticks else data["argument"])
    axis = alt.Axis(values=list(ticks), format="d", grid=False) if ticks else alt.Axis(tickCount=6)
    y = alt.Y(
        "value:Q", title=None, axis=alt.Axis(tickCount=4),
        scale=alt.Scale(domain=padded([*data["value"], *lines["value"]]), zero=False, nice=False),
    )  # fmt: skip
    points = alt.Chart(sheet.rows(data)).encode(
        x=alt.X("argument:Q", title=x_title, axis=axis, scale=alt.Scale(domain=ends, zero=False, nice=False)),
        y=y,
        color=colour,
    )
    dash = alt.StrokeDash(
        "baseline:N", title=None, scale=alt.Scale(domain=[BASE, SAME_WEIGHTS], range=[[9, 4], [2, 3]]),
        legend=alt.Legend(orient="top", columns=2, symbolType="stroke", symbolSize=400, symbolStrokeColor=INK),
    )  # fmt: skip
    across = alt.Chart(sheet.rows(lines)).mark_rule(strokeWidth=1.4).encode(y=y, color=colour, strokeDash=dash)
    layers = [points.mark_line(strokeWidth=1.4), points.mark_point(filled=True, size=42, opacity=1)]
    return alt.layer(*([across] if len(lines) else []), *layers).properties(
        width=PANEL[0], height=PANEL[1], title=alt.Title(title, anchor="start", fontSize=12, color=SOFT)
    )


def _value(c: ExitSummary, key: str, study: ExitStudy) -> float | None:
    if key.startswith("quality."):
        return c.quality.get(key.removeprefix("quality."))
    value = c.energy_j(study.energy) if key == "energy" else getattr(c, key)
    return None if value is None else float(value)
