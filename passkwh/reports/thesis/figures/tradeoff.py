"""Energy against accuracy with the efficient frontier (figure 4.12 of the thesis)."""

from __future__ import annotations

import math
from itertools import pairwise

import altair as alt
import pandas as pd

from passkwh.reports.thesis.content import FigureBlock, Missing
from passkwh.reports.thesis.draft import Drawing, EnergyUnit
from passkwh.reports.thesis.evidence import Evidence
from passkwh.reports.thesis.figures.labels import Box, Point, place
from passkwh.reports.thesis.figures.theme import ACCENT, BLUE, GREY, INK, SOFT, Sheet
from passkwh.reports.thesis.words import scaled

SIZE = (780, 460)
LOGARITHMIC = 8.0
"""Energies that differ by more than this factor stand on a logarithmic axis."""
WHAT = "Energy against accuracy with the efficient frontier"


def tradeoff(evidence: Evidence, unit: EnergyUnit) -> Drawing | Missing:
    """One point a configuration, with intervals both ways, its name, and the frontier."""
    data = _data(evidence, unit)
    if data.empty:
        reason = "no configuration has both an energy and a pass@1"
        return Missing(what=WHAT, reason=reason, after="thesis, figure 4.12")
    x, y = _Axis(data, "energy", SIZE[0]), _Axis(data, "pass_at_1", SIZE[1])
    prefix = common_prefix(list(data["configuration"]))
    names = [label.removeprefix(prefix) for label in data["configuration"]]
    at = [(x.pixel(e), SIZE[1] - y.pixel(p)) for e, p in zip(data["energy"], data["pass_at_1"], strict=True)]
    places = place(at, names, *SIZE, avoid=_lines(data, at, x, y))
    labels = pd.DataFrame(
        [
            {"name": name, "x": x.value(p.box.right if p.box.right < point[0] else p.left),
             "y": y.value(SIZE[1] - p.middle), "energy": e, "pass_at_1": a, "near": x.value(p.end(point)[0]),
             "far": p.far, "before": p.box.right < point[0]}
            for name, p, e, a, point in zip(names, places, data["energy"], data["pass_at_1"], at, strict=True) if p
        ],
        columns=["name", "x", "y", "energy", "pass_at_1", "near", "far", "before"],
    )  # fmt: skip
    unnamed = [name for name, p in zip(names, places, strict=True) if p is None]
    ex = alt.X(
        "energy:Q",
        title=f"energy of one run, {unit.name} — lower is better",
        scale=x.scale(),
        axis=alt.Axis(grid=False, tickCount=7),
    )
    ey = alt.Y("pass_at_1:Q", title="pass@1 — higher is better", scale=y.scale(), axis=alt.Axis(tickCount=8))
    sheet = Sheet()
    dots = alt.Chart(sheet.rows(data))
    bars = dots.mark_rule(color=GREY, strokeWidth=1.2, opacity=0.7)
    colour = alt.Color(
        "place:N", title=None, legend=alt.Legend(orient="top"),
        scale=alt.Scale(domain=["on the efficient frontier", "beaten by another"], range=[ACCENT, BLUE]),
    )  # fmt: skip
    layers = [
        bars.encode(x="energy_low:Q", x2="energy_high:Q", y=ey),
        bars.encode(x=ex, y="pass_at_1_low:Q", y2="pass_at_1_high:Q"),
        alt.Chart(sheet.rows(data[data["on"]].sort_values("energy")))
        .mark_line(interpolate="step-after", color=ACCENT, strokeDash=[5, 4], strokeWidth=1.3)
        .encode(x=ex, y=ey, order="energy:Q"),
        alt.Chart(sheet.rows(labels[labels["far"]])).mark_rule(color=SOFT, strokeWidth=0.6)
        .encode(x="energy:Q", y="pass_at_1:Q", x2="near:Q", y2="y:Q"),
        dots.mark_point(filled=True, size=70, opacity=1).encode(x=ex, y=ey, color=colour),
        *(
            alt.Chart(sheet.rows(labels[labels["before"] == before]))
            .mark_text(align="right" if before else "left", baseline="middle", fontSize=11, color=INK)
            .encode(x="x:Q", y="y:Q", text="name:N")
            for before in (False, True)
        ),
    ]  # fmt: skip
    caption = "Top left is better. Bars are intervals; dashed: no configuration is both thriftier and more accurate."
    caption += " The energy axis is logarithmic." if x.log else ""
    caption += f" Names are without their common beginning, {prefix.strip('-_ /')}." if prefix else ""
    caption += f" Without room for a name: {', '.join(unnamed)}; see the table." if unnamed else ""
    caption += evidence.energy_is
    block = FigureBlock(name="tradeoff", title=WHAT, caption=caption, after="thesis, figure 4.12")
    chart = alt.layer(*layers).properties(width=SIZE[0], height=SIZE[1])
    return Drawing(block, sheet.specification(chart), data.drop(columns=["on"]))


