"""A simulated device polled on paper: the trace that the recorder would have written, without waiting for it."""

from __future__ import annotations

import numpy as np

from passkwh.harness.meter.recorder import BURST_INTERVAL_S, BURST_S, DITHER, GOLDEN
from passkwh.harness.meter.series import Series
from passkwh.harness.meter.simulated import PROFILES, Profile, SimulatedSensor
from passkwh.harness.meter.trace import Trace
from passkwh.harness.meter.unwrap import Unwrap
from passkwh.records import ChannelInfo

EPOCH_NS = 5_000_000_000_000_000
"""A monotonic clock that has run for months: its nanoseconds are too large to be exact as floats."""


def channel_info(kind: str = "energy_j", name: str = "lab") -> ChannelInfo:
    """A simulated channel's description."""
    return ChannelInfo.model_validate({"name": name, "provenance": "simulated", "source": "a test", "quantity": kind})


def polled(
    profile: Profile | str, duration_s: float, interval_s: float = 0.02, late_s: float = 0.002, seed: int = 1
) -> tuple[Trace, SimulatedSensor]:
    """A trace of ``duration_s`` of a simulated device, read as the recorder does, each up to ``late_s`` late."""
    profile = PROFILES[profile] if isinstance(profile, str) else profile
    sensor = SimulatedSensor(profile)
    generator = np.random.default_rng(seed)
    turns = np.arange(int(BURST_S / interval_s) + 1, int(duration_s / interval_s))
    time_s = np.r_[np.arange(0.0, BURST_S, BURST_INTERVAL_S), (turns + turns * GOLDEN % 1.0 * DITHER) * interval_s]
    time_s += generator.uniform(0.0, np.r_[np.zeros(np.argmax(time_s >= BURST_S)), np.full(len(turns), late_s)])
    time_ns = np.rint(time_s * 1e9).astype(np.int64)
    shown = sensor.values(time_ns / 1e9)
    if profile.kind == "energy_j":
        unwrap = Unwrap(profile.wrap if profile.wrap > 0 else None)
        shown = np.array([unwrap(float(value), float(at)) for value, at in zip(shown, time_s, strict=True)])
    faults = {index: reason for index, moment in enumerate(time_s) if (reason := sensor.fault(float(moment)))}
    shown[list(faults)] = np.nan
    series = Series(
        time_ns + EPOCH_NS, shown, {int(time_ns[index]) + EPOCH_NS: reason for index, reason in faults.items()}
    )
    return Trace([channel_info(profile.kind)], {(0, "lab", profile.kind): series}), sensor


def window_ns(start_s: float, end_s: float) -> tuple[int, int]:
    """A window of the lab's time as moments of its clock."""
    return EPOCH_NS + round(start_s * 1e9), EPOCH_NS + round(end_s * 1e9)


def truth_j(sensor: SimulatedSensor, start_s: float, end_s: float) -> float:
    """What the device really drew."""
    return float(sensor.shape.energy_j(end_s) - sensor.shape.energy_j(start_s))
