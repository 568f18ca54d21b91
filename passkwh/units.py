"""Units: every conversion between joules, kilowatt-hours, seconds and nanoseconds stands here and nowhere else."""

from __future__ import annotations

JOULES_PER_KWH = 3_600_000.0
NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


def joules_to_kwh(energy_j: float) -> float:
    """Energy in kilowatt-hours: 1 kWh is 3.6 MJ."""
    return energy_j / JOULES_PER_KWH


def kwh_to_joules(energy_kwh: float) -> float:
    """Energy in joules."""
    return energy_kwh * JOULES_PER_KWH


def ns_to_s(duration_ns: int) -> float:
    """Duration in seconds."""
    return duration_ns / NS_PER_S


def s_to_ns(duration_s: float) -> int:
    """Duration in whole nanoseconds, rounded to nearest."""
    return round(duration_s * NS_PER_S)
