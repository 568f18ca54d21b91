"""Power over a run's own time, in a few hundred points: a picture, from the raw readings, not a source of joules."""

from __future__ import annotations

import numpy as np

from passkwh.harness.meter.energies import Spans
from passkwh.harness.meter.series import Ints, Series
from passkwh.harness.meter.trace import Trace
from passkwh.harness.runs.table import KINDS, SampleTable
from passkwh.records import Manifest, Record
from passkwh.units import ns_to_s

POINTS = 240
SHORTEST_NS = 250_000_000
"""A counter that steps every 100 ms says little about less time."""
JOIN_NS = 500_000_000
MOST_STAGES = 500


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


def timeline(manifest: Manifest, samples: SampleTable, trace: Trace) -> Timeline:
    """From a checked run."""
    own = manifest.sessions[0].windows
    parts = [Spans.of(own), samples.generation, samples.evaluation]
    session, start_ns, end_ns = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("session", "start_ns", "end_ns")
    )
    kind = np.concatenate(
        [[KINDS.index(window.kind) for window in own], samples.generation_kind, samples.evaluation_kind]
    ).astype(np.int64)
    session[: len(own)] = 0
    order = np.lexsort((kind, end_ns, start_ns))
    order = order[session[order] == 0]
    kind, start_ns, end_ns = kind[order], start_ns[order], end_ns[order]
    start, end = int(start_ns[0]), int(end_ns.max())
    edges = np.arange(start, end + 1, max((end - start) // POINTS, SHORTEST_NS), dtype=np.int64)
    lines = []
    for channel in (channel for channel in manifest.meter.channels if channel.counted):
        series = trace.series(channel.name, channel.quantity, 0)
        if series is not None and len(edges) > 1:
            lines.append(Line(channel=channel.name, power_w=_power(series, channel.quantity == "energy_j", edges)))
    return Timeline(length_s=ns_to_s(end - start), lines=tuple(lines), stages=tuple(_stages(kind, start_ns, end_ns)))


def _power(series: Series, counter: bool, edges: Ints) -> tuple[float | None, ...]:
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


def _stages(kind: Ints, start_ns: Ints, end_ns: Ints) -> list[Stage]:
    """Windows of one kind that follow each other closely as one: thousands of batches are one band."""
    other = kind[1:] != kind[:-1]
    latest_ns = np.concatenate(
        [np.maximum.accumulate(part) for part in np.split(end_ns, np.flatnonzero(other) + 1)]
    )  # of windows of one kind in a row
    first = np.flatnonzero(np.r_[True, other | (start_ns[1:] - latest_ns[:-1] >= JOIN_NS)])
    last = np.r_[first[1:], len(kind)] - 1
    bands = zip(kind[first].tolist(), start_ns[first].tolist(), latest_ns[last].tolist(), strict=True)
    zero_ns = int(start_ns[0])
    return [
        Stage(kind=KINDS[number], start_s=ns_to_s(first_ns - zero_ns), end_s=ns_to_s(last_ns - zero_ns))
        for number, first_ns, last_ns in [*bands][:MOST_STAGES]
    ]
