"""Points in a plane of energy and quality, with intervals both ways, a frontier, and names that cover nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import altair as alt
import pandas as pd

from passkwh.reports.figures.labels import Box, Point, place
from passkwh.reports.figures.theme import ACCENT, GREY, INK, SOFT

SIZE = (780, 460)
LOGARITHMIC = 8.0
"""Energies that differ by more than this factor stand on a logarithmic axis."""


@dataclass(frozen=True)
class Plane:
    """The chart, and what a caption must say of it: sentences, or nothing."""

    chart: alt.LayerChart
    about: str


def plane(
    data: pd.DataFrame,
    quality: str,
    titles: tuple[str, str],
    colour: alt.Color,
    *,
    tooltip: Sequence[str | alt.Tooltip] = (),
    source: Callable[[pd.DataFrame], Any] = lambda frame: frame,
) -> Plane:
    """A picture of the columns configuration, energy and ``quality``, each of these two with ``_low`` and ``_high``.

    Rows that are ``on`` make the frontier. ``titles`` are those of the axes; ``source`` turns rows into a chart's data.
    """
    x, y = _Axis(data, "energy", SIZE[0], may_be_log=True), _Axis(data, quality, SIZE[1], may_be_log=False)
    prefix = common_prefix(list(data["configuration"]))
    names = [label.removeprefix(prefix) for label in data["configuration"]]
    at = [(x.pixel(e), SIZE[1] - y.pixel(q)) for e, q in zip(data["energy"], data[quality], strict=True)]
    places = place(at, names, *SIZE, avoid=_lines(data, quality, at, x, y), first=list(data["on"]))
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
    dots = alt.Chart(source(data))
    bars = dots.mark_rule(color=GREY, strokeWidth=1.2, opacity=0.7)
    layers = [
        bars.encode(x="energy_low:Q", x2="energy_high:Q", y=ey),
        bars.encode(x=ex, y=f"{quality}_low:Q", y2=f"{quality}_high:Q"),
        alt.Chart(source(data[data["on"]].sort_values("energy")))
        .mark_line(interpolate="step-after", color=ACCENT, strokeDash=[5, 4], strokeWidth=1.3)
        .encode(x=ex, y=ey, order="energy:Q"),
        alt.Chart(source(labels[labels["far"]])).mark_rule(color=SOFT, strokeWidth=0.6)
        .encode(x="energy:Q", y=f"{quality}:Q", x2="near:Q", y2="y:Q"),
        dots.mark_point(filled=True, size=70, opacity=1).encode(x=ex, y=ey, color=colour, tooltip=list(tooltip)),
        *(
            alt.Chart(source(labels[labels["before"] == before]))
            .mark_text(align="right" if before else "left", baseline="middle", fontSize=11, color=INK)
            .encode(x="x:Q", y="y:Q", text="name:N")
            for before in (False, True)
        ),
    ]  # fmt: skip
    unnamed = [name for name, p in zip(names, places, strict=True) if p is None]
    about = " The energy axis is logarithmic." if x.log else ""
    about += f" Names are without their common beginning, {prefix.strip('-_ /')}." if prefix else ""
    about += f" Without room for a name: {', '.join(unnamed)}; see the table." if unnamed else ""
    return Plane(alt.layer(*layers).properties(width=SIZE[0], height=SIZE[1]), about)


def _lines(data: pd.DataFrame, quality: str, at: list[Point], x: _Axis, y: _Axis) -> list[Box]:
    """What names must not cover: error bars and the frontier."""
    top = SIZE[1]
    found = []
    for row, (px, py) in zip(data.to_dict("records"), at, strict=True):
        found.append(Box(x.pixel(row["energy_low"]), py - 1, x.pixel(row["energy_high"]), py + 1))
        high, low = (top - y.pixel(row[f"{quality}_{end}"]) for end in ("high", "low"))
        found.append(Box(px - 1, high, px + 1, low))
    frontier = sorted(point for point, on in zip(at, data["on"], strict=True) if on)
    for (ax, ay), (bx, by) in pairwise(frontier):
        found += [Box(ax, ay - 1, bx, ay + 1), Box(bx - 1, min(ay, by), bx + 1, max(ay, by))]
    return found


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
        room = (b - a) * 0.08 or abs(a) * 0.1 or 0.1
        self.low, self.high = a - room, b + room
        if low >= 0 and not self.log:
            self.low = max(self.low, -0.03 * (self.high - a))

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
