"""When did a sensor refresh? Its period, and the moment of each change with its uncertainty, from the readings alone.

A change seen at a reading happened at some moment since the previous reading. Devices refresh on a nearly regular
beat, so the beat of the neighbours narrows that moment down: the more regular the device, the further.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from passkwh.harness.meter.series import Floats, Ints

NEIGHBOURS = 12
"""The beat at a change is fitted to so many changes on either side."""

LOCKABLE = 0.8
"""The beat can be followed where the period is at least this share of the usual spacing of readings."""

CLEAR_OF_POLLING = 1.5
"""From so many spacings on the moments of changes follow the sensor's beat and not that of the polling."""

SHARPEN_CHANGES = 64
"""A period is made more exact with so many changes."""

FOLLOW = 0.15
"""How far a follower of the beat moves towards each change."""

OFF_BEAT = 4.0
"""A change further off the beat than so many typical deviations is not part of it."""

JITTER_CHANGES = 2000
"""The jitter is found from so many changes."""

ROUNDS = 12
"""How often the jitter is improved; it comes down from the width of the intervals and is left rather too large."""

REFINEMENTS = 3
"""How often the beat of all changes is improved with the jitter known."""

SMALLEST_JITTER_S = 1e-4
"""No device is taken to be more regular than this."""

DENSE = 0.5
"""Readings closer together than this share of the usual spacing belong to a burst."""


@dataclass(frozen=True)
class Updates:
    """Moments at which the shown value changed, in order."""

    reading: Ints
    """Index of the first reading that showed the new value, shape (n,)."""
    time_s: Floats
    """Best estimate of the moment, shape (n,)."""
    variance_s2: Floats
    """Variance of that estimate that no other moment shares, shape (n,)."""
    shared_s2: Floats
    """Variance that neighbours share, because they were placed by the same beat, shape (n,)."""
    shared_for_s: float
    """Moments further apart than this share nothing; infinite for a perfectly regular beat."""
    period_s: float
    """Update period; NaN where too few changes were seen. Never below the closest spacing of readings."""


def find_updates(time_s: Floats, value: Floats) -> Updates:
    """Changes of ``value`` read at ``time_s`` (both shape (n,), times rising)."""
    changed = np.flatnonzero(np.diff(value) != 0) + 1
    high_s = time_s[changed]
    period_s = _period(time_s, changed)
    low_s = time_s[changed - 1]
    if np.isfinite(period_s):
        # A value that is refreshed more often than it is read is no older than its period.
        low_s = np.maximum(low_s, high_s - period_s)
    if not len(changed):
        return Updates(changed, high_s, np.zeros(0), np.zeros(0), 0.0, period_s)
    if len(changed) < 2 * NEIGHBOURS or period_s < LOCKABLE * float(np.median(np.diff(time_s))):
        middle_s, flat = (low_s + high_s) / 2, (high_s - low_s) ** 2 / 12
        return Updates(changed, middle_s, flat, np.zeros(len(changed)), 0.0, period_s)
    return Updates(changed, *_on_beat(low_s, high_s, period_s), period_s)


def _period(time_s: Floats, changed: Ints) -> float:
    """Update period: from all changes where the sensor is clearly slower than the readings, else from a burst.

    A recording begins with a burst, because a counter that is faster than the usual polling looks as slow as that.
    """
    if len(changed) < 2:
        return float("nan")
    spacing_s = np.diff(time_s)
    usual_s = float(np.median(spacing_s))
    gaps_s = np.diff(time_s[changed])
    slow_s = float(np.median(gaps_s))
    if slow_s > CLEAR_OF_POLLING * usual_s:
        return _sharpen(time_s[changed], slow_s)
    dense = np.r_[False, spacing_s < DENSE * usual_s]
    # Gaps between two changes with only close readings in between.
    sparse_before = np.cumsum(~dense)
    close_s = gaps_s[sparse_before[changed[1:]] == sparse_before[changed[:-1]]]
    if len(close_s) < 2:
        return slow_s
    # A gap of several periods (an update without a change) is left out of the mean.
    return float(np.mean(close_s[close_s < 1.5 * float(np.median(close_s))]))


def _on_beat(low_s: Floats, high_s: Floats, period_s: float) -> tuple[Floats, Floats, Floats, float]:
    """Each change in its interval, given the regular beat of its neighbours: mean, own and shared variance, reach."""
    from scipy.ndimage import maximum_filter1d, minimum_filter1d

    middle_s, width_s = (low_s + high_s) / 2, high_s - low_s
    flat = width_s**2 / 12
    beats = _count_beats(middle_s, period_s)
    first = slice(0, JITTER_CHANGES)
    spread_s2 = _jitter(beats[first], low_s[first], high_s[first])
    lines = _LocalLines(beats)
    fitted_s = lines.through(middle_s)
    for _ in range(REFINEMENTS):
        fitted_s = lines.through(_truncated(fitted_s, spread_s2**0.5, low_s, high_s)[0])
    # If the beat were perfectly regular it would pass through every interval: by so much it could still be moved.
    around = 2 * NEIGHBOURS + 1
    early_s = maximum_filter1d(low_s - fitted_s, around, mode="nearest")
    late_s = minimum_filter1d(high_s - fitted_s, around, mode="nearest")
    regular = late_s > early_s
    centre_s = fitted_s + np.where(regular, (early_s + late_s) / 2, 0.0)
    shared = np.where(regular, (late_s - early_s) ** 2 / 12, spread_s2 / (2 * NEIGHBOURS))
    mean_s, own = _truncated(centre_s, spread_s2**0.5, low_s, high_s)
    # A shift of the beat moves a change only as far as its interval lets it (for a truncated normal, by this factor).
    shared *= np.minimum(own / spread_s2, 1.0) ** 2
    reach_s = float("inf") if np.mean(regular) > 0.5 else 2 * NEIGHBOURS * period_s
    return mean_s, own, np.minimum(shared, flat), reach_s


