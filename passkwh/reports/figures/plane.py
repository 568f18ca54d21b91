"""The plane of energy and quality: points with intervals both ways, a frontier, and names that cover nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

import altair as alt
import pandas as pd

from passkwh.analysis.experiments import technique
from passkwh.measures import MEASURES
from passkwh.reports.document.content import FigureBlock, NotAvailable
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.document.section import Drawing
from passkwh.reports.figures.axes import padded
from passkwh.reports.figures.labels import Box, Point, place
from passkwh.reports.figures.theme import ACCENT, CATEGORIES, GREY, INK, SOFT, Sheet

SIZE = (780, 460)
LOGARITHMIC = 8.0
"""Energies that differ by more than this factor stand on a logarithmic axis."""


def energy_accuracy(evidence: Evidence) -> Drawing | NotAvailable:
    """pass@1 against energy, one point a label with intervals both ways, its name, and the frontier (figure 4.12)."""
    what, after = "Energy against accuracy with the efficient frontier", "thesis, figure 4.12"
    unit = evidence.energy_unit
    rows = [
        {
            "configuration": label,
            **evidence.headline("energy_kwh", label, unit.factor).ends("energy", "energy_low", "energy_high"),
            **evidence.headline("pass_at_1", label).ends("pass_at_1", "pass_at_1_low", "pass_at_1_high"),
            "technique": technique(evidence.first_run(label)),
            "place": "on the efficient frontier" if on else "beaten by another",
            "probability_on_frontier": evidence.frontier_probability.get(label),
            "on": on,
        }
        for label, on in evidence.on_frontier.items()
    ]
    if not rows:
        return NotAvailable(what=what, reason="no configuration has both an energy and a pass@1", after=after)
    titles = (
        MEASURES["energy_kwh"].axis(unit, f"{evidence.energy_named} of one run"),
        MEASURES["pass_at_1"].axis(),
    )
    block = FigureBlock(
        name="tradeoff", title=what, after=after,
        caption="Top left is better. Bars are intervals; dashed: the frontier, the most accuracy that so much energy "
        f"buys.{evidence.energy_is}",
    )  # fmt: skip
    techniques = sorted({str(row["technique"]) for row in rows}, key=_technique_order)
    return plane(pd.DataFrame(rows), "pass_at_1", titles, by_technique(techniques), block, SHAPES)


def _technique_order(name: str) -> tuple[int, str]:
    """As figure 4.12 has them: base, instruct, then quantizations and exit rules by name."""
    return ({"base": 0, "instruct": 1}.get(name, 2), name)


def by_technique(techniques: Iterable[str]) -> alt.Color:
    """A colour for each technique (base, instruct, a quantization, an exit rule), in the order of the categories."""
    own = list(dict.fromkeys(techniques))
    colours = [CATEGORIES[i % len(CATEGORIES)] for i in range(len(own))]
    return alt.Color(
        "technique:N", title=None, legend=alt.Legend(orient="top"), scale=alt.Scale(domain=own, range=colours)
    )


SHAPES = alt.Shape(
    "place:N", title=None, legend=alt.Legend(orient="top", symbolFillColor=INK),
    scale=alt.Scale(domain=["on the efficient frontier", "beaten by another"], range=["circle", "triangle-down"]),
)  # fmt: skip


def plane(
    data: pd.DataFrame, quality: str, titles: tuple[str, str], colour: alt.Color, block: FigureBlock,
    shape: alt.Shape | None = None,
) -> Drawing:  # fmt: skip
    """A picture of the columns configuration, energy and ``quality``, each of these two with ``_low`` and ``_high``.

    Rows that are ``on`` make the frontier, a step line. ``titles`` are those of the axes. What a reader must know of
    names and axes is added to the caption of ``block``.
    """
    x, y = _Axis(data, "energy", SIZE[0], may_be_log=True), _Axis(data, quality, SIZE[1], may_be_log=False)
    prefix = common_prefix(list(data["configuration"]))
    names = [label.removeprefix(prefix) for label in data["configuration"]]
    at = [(x.pixel(e), SIZE[1] - y.pixel(q)) for e, q in zip(data["energy"], data[quality], strict=True)]
    on = data[data["on"]]
    steps = staircase(zip(on["energy"], on[quality], strict=True), x.value(SIZE[0]))
    places = place(at, names, *SIZE, avoid=_lines(data, quality, steps, x, y), first=list(data["on"]))
    labels = pd.DataFrame(
        [
            {"name": name, "x": x.value(p.box.right if p.box.right < point[0] else p.left),
             "y": y.value(SIZE[1] - p.middle), "energy": e, quality: q, "near": x.value(p.end(point)[0]),
             "far": p.far, "before": p.box.right < point[0]}
            for name, p, e, q, point in zip(names, places, data["energy"], data[quality], at, strict=True) if p
        ],
        columns=["name", "x", "y", "energy", quality, "near", "far", "before"],
    )  # fmt: skip
    ex = alt.X("energy:Q", title=titles[0], scale=x.scale(), axis=alt.Axis(grid=False, tickCount=7))
    ey = alt.Y(f"{quality}:Q", title=titles[1], scale=y.scale(), axis=alt.Axis(tickCount=8))
    sheet = Sheet()
    dots = alt.Chart(sheet.rows(data))
    bars = dots.mark_rule(color=GREY, strokeWidth=1.2, opacity=0.7)
    layers = [
        bars.encode(x="energy_low:Q", x2="energy_high:Q", y=ey),
        bars.encode(x=ex, y=f"{quality}_low:Q", y2=f"{quality}_high:Q"),
        alt.Chart(sheet.rows(pd.DataFrame(steps, columns=["energy", quality]).reset_index(names="step")))
        .mark_line(color=ACCENT, strokeDash=[5, 4], strokeWidth=1.3).encode(x=ex, y=ey, order="step:Q"),
        alt.Chart(sheet.rows(labels[labels["far"]])).mark_rule(color=SOFT, strokeWidth=0.6)
        .encode(x="energy:Q", y=f"{quality}:Q", x2="near:Q", y2="y:Q"),
        dots.mark_point(filled=True, size=70, opacity=1).encode(
            x=ex, y=ey, color=colour, shape=alt.value("circle") if shape is None else shape
        ),
        *(
            alt.Chart(sheet.rows(labels[labels["before"] == before]))
            .mark_text(align="right" if before else "left", baseline="middle", fontSize=11, color=INK)
            .encode(x="x:Q", y="y:Q", text="name:N")
            for before in (False, True)
        ),
    ]  # fmt: skip
    unnamed = [name for name, p in zip(names, places, strict=True) if p is None]
    about = " The energy axis is logarithmic." if x.log else ""
    about += f" Names are without their common beginning, {prefix.strip('-_ /')}." if prefix else ""
    about += f" Without room for a name: {', '.join(unnamed)}; see the table." if unnamed else ""
    chart = alt.layer(*layers).properties(width=SIZE[0], height=SIZE[1])
    return sheet.drawing(chart, data.drop(columns=["on"]), block.model_copy(update={"caption": block.caption + about}))


def staircase(frontier: Iterable[Point], end: float) -> list[Point]:
    """The corners of the step line of a frontier of (energy, quality) up to energy ``end``.

    The most quality that so much energy buys is that of the last point that is no dearer: level from each point to the
    energy of the next, then up to it.

    Example:
        >>> staircase([(3.0, 0.5), (1.0, 0.2)], 4.0)
        [(1.0, 0.2), (3.0, 0.2), (3.0, 0.5), (4.0, 0.5)]
    """
    points = sorted(frontier)
    corners = points[:1]
    for (_, level), (energy, quality) in pairwise(points):
        corners += [(energy, level), (energy, quality)]
    return [*corners, (end, points[-1][1])] if points else []


def _lines(data: pd.DataFrame, quality: str, steps: list[Point], x: _Axis, y: _Axis) -> list[Box]:
    """What names must not cover: error bars and the frontier."""
    top = SIZE[1]
    boxes = []
    for row in data.to_dict("records"):
        px, py = x.pixel(row["energy"]), top - y.pixel(row[quality])
        boxes.append(Box(x.pixel(row["energy_low"]), py - 1, x.pixel(row["energy_high"]), py + 1))
        high, low = (top - y.pixel(row[f"{quality}_{end}"]) for end in ("high", "low"))
        boxes.append(Box(px - 1, high, px + 1, low))
    for (ax, ay), (bx, by) in pairwise((x.pixel(e), top - y.pixel(q)) for e, q in steps):
        boxes.append(Box(ax - (ax == bx), min(ay, by) - (ay == by), bx + (ax == bx), max(ay, by) + (ay == by)))
    return boxes


def common_prefix(labels: list[str]) -> str:
    """What all labels begin with, up to a separator; nothing for a single one or where a name would vanish."""
    if len(labels) < 2:
        return ""
    first, last = min(labels), max(labels)
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    prefix = first[:same]
    cut = max((prefix.rfind(separator) for separator in "-_ /"), default=-1)
    prefix = prefix[: cut + 1]
    return prefix if prefix and all(len(label) > len(prefix) for label in labels) else ""


class _Axis:
    """A scale with known ends, so that labels can be placed in pixels."""

    def __init__(self, data: pd.DataFrame, name: str, length: float, *, may_be_log: bool) -> None:
        low, high = float(data[f"{name}_low"].min()), float(data[f"{name}_high"].max())
        self.log = may_be_log and low > 0 and high / low > LOGARITHMIC
        self.length = length
        a, b = self._turn(low), self._turn(high)
        self.low, self.high = padded([a, b], signed=self.log)

    def _turn(self, value: float) -> float:
        return math.log(value) if self.log else value

    def pixel(self, value: float) -> float:
        return (self._turn(value) - self.low) / (self.high - self.low) * self.length

    def value(self, pixel: float) -> float:
        turned = self.low + pixel / self.length * (self.high - self.low)
        return math.exp(turned) if self.log else turned

    def scale(self) -> alt.Scale:
        domain = [math.exp(v) if self.log else v for v in (self.low, self.high)]
        if self.log:
            return alt.Scale(type="log", domain=domain, nice=False)
        # Unasked, bars would have 0 on the axis, and every name in another place than it was given.
        return alt.Scale(type="linear", domain=domain, nice=False, zero=False)
