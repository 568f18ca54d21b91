"""A simulated device polled on paper: the trace that the recorder would have written, without waiting for it."""

from __future__ import annotations

import numpy as np

from passkwh.harness.meter.recorder import BURST_INTERVAL_S, BURST_S, DITHER, GOLDEN
from passkwh.harness.meter.series import Ints, Series
from passkwh.harness.meter.simulated import Profile, SimulatedSensor
from passkwh.harness.meter.trace import Trace
from passkwh.harness.meter.unwrap import Unwrap
from passkwh.records import ChannelInfo
from passkwh.units import s_to_ns

CHANNEL = "lab"
EPOCH_NS = 5_000_000_000_000_000
"""A monotonic clock that has run for months: its nanoseconds are too large to be exact as floats."""


class Experiment:
    """A device with a known truth and the trace of watching it for ``duration_s`` (times from 0 on, in s)."""

    def __init__(
        self, profile: Profile, duration_s: float, interval_s: float = 0.02, late_s: float = 0.002, seed: int = 1
    ) -> None:
        self.sensor = SimulatedSensor(profile)
        self.series = _polled(self.sensor, _moments(duration_s, interval_s, late_s, seed))
        info = ChannelInfo.model_validate(
            {"name": CHANNEL, "provenance": "simulated", "source": "a laboratory", "quantity": profile.kind}
        )
        self.trace = Trace([info], {(0, CHANNEL, profile.kind): self.series})

    def truth_j(self, start_s: float, end_s: float) -> float:
        """What the device really drew."""
        return float(self.sensor.shape.energy_j(end_s) - self.sensor.shape.energy_j(start_s))


def clock_ns(time_s: float) -> int:
    """A time of the experiment on its trace's clock."""
    return EPOCH_NS + s_to_ns(time_s)


def _moments(duration_s: float, interval_s: float, late_s: float, seed: int) -> Ints:
    """When the recorder reads: a burst, then dithered turns, each up to ``late_s`` late. Nanoseconds from 0."""
    burst = np.arange(0.0, BURST_S, BURST_INTERVAL_S)
    turns = np.arange(int(BURST_S / interval_s) + 1, int(duration_s / interval_s))
    regular = (turns + turns * GOLDEN % 1.0 * DITHER) * interval_s
    regular += np.random.default_rng(seed).uniform(0.0, late_s, len(turns))
    return np.asarray(np.rint(np.r_[burst, np.sort(regular)] * 1e9), dtype=np.int64)


def _polled(sensor: SimulatedSensor, time_ns: Ints) -> Series:
    profile, time_s = sensor.profile, time_ns / 1e9
    shown = sensor.values(time_s)
    if profile.kind == "energy_j":
        unwrap = Unwrap(profile.wrap if profile.wrap > 0 else None)
        shown = np.array([unwrap(float(value), float(at)) for value, at in zip(shown, time_s, strict=True)])
    faults = {index: reason for index, moment in enumerate(time_s) if (reason := sensor.fault(float(moment)))}
    shown[list(faults)] = np.nan
    reasons = {int(time_ns[index]) + EPOCH_NS: reason for index, reason in faults.items()}
    return Series(time_ns + EPOCH_NS, shown, reasons)