def _jitter(beats: Floats, low_s: Floats, high_s: Floats) -> float:
    """Variance of the changes around their beat, in s^2.

    Expectation-maximisation for times that are only known by interval: the middles of the intervals alone would hide
    a jitter smaller than these. Changes far off the beat follow a pause or a gap and are left out.
    """
    middle_s = (low_s + high_s) / 2
    lines = _LocalLines(beats)
    fitted_s = lines.through(middle_s)
    spread_s2 = float(np.median((high_s - low_s) ** 2)) / 12
    usual = np.abs(middle_s - fitted_s) <= OFF_BEAT * (spread_s2 + float(np.median((middle_s - fitted_s) ** 2))) ** 0.5
    for _ in range(ROUNDS):
        mean_s, within_s2 = _truncated(fitted_s, spread_s2**0.5, low_s, high_s)
        fitted_s = lines.through(mean_s)
        spread_s2 = max(float(np.mean(((mean_s - fitted_s) ** 2 + within_s2)[usual])), SMALLEST_JITTER_S**2)
    return spread_s2


def _sharpen(changed_s: Floats, period_s: float) -> float:
    """The period near ``period_s`` that the first changes follow best: the peak of their periodogram."""
    at_s = changed_s[:SHARPEN_CHANGES] - changed_s[0]
    if len(at_s) < NEIGHBOURS:
        return period_s
    finest = period_s / (4 * SHARPEN_CHANGES)
    candidates = np.arange(0.75 * period_s, 1.25 * period_s, finest)
    strength = np.abs(np.exp(2j * np.pi * at_s / candidates[:, None]).sum(axis=1))
    return float(candidates[strength.argmax()])


def _count_beats(middle_s: Floats, period_s: float) -> Floats:
    """How many periods each change comes after the first: a follower that learns the beat as it goes.

    Several periods may pass between two changes: updates that were hidden by the resolution or not read in time.
    """
    counted: list[int] = []
    expected_s, step_s, kept, drift = float(middle_s[0]), period_s, 1 - FOLLOW, FOLLOW**2 / 2
    for moment_s in middle_s[1:].tolist():
        off_s = moment_s - expected_s - step_s
        # The next beat, in all but few cases; this loop is most of the time that finding updates takes.
        if off_s < 0.5 * step_s:
            counted.append(1)
            expected_s = moment_s - kept * off_s
            step_s += drift * off_s
        else:
            passed = round(off_s / step_s) + 1
            counted.append(passed)
            off_s -= (passed - 1) * step_s
            expected_s = moment_s - kept * off_s
            step_s += drift * off_s / passed
    return np.concatenate([[0.0], np.cumsum(np.array(counted, dtype=np.float64))])


class _LocalLines:
    """At each point of ``x`` the least-squares line through it and its neighbours on both sides."""

    def __init__(self, x: Floats) -> None:
        place = np.arange(len(x))
        self._first = np.maximum(place - NEIGHBOURS, 0)
        self._last = np.minimum(place + NEIGHBOURS + 1, len(x))
        self._x, self._mean_x = x, self._moving(x)
        self._off_x = x - self._mean_x
        self._spread = self._moving(x * x) - self._mean_x**2

    def through(self, y: Floats) -> Floats:
        """Where the lines through values at the points pass at each of them."""
        # Deviations from the overall line keep the running sums exact over long traces.
        x = self._x
        overall = y[0] + (y[-1] - y[0]) / (x[-1] - x[0]) * (x - x[0])
        off = y - overall
        mean_off = self._moving(off)
        with_x = self._moving(x * off) - self._mean_x * mean_off
        tilt = np.divide(with_x, self._spread, out=np.zeros_like(with_x), where=self._spread > 0)
        return np.asarray(overall + mean_off + tilt * self._off_x, dtype=np.float64)

    def _moving(self, values: Floats) -> Floats:
        total = np.concatenate([[0.0], np.cumsum(values)])
        return np.asarray((total[self._last] - total[self._first]) / (self._last - self._first), dtype=np.float64)


def _truncated(centre: Floats, spread: float, low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Mean and variance of a normal variable known to lie between ``low`` and ``high``."""
    from scipy.special import ndtr

    a, b = (low - centre) / spread, (high - centre) / spread
    mass = ndtr(b) - ndtr(a)
    density_a, density_b = (np.exp(-(z * z) / 2) / (2 * np.pi) ** 0.5 for z in (a, b))
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = (density_a - density_b) / mass
        shrink = 1 + (a * density_a - b * density_b) / mass - shift**2
    width = high - low
    # Far off the beat (a pause, a gap) the normal has no mass there: then only the interval is known.
    known = (mass > 1e-3) & np.isfinite(shift) & (shrink > 0)
    mean = np.where(known, centre + spread * shift, (low + high) / 2)
    variance = np.where(known, np.minimum(spread**2 * shrink, width**2 / 12), width**2 / 12)
    return np.clip(mean, low, high), variance
