"""In what state was the machine? Temperature, throttling, and whether the idle baseline held."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from passkwh.harness.meter.trace import Trace
from passkwh.records import IdleBaseline

DRIFT = 0.02
"""A change of idle power between start and end is reported when it moves net energy by more of gross than this."""

CLEAR = 3.0
"""... if the change is also more than so many of its standard errors."""

WARMING_C = 10.0
"""A device that warmed by more than this while it was measured had not reached its steady state."""

THROTTLING = {
    0x4: "power limit",
    0x8: "hardware slowdown",
    0x20: "temperature (software)",
    0x40: "temperature (hardware)",
    0x80: "power brake",
}
"""NVML's reasons for lower clocks that change what a measurement means; idle and chosen clocks are none of them."""


@dataclass(frozen=True)
class Drift:
    """Change of a channel's idle power over a run."""

    channel: str
    before_w: float
    after_w: float
    se_w: float

    @property
    def change_w(self) -> float:
        """Idle power after less before."""
        return self.after_w - self.before_w

    def warning(self, metered_s: float, gross_j: float) -> str | None:
        """What to tell the user where the baseline moved enough to matter over ``metered_s`` that cost ``gross_j``."""
        doubt = abs(self.change_w) * metered_s / gross_j if gross_j > 0 else 0.0
        if doubt <= DRIFT or abs(self.change_w) <= CLEAR * self.se_w:
            return None
        return (
            f"{self.channel}: idle power went from {self.before_w:.2f} W to {self.after_w:.2f} W, moving net energy by "
            f"{doubt:.0%} of gross (threshold {DRIFT:.0%}): compare 'bench analyze --idle before' with '--idle mean'"
        )


def drift(before: IdleBaseline, after: IdleBaseline) -> Drift | None:
    """The change between two baselines of one channel, or None where either is missing."""
    if before.mean_w is None or after.mean_w is None:
        return None
    se_w = float(np.hypot(before.se_w or 0.0, after.se_w or 0.0))
    return Drift(before.channel, before.mean_w, after.mean_w, se_w)


@dataclass(frozen=True)
class Thermal:
    """Temperature and throttling of one channel over a stretch of time."""

    channel: str
    start_c: float
    end_c: float
    highest_c: float
    throttled: dict[str, float]
    """Share of the readings in which clocks were held back, by reason; empty when they never were."""

    def notes(self) -> list[str]:
        """What a reader of the run must know, with what to do about it."""
        notes = []
        if self.end_c - self.start_c > WARMING_C:
            notes.append(
                f"{self.channel}: warmed from {self.start_c:.0f} to {self.end_c:.0f} °C while measured (threshold "
                f"{WARMING_C:.0f} °C): a hotter chip draws more; warm up longer or repeat with --repeats"
            )
        for reason, share in sorted(self.throttled.items()):
            notes.append(
                f"{self.channel}: clocks were held back by {reason} in {share:.0%} of the readings: runs at other "
                "limits are not comparable; see power limit and cooling with 'bench doctor'"
            )
        return notes


def thermal(trace: Trace, channel: str, session: int, start_ns: int, end_ns: int) -> Thermal | None:
    """Temperature at start, end and highest, and throttling, or None where the channel has no temperature."""
    series = trace.series(channel, "temperature_c", session)
    if series is None:
        return None
    time_ns, celsius = series.valid()
    inside = celsius[(time_ns >= start_ns) & (time_ns <= end_ns)]
    if not len(inside):
        return None
    throttled = {}
    reasons = trace.series(channel, "throttle_reasons", session)
    if reasons is not None:
        time_ns, value = reasons.valid()
        masks = value[(time_ns >= start_ns) & (time_ns <= end_ns)].astype(np.int64)
        shares = {reason: float(np.mean(masks & bit != 0)) for bit, reason in THROTTLING.items()} if len(masks) else {}
        throttled = {reason: share for reason, share in shares.items() if share > 0}
    return Thermal(channel, float(inside[0]), float(inside[-1]), float(inside.max()), throttled)
