"""One look for all figures. Colours that the page may replace by its own (light and dark) stand here once."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from passkwh.reports.document.content import FigureBlock
from passkwh.reports.document.section import Drawing

PAPER, INK, SOFT, LINE = "#fffffe", "#1f2933", "#5f6c7a", "#d9dee4"
ACCENT, BLUE, GREEN, AMBER, PURPLE, GREY = "#b5482f", "#2f6db3", "#3f8a62", "#c08a1e", "#7a5aa6", "#8a95a1"
TEAL, PINK = "#1f98a6", "#c4569b"
CATEGORIES = (BLUE, ACCENT, GREEN, AMBER, PURPLE, GREY, TEAL, PINK)
THEMED = {
    PAPER: "paper", INK: "ink", SOFT: "soft", LINE: "line", ACCENT: "accent", BLUE: "blue", GREEN: "green",
    AMBER: "amber", PURPLE: "purple", GREY: "grey", TEAL: "teal", PINK: "pink",
}  # fmt: skip
"""Colours of the figures by the name of the page's variable that stands for them."""

FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, sans-serif"
WIDTH = 860
"""Width that a figure has on the page, in pixels."""

LOOK: dict[str, Any] = {
    "background": PAPER,
    "font": FONT,
    "padding": 8,
    "aria": False,
    "axis": {
        "labelColor": SOFT, "titleColor": INK, "gridColor": LINE, "domainColor": LINE, "tickColor": LINE,
        "labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": "normal", "titlePadding": 8, "labelLimit": 320,
    },
    "legend": {
        "labelColor": INK, "titleColor": SOFT, "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal",
        "labelLimit": 320, "symbolSize": 90,
    },
    "header": {
        "labelColor": INK, "titleColor": INK, "labelFontSize": 12, "labelFontWeight": "bold", "labelLimit": 320,
    },
    "view": {"stroke": LINE},
    "mark": {"color": BLUE},
    "range": {"category": list(CATEGORIES)},
    "title": {"color": INK},
}  # fmt: skip
"""One look for all figures, as Vega-Lite's configuration."""


class Sheet:
    """The values of one figure's charts, by name.

    They stay out of the charts until the specification is written: Altair copies a chart's content with every step of
    putting charts together, and checks each value.
    """

    def __init__(self) -> None:
        self._values: dict[str, list[dict[str, Any]]] = {}

    def rows(self, frame: pd.DataFrame) -> dict[str, str]:
        """A frame as a chart's data; missing values become null."""
        name = f"rows-{len(self._values)}"
        self._values[name] = json.loads(frame.to_json(orient="records", double_precision=15))
        return {"name": name}

    def drawing(self, chart: Any, data: pd.DataFrame, block: FigureBlock) -> Drawing:
        """The chart as a figure of a report: Vega-Lite in the report's look, with its values; ``data`` is its file."""
        return Drawing(block, {**chart.to_dict(validate=False), "config": LOOK, "datasets": self._values}, data)
