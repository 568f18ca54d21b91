"""A simulated device whose truth is known: any power curve seen through any of the sensors met in the field.

``--meter simulated:PROFILE`` meters a run with it (every figure is then called simulated); the tests and
``perf/metering.py`` measure the meter with it. A profile is a name, optionally followed by changes, for example
``simulated:counter-100ms,jitter=0.02,lost=30``.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np

from passkwh.errors import UsageError
from passkwh.harness.meter.base import Channel, Meter, Reading
from passkwh.harness.meter.series import Floats
from passkwh.harness.meter.unwrap import Unwrap
from passkwh.records import ChannelInfo

INSTANT_S = 0.01
"""What an instantaneous power sensor averages over."""

WORK = ((0.0, 60.0), (4.0, 60.0), (4.0, 240.0), (5.5, 300.0), (5.5, 210.0), (9.0, 215.0), (9.0, 60.0), (11.0, 60.0))
"""Idle at 60 W, a prefill peak, a decode plateau, idle again; repeats every 11 s. Seconds and watts."""


@dataclass(frozen=True)
class Profile:
    """A device and its sensor. Times are seconds since the channel was opened."""

    kind: Literal["energy_j", "power_w", "power_1s_w"] = "energy_j"
    period: float = 0.1
    """Time between two updates of the sensor; 0 is continuous."""
    jitter: float = 0.0
    """Each update comes earlier or later by up to this."""
    resolution: float = 0.001
    """Readings are whole multiples of this (joules or watts), rounded down."""
    wrap: float = 0.0
    """The counter starts again at 0 after this many joules; 0 is never."""
    reset: float = -1.0
    """At this time the counter starts again at 0, as after a driver reload; negative is never."""
    dropout: tuple[float, float] = (-1.0, -1.0)
    """From ... to: readings fail."""
    lost: float = -1.0
    """From this time on every reading fails: the device fell off the bus; negative is never."""
    curve: tuple[tuple[float, float], ...] = WORK
    """Power through points (seconds, watts), repeating."""
    seed: int = 0


PROFILES = {
    "steady": Profile(curve=((0.0, 100.0), (1.0, 100.0)), period=0.02),
    "counter-20ms": Profile(period=0.02, jitter=0.004),
    "counter-50ms": Profile(period=0.05, jitter=0.01),
    "counter-100ms": Profile(period=0.1, jitter=0.02),
    "counter-1j": Profile(period=0.05, jitter=0.01, resolution=1.0),
    "power": Profile(kind="power_w", period=0.02),
    "power-1s": Profile(kind="power_1s_w", period=0.1),
    "rapl-wrap": Profile(period=0.001, resolution=15.3e-6, wrap=1000.0),
    "reset": Profile(reset=20.0),
    "dropout": Profile(dropout=(10.0, 13.0)),
    "lost": Profile(lost=20.0),
}


class PowerShape:
    """A known power: through points (seconds, watts), straight between them, repeating; a step is a repeated time."""

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        times, powers = (np.array(column, dtype=np.float64) for column in zip(*points, strict=True))
        if times[0] != 0 or times[-1] <= 0 or np.any(np.diff(times) < 0):
            raise ValueError("a power curve starts at 0 s, ends later and never goes back in time")
        self._times: Floats = times
        self._powers: Floats = powers
        self._energies: Floats = np.r_[0.0, np.cumsum(np.diff(times) * (powers[1:] + powers[:-1]) / 2)]

    def energy_j(self, time_s: Floats | float) -> Floats:
        """Exact energy from 0 to ``time_s``."""
        rounds, within = np.divmod(np.asarray(time_s, dtype=np.float64), self._times[-1])
        right = np.clip(np.searchsorted(self._times, within, side="right"), 1, len(self._times) - 1)
        left = right - 1
        span = self._times[right] - self._times[left]
        since = within - self._times[left]
        slope = np.divide(self._powers[right] - self._powers[left], span, out=np.zeros_like(span), where=span > 0)
        part = self._energies[left] + self._powers[left] * since + slope * since**2 / 2
        return np.asarray(rounds * self._energies[-1] + part, dtype=np.float64)

    def mean_w(self, start_s: Floats | float, end_s: Floats | float) -> Floats:
        """Mean power between two times that differ."""
        return np.asarray(
            (self.energy_j(end_s) - self.energy_j(start_s)) / (np.asarray(end_s) - np.asarray(start_s)), np.float64
        )


class SimulatedSensor:
    """What the device's driver would answer at any time."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.shape = PowerShape(profile.curve)

    def values(self, time_s: Floats) -> Floats:
        """Readings at ``time_s`` (float64, any shape) without faults: joules or watts as the sensor shows them."""
        profile = self.profile
        at_s = self._last_update(time_s)
        if profile.kind == "energy_j":
            shown = self.shape.energy_j(at_s)
            if profile.reset >= 0:
                shown = np.where(at_s >= profile.reset, shown - self.shape.energy_j(profile.reset), shown)
        else:
            span_s = 1.0 if profile.kind == "power_1s_w" else INSTANT_S
            shown = self.shape.mean_w(at_s - span_s, at_s)
        if profile.resolution > 0:
            shown = np.floor(shown / profile.resolution + 1e-9) * profile.resolution
        return np.asarray(np.mod(shown, profile.wrap) if profile.wrap > 0 else shown, dtype=np.float64)

    def fault(self, time_s: float) -> str | None:
        """Why a reading at ``time_s`` fails, or None."""
        profile = self.profile
        if 0 <= profile.lost <= time_s:
            return "the device is lost (simulated)"
        if profile.dropout[0] <= time_s < profile.dropout[1]:
            return "the driver did not answer (simulated)"
        return None

    def _last_update(self, time_s: Floats) -> Floats:
        period_s = self.profile.period
        if period_s <= 0:
            return time_s
        newest = np.floor(time_s / period_s) + 1
        candidates = [update * period_s + self._jitter(update) for update in (newest, newest - 1, newest - 2)]
        return np.where(
            candidates[0] <= time_s, candidates[0], np.where(candidates[1] <= time_s, candidates[1], candidates[2])
        )

    def _jitter(self, update: Floats) -> Floats:
        """Uniform in +-jitter, always the same for the same update: a hash (splitmix64) of its number."""
        with np.errstate(over="ignore"):
            mixed = (update.astype(np.int64).astype(np.uint64) + np.uint64(self.profile.seed)) * np.uint64(
                0x9E3779B97F4A7C15
            )
            mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        share = (mixed ^ (mixed >> np.uint64(31))).astype(np.float64) / 2.0**64
        return (2 * share - 1) * self.profile.jitter


