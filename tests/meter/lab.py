"""Short names for experiments in the laboratory."""

from __future__ import annotations

from passkwh.harness.meter.simulated import PROFILES, Profile, SimulatedSensor
from passkwh.harness.meter.trace import Trace
from passkwh.records import ChannelInfo
from perf.laboratory import Experiment, clock_ns


def channel_info(kind: str = "energy_j", name: str = "lab") -> ChannelInfo:
    """A simulated channel's description."""
    return ChannelInfo.model_validate({"name": name, "provenance": "simulated", "source": "a test", "quantity": kind})


def polled(profile: Profile | str, duration_s: float) -> tuple[Trace, SimulatedSensor]:
    """Trace and truth of watching a device, given by its profile or the name of one."""
    experiment = Experiment(PROFILES[profile] if isinstance(profile, str) else profile, duration_s)
    return experiment.trace, experiment.sensor


def window_ns(start_s: float, end_s: float) -> tuple[int, int]:
    """A window of the laboratory's time as moments of its clock."""
    return clock_ns(start_s), clock_ns(end_s)


def truth_j(sensor: SimulatedSensor, start_s: float, end_s: float) -> float:
    """What the device really drew."""
    return float(sensor.shape.energy_j(end_s) - sensor.shape.energy_j(start_s))
