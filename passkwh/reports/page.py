"""The report as one self-contained HTML file: no network, readable without scripts, light and dark, printable."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import resources
from typing import Any

import altair as alt
import jinja2
import vl_convert

from passkwh import __version__
from passkwh.analysis.pareto import frontier
from passkwh.measures import number
from passkwh.reports import charts
from passkwh.reports.runs import RunView


def render(groups: Mapping[str, Sequence[RunView]]) -> str:
    """HTML of a report over groups of runs by title (at least one, with at least one run): runs are compared within
    their group only. Text from runs is escaped and can never run in the page.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = resources.files("passkwh.reports").joinpath("templates/report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        groups=[_group(title, runs) for title, runs in groups.items()],
        runs=[run for runs in groups.values() for run in runs],
        vega=vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=_vega_lite()),
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=__version__,
        num=number,
    )


def _group(title: str, runs: Sequence[RunView]) -> dict[str, Any]:
    scatter = charts.energy_accuracy(runs)
    return {
        "title": title,
        "runs": runs,
        "efficient": _efficient(runs),
        "best": _best(runs),
        "metrics": sorted({name for run in runs for name in run.summary.metrics}),
        "scatter": None if scatter is None else {**_chart(scatter.chart), "about": scatter.about},
        "timelines": [(run, _chart(chart)) for run in runs if (chart := charts.power_timeline(run)) is not None],
    }


def _efficient(runs: Sequence[RunView]) -> dict[str, bool]:
    points = {
        run.label: (run.summary.gross_energy_j, run.summary.pass_at_k["1"])
        for run in runs
        if run.summary.gross_energy_j is not None and "1" in run.summary.pass_at_k
    }
    return dict(zip(points, frontier(list(points.values()), ["min", "max"]), strict=True)) if points else {}


def _best(runs: Sequence[RunView]) -> RunView | None:
    rated = [run for run in runs if run.summary.solved_per_kwh]  # nobody is best who solves nothing
    return max(rated, key=lambda run: run.summary.solved_per_kwh or 0.0) if len(rated) > 1 else None


def _chart(chart: alt.LayerChart) -> dict[str, Any]:
    """A chart as an SVG to begin with and a specification that a script replaces it by."""
    specification = json.loads(chart.to_json())
    svg = vl_convert.vegalite_to_svg(specification, vl_version=_vega_lite())
    # "<" never stands literally inside the script, so no text of a run can end it.
    return {"svg": svg, "spec": json.dumps(specification).replace("<", "\\u003c")}


def _vega_lite() -> str:
    return ".".join(alt.SCHEMA_VERSION.split(".")[:2])
