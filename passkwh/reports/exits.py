"""Charts of `bench exits`: those of the report (GREEN-CODE's figures 1 and 7-11), and quality against energy."""

from __future__ import annotations

import json
from itertools import takewhile
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import vl_convert

from passkwh.analysis.exits import ExitStudy
from passkwh.analysis.pareto import frontier
from passkwh.reports.document.draft import Drawing
from passkwh.reports.figures.exits import by_fixed_exit, by_threshold, where_tokens_leave
from passkwh.reports.figures.plane import plane
from passkwh.reports.figures.render import PNG_SCALE


def write(study: ExitStudy, folder: Path) -> list[Path]:
    """Write every chart as SVG, PNG and HTML; returns the files. One is left out where these runs lack its data."""
    folder.mkdir(parents=True, exist_ok=True)
    version = ".".join(alt.SCHEMA_VERSION.split(".")[:2])
    written: list[Path] = []
    for name, specification in _charts(study).items():
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


def _charts(study: ExitStudy) -> dict[str, dict[str, Any]]:
    """Vega-Lite specifications by the name of their files."""
    drawn = {"fixed": by_fixed_exit(study), "exits": where_tokens_leave(study), "thresholds": by_threshold(study)}
    found = {name: drawing.specification for name, drawing in drawn.items() if isinstance(drawing, Drawing)}
    if study.metrics and any(c.generation_net_j is not None for c in study.configurations):
        found["plane"] = json.loads(_plane(study, study.metrics[0]).to_json())
    return found


def _names(study: ExitStudy) -> dict[str, str]:
    """By label, what the plane calls a configuration: without the words that all of them begin with."""
    words = {c.label: c.label.split(" ") for c in study.configurations}
    shared = len(list(takewhile(lambda same: len(set(same)) == 1, zip(*words.values(), strict=False))))
    return {label: " ".join(own[shared:]).replace("exit=", "") or label for label, own in words.items()}


def _plane(study: ExitStudy, metric: str) -> alt.LayerChart:
    """Quality against energy, every configuration a point; those that only know afterwards are left out."""
    names = _names(study)
    shown = [c for c in study.configurations if c.generation_net_j is not None and not c.hindsight]
    energies, qualities = [c.generation_net_j or 0.0 for c in shown], [c.quality[metric] for c in shown]
    data = pd.DataFrame(
        {
            "configuration": [names[c.label] for c in shown],
            **dict.fromkeys(("energy", "energy_low", "energy_high"), energies),
            **dict.fromkeys(("quality", "quality_low", "quality_high"), qualities),
            "rule": [c.asked if c.quant == "none" else f"{c.asked}, {c.quant}" for c in shown],
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
