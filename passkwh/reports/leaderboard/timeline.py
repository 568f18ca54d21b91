"""Power over a run's own time, in a few hundred points: a picture, from the raw readings, not a source of joules."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from passkwh.harness.meter.series import Series
from passkwh.harness.meter.trace import Trace
from passkwh.records import Manifest, Record
from passkwh.reports.leaderboard.samples import Samples
from passkwh.units import ns_to_s

POINTS = 240
SHORTEST_NS = 250_000_000
"""A counter that steps every 100 ms says little about less time."""
JOIN_NS = 500_000_000


class Line(Record):
    """Mean power of one channel in steps of equal length; None where readings are missing."""

    channel: str
    power_w: tuple[float | None, ...]


class Stage(Record):
    """A stretch of the run: idle_before, warmup, generate, score or idle_after."""

    kind: str
    start_s: float
    end_s: float


class Timeline(Record):
    """The first session of a run."""

    length_s: float
    lines: tuple[Line, ...]
    stages: tuple[Stage, ...]


def timeline(manifest: Manifest, samples: Samples, trace: Trace) -> Timeline:
    """From a checked run."""
    windows: list[tuple[int, int, str]] = [(w.start_ns, w.end_ns, w.kind) for w in manifest.sessions[0].windows]
    spans = samples.columns.generation, samples.columns.evaluation
    session, start_ns, end_ns = (
        np.concatenate([getattr(one, name) for one in spans]).tolist() for name in ("session", "start_ns", "end_ns")
    )
    marks = zip(session, start_ns, end_ns, samples.kinds, strict=True)
    windows += [(first_ns, last_ns, kind) for number, first_ns, last_ns, kind in marks if number == 0]
    windows = sorted(set(windows))  # the samples of a batch share one
    start, end = windows[0][0], max(window[1] for window in windows)
    edges = np.arange(start, end + 1, max((end - start) // POINTS, SHORTEST_NS), dtype=np.int64)
    lines = []
    for channel in (channel for channel in manifest.meter.channels if channel.counted):
        series = trace.series(channel.name, channel.quantity, 0)
        if series is not None and len(edges) > 1:
            lines.append(Line(channel=channel.name, power_w=_power(series, channel.quantity == "energy_j", edges)))
    return Timeline(length_s=ns_to_s(end - start), lines=tuple(lines), stages=tuple(_stages(windows, start)))


def _power(
    series: Series, counter: bool, edges: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> tuple[float | None, ...]:
    time_ns, value = series.valid()
    if len(time_ns) < 2:
        return ()
    moments = (time_ns - edges[0]) / 1e9
    grid = (edges - edges[0]) / 1e9
    if counter:
        power = np.diff(np.interp(grid, moments, value)) / np.diff(grid)
    else:
        # The integral between samples, so that each counts for the time until the next.
        total = np.concatenate([[0.0], np.cumsum(np.diff(moments) * (value[1:] + value[:-1]) / 2)])
        power = np.diff(np.interp(grid, moments, total)) / np.diff(grid)
    inside = (grid[:-1] >= moments[0] - 1) & (grid[1:] <= moments[-1] + 1)
    # A counter that was reset falls: what it drew in that step is not known.
    return tuple(round(float(p), 2) if ok and p >= 0 else None for p, ok in zip(power, inside, strict=True))


def _stages(windows: Sequence[tuple[int, int, str]], start_ns: int) -> list[Stage]:
    """Windows of one kind that follow each other closely as one: thousands of batches are one band."""
    joined: list[tuple[str, int, int]] = []
    for first_ns, last_ns, kind in windows:
        if joined and joined[-1][0] == kind and first_ns - joined[-1][2] < JOIN_NS:
            joined[-1] = (kind, joined[-1][1], max(joined[-1][2], last_ns))
        else:
            joined.append((kind, first_ns, last_ns))
    return [
        Stage(kind=kind, start_s=ns_to_s(first_ns - start_ns), end_s=ns_to_s(last_ns - start_ns))
        for kind, first_ns, last_ns in joined[:500]
    ]
