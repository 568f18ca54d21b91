"""Charts of the exits analysis, each defined once: GREEN-CODE's figure 1, its exit histograms, figures 8 to 11."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import vl_convert

from passkwh.analysis.exits import ExitStudy, Leaving
from passkwh.analysis.pareto import frontier
from passkwh.reports.thesis.figures.plane import plane

PNG_SCALE = 2.0
_PANELS = {
    "generation_net_j": "net energy of generating (J, {provenance})",
    "generation_gross_j": "gross energy of generating (J, {provenance})",
    "s_per_sample": "time a completion (s)",
    "tokens_per_s": "tokens a second",
    "mean_exit_layer": "mean exit layer",
}


def charts(study: ExitStudy) -> dict[str, Any]:
    """Charts by name; one is left out where these runs have nothing for it."""
    found: dict[str, Any] = {}
    if len(study.fixed()) > 1:
        found["fixed"] = _curves(study, study.fixed(), "exit layer")
    if any(len(c.exit_shares) > 1 for c in study.configurations):
        found["exits"] = _histograms(study)
    swept = [c for some in study.sweeps().values() if len(some) > 1 for c in some]
    if swept:
        found["thresholds"] = _curves(study, swept, "threshold")
    if study.metrics and any(c.generation_net_j is not None for c in study.configurations):
        found["plane"] = _plane(study, study.metrics[0])
    return found


def write(study: ExitStudy, folder: Path) -> list[Path]:
    """Write every chart as SVG, PNG and HTML; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    version = ".".join(alt.SCHEMA_VERSION.split(".")[:2])
    written: list[Path] = []
    for name, chart in charts(study).items():
        specification = chart.to_json()
        svg = vl_convert.vegalite_to_svg(specification, vl_version=version)
        contents: dict[str, bytes] = {
            "svg": svg.encode(),
            "png": vl_convert.svg_to_png(svg, scale=PNG_SCALE),
            "html": vl_convert.vegalite_to_html(specification, vl_version=version, bundle=True).encode(),
        }
        for suffix, content in contents.items():
            written.append(folder / f"{name}.{suffix}")
            written[-1].write_bytes(content)
    return written


def _names(study: ExitStudy) -> dict[str, str]:
    """By label, what a chart calls a configuration: without the words that all of them begin with."""
    words = {c.label: c.label.split(" ") for c in study.configurations}
    shared = len(list(takewhile(lambda same: len(set(same)) == 1, zip(*words.values(), strict=False))))
    return {label: " ".join(own[shared:]).replace("exit=", "") or label for label, own in words.items()}


def _curves(study: ExitStudy, configurations: Sequence[Leaving], x_title: str) -> Any:
    """A panel per metric and resource over layer or threshold."""
    rows, names = [], _names(study)
    for c in configurations:
        values: dict[str, float | None] = {name: c.quality.get(name) for name in study.metrics}
        values |= {title.format(provenance=study.provenance): getattr(c, field) for field, title in _PANELS.items()}
        line = " ".join(part for part in (c.rule, "" if c.quant == "none" else c.quant, c.kv or "") if part)
        rows += [
            {"x": c.argument, "value": value, "panel": panel, "rule": line, "configuration": names[c.label]}
            for panel, value in values.items()
            if value is not None
        ]
    data = pd.DataFrame(rows)
    panels = list(dict.fromkeys(data["panel"]))
    base = alt.Chart(data).encode(
        x=alt.X("x:Q", title=x_title, scale=alt.Scale(zero=False)),
        y=alt.Y("value:Q", title=None, scale=alt.Scale(zero=False)),
        color=alt.Color("rule:N", title=None),
        tooltip=["configuration", alt.Tooltip("x:Q", title=x_title), alt.Tooltip("value:Q", format=".4g")],
    )
    lines = (base.mark_line() + base.mark_point(filled=True, size=60)).properties(width=260, height=180)
    return lines.facet(alt.Facet("panel:N", title=None, sort=panels), columns=3).resolve_scale(y="independent")


def _histograms(study: ExitStudy) -> Any:
    """Share of decoded tokens per exit, a panel per configuration; a fixed exit has only one."""
    names = _names(study)
    data = pd.DataFrame(
        [
            {"configuration": names[c.label], "exit": layer, "share": share}
            for c in study.configurations
            if len(c.exit_shares) > 1
            for layer, share in c.exit_shares.items()
        ]
    )
    bars = (
        alt.Chart(data)
        .mark_bar(color="#3f7fbf")
        .encode(
            x=alt.X("exit:O", title="exit layer"),
            y=alt.Y("share:Q", title="share of decoded tokens", axis=alt.Axis(format="%")),
            tooltip=["configuration", "exit", alt.Tooltip("share:Q", format=".1%")],
        )
        .properties(width=260, height=150)
    )
    return bars.facet(alt.Facet("configuration:N", title=None, sort=None), columns=3)


def _plane(study: ExitStudy, metric: str) -> Any:
    """Quality against energy, every configuration a point; those that only know afterwards are left out."""
    names = _names(study)
    shown = [c for c in study.configurations if c.generation_net_j is not None and not c.hindsight]
    energies, qualities = [c.generation_net_j or 0.0 for c in shown], [c.quality[metric] for c in shown]
    data = pd.DataFrame(
        {
            "configuration": [names[c.label] for c in shown],
            **dict.fromkeys(("energy", "energy_low", "energy_high"), energies),
            **dict.fromkeys(("quality", "quality_low", "quality_high"), qualities),
            "rule": [c.rule if c.quant == "none" else f"{c.rule}, {c.quant}" for c in shown],
            "on": frontier([*zip(energies, qualities, strict=True)], ["min", "max"]),
        }
    )
    energy = f"{study.provenance} net energy of generating (J)"
    return plane(
        data,
        "quality",
        (f"{energy} — lower is better", f"{metric} — higher is better"),
        alt.Color("rule:N", title=None),
        tooltip=[
            "configuration",
            alt.Tooltip("energy:Q", title=energy, format=".4g"),
            alt.Tooltip("quality:Q", title=metric, format=".4g"),
        ],
    ).chart