def _lines(data: pd.DataFrame, at: list[Point], x: _Axis, y: _Axis) -> list[Box]:
    """What names must not cover: error bars and the frontier."""
    top = SIZE[1]
    found = []
    for row, (px, py) in zip(data.to_dict("records"), at, strict=True):
        found.append(Box(x.pixel(row["energy_low"]), py - 1, x.pixel(row["energy_high"]), py + 1))
        found.append(Box(px - 1, top - y.pixel(row["pass_at_1_high"]), px + 1, top - y.pixel(row["pass_at_1_low"])))
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


def _data(evidence: Evidence, unit: EnergyUnit) -> pd.DataFrame:
    found = []
    points = evidence.analysis.tradeoff.points if evidence.analysis.tradeoff else ()
    for point in points:
        energy = scaled(evidence.interval("energy_kwh", point.label), unit.per_kwh)
        accuracy = scaled(evidence.interval("pass_at_1", point.label))
        if energy.value is not None and accuracy.value is not None:
            found.append(
                {
                    "configuration": point.label, "energy": energy.value,
                    "energy_low": energy.value if energy.low is None else energy.low,
                    "energy_high": energy.value if energy.high is None else energy.high,
                    "pass_at_1": accuracy.value,
                    "pass_at_1_low": accuracy.value if accuracy.low is None else accuracy.low,
                    "pass_at_1_high": accuracy.value if accuracy.high is None else accuracy.high,
                    "place": "on the efficient frontier" if point.on_frontier else "beaten by another",
                    "probability_on_frontier": point.probability, "on": point.on_frontier,
                }
            )  # fmt: skip
    return pd.DataFrame(found)


class _Axis:
    """A scale with known ends, so that labels can be placed in pixels."""

    def __init__(self, data: pd.DataFrame, name: str, length: float) -> None:
        low, high = float(data[f"{name}_low"].min()), float(data[f"{name}_high"].max())
        self.log = low > 0 and high / low > LOGARITHMIC and name == "energy"
        self.length = length
        a, b = self._turn(low), self._turn(high)
        room = (b - a) * 0.08 or abs(a) * 0.1 or 0.1
        self.low, self.high = a - room, b + room
        if name == "pass_at_1":
            self.low = max(self.low, -0.02)

    def _turn(self, value: float) -> float:
        return math.log(value) if self.log else value

    def pixel(self, value: float) -> float:
        return (self._turn(value) - self.low) / (self.high - self.low) * self.length

    def value(self, pixel: float) -> float:
        turned = self.low + pixel / self.length * (self.high - self.low)
        return math.exp(turned) if self.log else turned

    def scale(self) -> alt.Scale:
        domain = [math.exp(v) if self.log else v for v in (self.low, self.high)]
        return alt.Scale(type="log" if self.log else "linear", domain=domain, nice=False, zero=False)
