"""The picture of a run's power over time, as a small SVG of the board's own: a page is one of thousands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import pyarrow as pa

from passkwh.analysis.power import PowerPoint, PowerTimeline, SessionWindow, timeline
from passkwh.harness.runs.table import SampleTable
from passkwh.measures import kinds
from passkwh.records import Manifest

WIDTH, HEIGHT = 960, 250
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 14, 46
MOST_STAGES = 500


def power_picture(manifest: Manifest, samples: SampleTable, trace: pa.Table) -> str:
    """SVG of a checked run's first session: what it did, and the power of each counted channel; empty without any.

    Colours come from the page's style. The power is thinned as in a report, for the eye only.
    """
    windows = {SessionWindow(0, w.kind, w.start_ns, w.end_ns) for w in manifest.sessions[0].windows}
    windows |= {SessionWindow(*window) for window in samples.windows() if window[0] == 0}
    line = timeline(sorted(windows), trace, manifest.meter.channels)
    shown = {point.channel for point in line.points}
    provenances = (channel.provenance for channel in manifest.meter.channels if channel.name in shown)
    return power_svg(line, kinds(provenances)) if shown else ""


def power_svg(line: PowerTimeline, provenance: str) -> str:
    """A timeline as SVG; ``provenance`` says what its power is: measured, estimated, ..."""
    most_w = max((point.power_w for point in line.points if point.power_w is not None), default=0.0)
    highest_w, length_s = most_w * 1.08 or 1.0, max((stage.end_s for stage in line.stages), default=0.0) or 1.0
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT

    def x(seconds: float) -> float:
        return round(LEFT + (right - LEFT) * seconds / length_s, 1)

    def y(watts: float) -> float:
        return round(bottom - (bottom - TOP) * watts / highest_w, 1)

    def text(content: str, place: str, anchor: str = "middle") -> str:
        return f'<text {place} text-anchor="{anchor}">{content}</text>'

    about = f"{provenance.capitalize()} power over time, at most {most_w:.0f} W"
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{about}">']
    for stage in line.stages[:MOST_STAGES]:
        width = max(x(stage.end_s) - x(stage.start_s), 0.6)
        parts.append(
            f'<rect x="{x(stage.start_s)}" y="{TOP}" width="{width:.1f}" height="{bottom - TOP}" '
            f'fill="var(--{stage.kind.partition("_")[0]})" fill-opacity=".3"/>'
        )
    parts.append('<g class="axis">')
    for watts in ticks(highest_w):
        parts.append(f'<line x1="{LEFT}" x2="{right}" y1="{y(watts)}" y2="{y(watts)}"/>')
        parts.append(text(f"{watts:g}", f'x="{LEFT - 8}" y="{y(watts) + 4}"', "end"))
    parts += [text(f"{seconds:g}", f'x="{x(seconds)}" y="{bottom + 18}"') for seconds in ticks(length_s, 8)]
    middle = f'class="title" x="{(LEFT + right) / 2:.0f}" y="{HEIGHT - 8}"'
    parts.append(text("time since the first window (s)", middle))
    aside = f'class="title" transform="translate(15 {bottom / 2:.0f}) rotate(-90)"'
    parts.append(text(f"{provenance} power (W)", aside) + "</g>")
    for number, (_, points) in enumerate(groupby(line.points, lambda point: point.channel)):
        dashes = f' stroke-dasharray="{3 * number} 3"' if number else ""
        for piece in _pieces(list(points)):
            path = " ".join(f"{x(seconds)},{y(watts)}" for seconds, watts in piece)
            parts.append(f'<polyline points="{path}" fill="none" stroke="currentColor" stroke-width="1.3"{dashes}/>')
    return "".join([*parts, "</svg>"])


def ticks(highest: float, about: int = 5) -> list[float]:
    """Round values from 0 to ``highest``, about so many."""
    rough = highest / about
    power = 10.0 ** len(str(int(rough))) / 10 if rough >= 1 else 0.1
    step = next((power * t for t in (1, 2, 5, 10) if power * t >= rough), power * 10)
    return [step * i for i in range(int(highest / step) + 1)]


def _pieces(points: Sequence[PowerPoint]) -> Iterator[list[tuple[float, float]]]:
    """The line, broken where there was no power."""
    for is_known, group in groupby(points, lambda point: point.power_w is not None):
        piece = [(point.time_s, point.power_w or 0.0) for point in group]
        if is_known and len(piece) > 1:
            yield piece
