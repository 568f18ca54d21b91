"""Power over a run's own time, with what the run was doing (figure 3.1 of the thesis)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from passkwh.analysis.frames import Run
from passkwh.harness.runs.folder import TRACE, RunFolder
from passkwh.records import ChannelInfo, Record
from passkwh.units import NS_PER_S, ns_to_s

POINTS = 240
"""A timeline has about so many points a channel."""
SHORTEST_STEP_S = 0.5
"""Counters step every 20-100 ms: over less than this a difference of two readings says little."""
PAUSE_S = 0.5
"""Stretches of one kind with less between them are shown as one."""


class PowerPoint(Record):
    """Mean power of one channel between two readings; None where there was none, so that a gap stays a gap."""

    time_s: float
    channel: str
    power_w: float | None


class Stage(Record):
    """A stretch of the run's own time: idle_before, warmup, generate, score or idle_after."""

    start_s: float
    end_s: float
    kind: str


class PowerTimeline(Record):
    """Power of a run's counted channels. Time starts at the first window; sessions follow each other directly."""

    points: tuple[PowerPoint, ...]
    stages: tuple[Stage, ...]
    step_s: Annotated[float | None, Field(description="length of the longest session's steps")] = None
    reason: Annotated[str | None, Field(description="why there are no points")] = None


class SessionWindow(NamedTuple):
    """A window of a run, on the clock of its session."""

    session: int
    kind: str
    start_ns: int
    end_ns: int


def power_timeline(run: Run, points: int = POINTS) -> PowerTimeline:
    """The timeline of a run folder. Raises UsageError for files that cannot be read."""
    folder = RunFolder.open(run.path)
    trace = folder.trace() if (run.path / TRACE).is_file() else None
    return timeline(_windows(run, folder), trace, run.manifest.meter.channels, points)


def timeline(
    windows: Sequence[SessionWindow],
    trace: pa.Table | None,
    channels: Sequence[ChannelInfo],
    points: int = POINTS,
) -> PowerTimeline:
    """Thin a trace (None where there is none) to about ``points`` mean powers a
    counted channel, over the time from the first to the last of ``windows`` of each session.

    Counters are differenced between readings at least half a second apart (a counter that wrapped or was reset leaves
    a gap), power readings are averaged. For a picture only: energies come from the whole trace.
    """
    thinned: list[PowerPoint] = []
    stages: list[Stage] = []
    longest_s = 0.0
    offset_ns = 0
    for session in sorted({window.session for window in windows}):
        own = [window for window in windows if window.session == session]
        start_ns, end_ns = min(w.start_ns for w in own), max(w.end_ns for w in own)
        step_ns = int(max((end_ns - start_ns) / points, SHORTEST_STEP_S * NS_PER_S))
        stages += _stages(own, offset_ns - start_ns)
        if trace is not None:
            thinned += _powers(trace, channels, session, (start_ns, end_ns, step_ns), offset_ns)
        longest_s = max(longest_s, ns_to_s(step_ns))
        offset_ns += end_ns - start_ns
    missing = (
        f"the run folder has no {TRACE}"
        if trace is None
        else "the trace holds no readings of the run's counted channels"
    )
    reason = None if thinned else missing
    return PowerTimeline(points=tuple(thinned), stages=tuple(stages), step_s=longest_s or None, reason=reason)


def _windows(run: Run, folder: RunFolder) -> list[SessionWindow]:
    own = [(w.session, w.kind, w.start_ns, w.end_ns) for session in run.manifest.sessions for w in session.windows]
    return [SessionWindow(*row) for row in (*own, *folder.table().windows())]


def _stages(windows: list[SessionWindow], shift_ns: int) -> list[Stage]:
    stages: list[Stage] = []
    for window in sorted(windows, key=lambda w: w.start_ns):
        start_s, end_s = ns_to_s(window.start_ns + shift_ns), ns_to_s(window.end_ns + shift_ns)
        if stages and stages[-1].kind == window.kind and start_s - stages[-1].end_s < PAUSE_S:
            last = stages.pop()
            stages.append(last.model_copy(update={"end_s": max(last.end_s, end_s)}))
        else:
            stages.append(Stage(start_s=start_s, end_s=end_s, kind=window.kind))
    return stages


def _powers(
    trace: pa.Table, channels: Sequence[ChannelInfo], session: int, span_ns: tuple[int, int, int], offset_ns: int
) -> list[PowerPoint]:
    start_ns, end_ns, step_ns = span_ns
    time, value = pc.field("time_ns"), pc.field("value")
    within = (time >= start_ns - step_ns) & (time <= end_ns) & (pc.field("session") == session) & value.is_valid()
    points: list[PowerPoint] = []
    for channel in sorted((c for c in channels if c.counted), key=lambda c: c.name):
        own = (pc.field("channel") == channel.name) & (pc.field("quantity") == channel.quantity)
        readings = trace.filter(within & own).select(["time_ns", "value"]).sort_by("time_ns")
        if not len(readings):
            continue
        time_ns, values = (readings[name].to_numpy() for name in ("time_ns", "value"))
        step = np.maximum((time_ns - start_ns) // step_ns, 0)  # what was read just before belongs to the first
        last = np.flatnonzero(np.r_[step[1:] != step[:-1], True])  # reading of each step
        if channel.quantity == "energy_j":
            for i, j in pairwise(last.tolist()):
                is_gap = step[j] - step[i] > 1 or values[j] < values[i]
                power_w = None if is_gap else float(values[j] - values[i]) / ns_to_s(int(time_ns[j] - time_ns[i]))
                middle_ns = int(time_ns[i] + time_ns[j]) // 2
                points.append(_point(channel.name, middle_ns - start_ns + offset_ns, power_w))
        else:
            first = np.r_[0, last[:-1] + 1]
            means = np.add.reduceat(values, first) / (last - first + 1)
            for place, mean_w in zip(step[last].tolist(), means.tolist(), strict=True):
                points.append(_point(channel.name, place * step_ns + step_ns // 2 + offset_ns, mean_w))
    return points


def _point(channel: str, time_ns: int, power_w: float | None) -> PowerPoint:
    return PowerPoint(time_s=ns_to_s(time_ns), channel=channel, power_w=power_w)
