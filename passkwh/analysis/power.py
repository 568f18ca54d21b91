"""Power over a run's own time, with what the run was doing (figure 3.1 of the thesis)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import pandas as pd
import pyarrow as pa
from pydantic import Field

from passkwh.analysis.frames import Run, reading
from passkwh.harness.runs.folder import SAMPLES, TRACE
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
    trace = run.path / TRACE
    return timeline(_windows(run), trace if trace.is_file() else None, run.manifest.meter.channels, points)


def timeline(
    windows: Sequence[SessionWindow],
    trace: Path | pa.Table | None,
    channels: Sequence[ChannelInfo],
    points: int = POINTS,
) -> PowerTimeline:
    """Thin a trace (a Parquet file, or the table in memory; None where there is none) to about ``points`` mean powers a
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


def _windows(run: Run) -> list[SessionWindow]:
    own = [(w.session, w.kind, w.start_ns, w.end_ns) for session in run.manifest.sessions for w in session.windows]
    window = "STRUCT(session INTEGER, kind VARCHAR, start_ns BIGINT, end_ns BIGINT)"
    columns = {"generation": window, "evaluation": window}
    query = f"""
        SELECT DISTINCT w.session, w.kind, w.start_ns, w.end_ns FROM (
            SELECT unnest([generation, evaluation]) AS w
            FROM read_json($file, format = 'newline_delimited', columns = {columns!r})
        ) WHERE w IS NOT NULL
    """
    file = run.path / SAMPLES
    with reading(file) as connection:
        rows = connection.execute(query, {"file": str(file)}).fetchall()
    return [SessionWindow(*row) for row in (*own, *rows)]


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


_READINGS = """
SELECT channel, bin, last_ns, last_value, mean_value FROM (
    SELECT channel, quantity, (time_ns - $start) // $step AS bin, max(time_ns) AS last_ns,
        arg_max(value, time_ns) AS last_value, avg(value) AS mean_value
    FROM trace
    WHERE session = $session AND value IS NOT NULL AND time_ns BETWEEN $start - $step AND $end
    GROUP BY channel, quantity, bin
) JOIN counted USING (channel, quantity) ORDER BY channel, bin
"""


def _powers(
    trace: Path | pa.Table, channels: Sequence[ChannelInfo], session: int, span_ns: tuple[int, int, int], offset_ns: int
) -> list[PowerPoint]:
    start_ns, end_ns, step_ns = span_ns
    counted = [channel for channel in channels if channel.counted]
    columns = pd.DataFrame({"channel": [c.name for c in counted], "quantity": [c.quantity for c in counted]})
    counters = {c.name for c in counted if c.quantity == "energy_j"}
    with reading(trace if isinstance(trace, Path) else "the trace") as connection:
        connection.register("counted", columns)
        connection.register("trace", connection.read_parquet(str(trace)) if isinstance(trace, Path) else trace)
        values = {"session": session, "start": start_ns, "end": end_ns, "step": step_ns}
        rows = connection.execute(_READINGS, values).fetchall()
    points = []
    before: tuple[str, int, int, float] | None = None
    for channel, place, last_ns, last_value, mean_value in rows:
        follows = before is not None and before[0] == channel
        if channel not in counters:
            if place >= 0:
                middle_ns = start_ns + int(place) * step_ns + step_ns // 2
                points.append(_point(channel, middle_ns - start_ns + offset_ns, mean_value))
        elif follows and before is not None:
            gap = place - before[1] > 1 or last_value < before[3]
            power_w = None if gap else (last_value - before[3]) / ns_to_s(last_ns - before[2])
            points.append(_point(channel, (last_ns + before[2]) // 2 - start_ns + offset_ns, power_w))
        before = (channel, place, last_ns, last_value)
    return points


def _point(channel: str, time_ns: int, power_w: float | None) -> PowerPoint:
    return PowerPoint(time_s=ns_to_s(time_ns), channel=channel, power_w=power_w)
