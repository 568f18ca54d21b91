"""What can each channel tell, and how well? Measured for some seconds each: the numbers of ``bench doctor --meter``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from passkwh.harness.meter.base import Channel
from passkwh.harness.meter.counter import resolution_of
from passkwh.harness.meter.recorder import Recorder
from passkwh.harness.meter.series import Series
from passkwh.harness.meter.series import seconds as seconds_after
from passkwh.harness.meter.trace import Trace
from passkwh.harness.meter.updates import find_updates
from passkwh.records import Window

CLOSE_INTERVAL_S = 0.002
"""At first readings come this close, so that update periods down to a few milliseconds are seen."""

CLOSE_SHARE = 0.4
"""Share of the time for that; power is found from the rest, because close reading itself costs power."""

COST_READINGS = 200

NOISE_BLOCK_S = 0.5
"""Noise is the scatter of the mean power over blocks of this length."""


@dataclass(frozen=True)
class ChannelProbe:
    """One channel as found in some seconds of doing nothing else; None where it could not be found, see ``missing``."""

    name: str
    provenance: str
    quantity: str
    update_period_s: float | None
    """Time between two updates of the value; about the closest readings where it is faster than those."""
    resolution: float | None
    """Smallest step of the value, in joules (counter) or watts (power)."""
    power_w: float | None
    """Mean power over the probe: the idle power, if the machine was idle."""
    power_se_w: float | None
    noise_w: float | None
    """Standard deviation of the mean power over blocks of half a second."""
    read_cost_us: float
    """CPU time of one reading."""
    failed: float
    """Share of readings that failed."""
    missing: tuple[str, ...]
    """What this channel does not offer, in words."""


def probe(channels: Sequence[Channel], seconds: float) -> list[ChannelProbe]:
    """Measure each channel for ``seconds`` (at least one); the channels stay open."""
    costs_us = [_cost_us(channel) for channel in channels]
    seconds = max(seconds, 1.0)
    tables: list[pa.Table] = []
    with Recorder(channels, tables.append, session=0, interval_s=CLOSE_INTERVAL_S):
        time.sleep(CLOSE_SHARE * seconds)
    with Recorder(channels, tables.append, session=1) as recorder:
        start_ns = recorder.mark()
        time.sleep((1 - CLOSE_SHARE) * seconds)
        end_ns = recorder.mark()
    trace = Trace.from_table(pa.concat_tables(tables), [channel.info for channel in channels])
    window = Window(kind="idle_before", session=1, start_ns=start_ns, end_ns=end_ns)
    return [_probe(trace, channel, window, cost_us) for channel, cost_us in zip(channels, costs_us, strict=True)]


def _probe(trace: Trace, channel: Channel, window: Window, cost_us: float) -> ChannelProbe:
    info = channel.info
    series = trace.series(info.name, info.quantity, 0)
    idle = trace.idle(info.name, window)
    period_s = resolution = None
    failed = 1.0
    if series is not None:
        period_s, resolution = _updates(series)
        failed = float(np.mean(~np.isfinite(series.value)))
    missing = [] if idle.mean_w is not None else [f"power: {idle.reason}"]
    if period_s is None:
        missing.append("update period: fewer than two updates were seen")
    if info.provenance == "measured":
        for quantity, name in (("temperature_c", "temperature"), ("throttle_reasons", "throttle reasons")):
            if trace.series(info.name, quantity, 0) is None:
                missing.append(name)
    return ChannelProbe(
        name=info.name,
        provenance=info.provenance,
        quantity=info.quantity,
        update_period_s=period_s,
        resolution=resolution,
        power_w=idle.mean_w,
        power_se_w=idle.se_w,
        noise_w=_noise_w(trace, info.name, window),
        read_cost_us=cost_us,
        failed=failed,
        missing=tuple(missing),
    )


def _updates(series: Series) -> tuple[float | None, float | None]:
    """Update period in s and smallest step of the value; None where fewer than two updates were seen."""
    time_ns, value = series.valid()
    if len(value) < 3:
        return None, None
    updates = find_updates(seconds_after(time_ns, int(time_ns[0])), value)
    if not np.isfinite(updates.period_s):
        return None, None
    return updates.period_s, resolution_of(np.diff(value))


def _noise_w(trace: Trace, channel: str, window: Window) -> float | None:
    edges = np.arange(window.start_ns, window.end_ns, int(NOISE_BLOCK_S * 1e9))
    blocks = [
        trace.energy(channel, window.session, int(start_ns), int(start_ns) + int(NOISE_BLOCK_S * 1e9)).gross_j
        for start_ns in edges[:-1]
    ]
    powers_w = [block / NOISE_BLOCK_S for block in blocks if block is not None]
    return float(np.std(powers_w, ddof=1)) if len(powers_w) > 1 else None


def _cost_us(channel: Channel) -> float:
    """CPU time of one reading of this thread, in microseconds."""
    channel.read()
    start_ns = time.thread_time_ns()
    for _ in range(COST_READINGS):
        channel.read()
    return (time.thread_time_ns() - start_ns) / COST_READINGS / 1e3