class SimulatedChannel(Channel):
    """A simulated device as a channel; ``clock`` counts nanoseconds and starts the device's time when opened."""

    def __init__(self, name: str, profile: Profile, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.sensor = SimulatedSensor(profile)
        self._clock = clock
        self._opened_ns = clock()
        self._unwrap = Unwrap(profile.wrap if profile.wrap > 0 else None)
        self.info = ChannelInfo(
            name=f"simulated:{name}",
            provenance="simulated",
            source="a simulated device: invented readings, not this machine's energy",
            quantity=profile.kind,
            scope="external",
        )

    def read(self) -> list[Reading]:
        """The sensor's value now, unwrapped, or why there is none."""
        now_s = (self._clock() - self._opened_ns) / 1e9
        reason = self.sensor.fault(now_s)
        kind = self.sensor.profile.kind
        if reason:
            return [Reading(kind, None, reason)]
        value = float(self.sensor.values(np.array(now_s)))
        return [Reading(kind, self._unwrap(value, now_s) if kind == "energy_j" else value)]


def open_simulated(argument: str) -> list[Channel]:
    """The registry's ``simulated[:PROFILE[,KEY=VALUE...]]``; ``steady`` (100 W) when no profile is named."""
    name, *changes = argument.split(",") if argument else ["steady"]
    if name not in PROFILES:
        close = difflib.get_close_matches(name, PROFILES, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(PROFILES)}"
        raise UsageError(f"no simulated profile {name!r}: {hint}")
    profile = PROFILES[name]
    for change in changes:
        profile = _changed(profile, change)
    try:
        return [SimulatedChannel(name, profile)]
    except ValueError as error:
        raise UsageError(f"simulated profile {argument!r}: {error}") from error


def _changed(profile: Profile, change: str) -> Profile:
    key, equals, text = change.partition("=")
    numeric = [field.name for field in fields(Profile) if field.name not in {"kind", "dropout", "curve"}]
    if not equals or key not in numeric:
        raise UsageError(
            f"cannot change {change!r} of a simulated profile: write KEY=NUMBER with one of {', '.join(numeric)}"
        )
    try:
        number = float(text)
    except ValueError as error:
        raise UsageError(f"simulated profile: {key} must be a number, not {text!r}") from error
    changed: Profile = replace(profile, **{key: int(number) if key == "seed" else number})  # type: ignore[arg-type]
    return changed


METER = Meter("simulated[:PROFILE]", "invented readings, for tests and tries", open_simulated, exclusive=False)
