"""Energy from power readings: the integral, with the sensor's averaging taken back where it is known.

A sensor that is refreshed less often than it is read shows a staircase: what counts are the moments of its updates,
between which power runs straight. One that reports the mean of the last second is first turned back into the power
that gives those means (:mod:`~passkwh.harness.meter.deconvolve`).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from passkwh.harness.meter.series import Floats, Ints, Series, Windows, seconds
from passkwh.harness.meter.updates import find_updates

LONG_GAP_S = 0.5
"""A stretch without a reading longer than this (or five readings) leaves the integral unknown."""


TELLING_CHANGES = 10
"""With fewer changes it cannot be told whether each update changes the value."""


class Integral(Protocol):
    """Energy between pairs of moments of a continuous stretch of readings (seconds of the series), with its error."""

    def over(self, start_s: Floats, end_s: Floats) -> tuple[Floats, Floats]: ...


class PowerCurve:
    """Energy over time of one power sensor in one session."""

    def __init__(self, series: Series, averaged: bool) -> None:
        self._series = series
        time_ns, power_w = series.valid()
        self._zero_ns = int(time_ns[0]) if len(time_ns) else 0
        self._time_s = seconds(time_ns, self._zero_ns)
        updates = find_updates(self._time_s, power_w) if len(time_ns) else None
        self.period_s = updates.period_s if updates is not None else float("nan")
        spacing_s = np.diff(self._time_s)
        usual_s = float(np.median(spacing_s)) if len(spacing_s) else 0.0
        self._limit_s = max(LONG_GAP_S, 5 * usual_s)
        self._starts = np.r_[0, np.flatnonzero(spacing_s > self._limit_s) + 1]
        self._power_w, self._averaged = power_w, averaged
        self._integrals: dict[int, Integral] = {}

    def over(self, start_ns: Ints, end_ns: Ints) -> Windows:
        """Energies of windows."""
        energies = Windows.missing(len(start_ns))
        if len(self._time_s) < 2:
            for i, (first_ns, last_ns) in enumerate(zip(start_ns.tolist(), end_ns.tolist(), strict=True)):
                energies.reasons[i] = self._series.why_missing(first_ns, last_ns)
            return energies
        start_s, end_s = seconds(start_ns, self._zero_ns), seconds(end_ns, self._zero_ns)
        first_s, limit_s = self._time_s[self._starts], self._limit_s
        last_s = self._time_s[np.r_[self._starts[1:], len(self._time_s)] - 1]
        # A moment just outside the readings (by less than counts as a gap) belongs to the nearest stretch.
        part = np.maximum(np.searchsorted(first_s, start_s + limit_s, side="right") - 1, 0)
        outside = (start_s < first_s[part] - limit_s) | (end_s > last_s[part] + limit_s)
        strict = np.maximum(np.searchsorted(first_s, start_s, side="right") - 1, 0)
        part = np.where(outside, strict, part)
        early, late = start_s < first_s[part] - limit_s, end_s > last_s[part] + limit_s
        for i in np.flatnonzero(early | late).tolist():
            if early[i]:
                why = self._series.why_missing(int(start_ns[i]), int(end_ns[i]))
                energies.reasons[i] = f"no power reading yet: {why}"
            else:
                gap_ns = self._zero_ns + int(last_s[part[i]] * 1e9)
                why = self._series.why_missing(gap_ns, int(end_ns[i]))
                energies.reasons[i] = f"power readings stop within the window: {why}"
        for number in np.unique(part[~(early | late)]).tolist():
            windows = np.flatnonzero(~(early | late) & (part == number))
            first, stop = self._part(number)
            if stop - first < 2:
                energies.reasons.update(dict.fromkeys(windows.tolist(), "a single power reading"))
                continue
            integral = self._integral(number)
            energies.energy_j[windows], energies.se_j[windows] = integral.over(start_s[windows], end_s[windows])
        return energies

    def _part(self, part: int) -> tuple[int, int]:
        """First and one past the last reading of a stretch without gaps."""
        stop = int(self._starts[part + 1]) if part + 1 < len(self._starts) else len(self._time_s)
        return int(self._starts[part]), stop

    def _integral(self, part: int) -> Integral:
        if part not in self._integrals:
            first, stop = self._part(part)
            time_s, power_w = self._time_s[first:stop], self._power_w[first:stop]
            if self._averaged:
                from passkwh.harness.meter.deconvolve import Deconvolved

                self._integrals[part] = Deconvolved(time_s, power_w)
            else:
                self._integrals[part] = Staircase(time_s, power_w)
        return self._integrals[part]


class Staircase:
    """Straight lines between the updates of a sensor that shows power as it is."""

    def __init__(self, time_s: Floats, power_w: Floats) -> None:
        self._time_s, self._power_w = _update_points(time_s, power_w)
        width_s = np.diff(self._time_s)
        self._energy_j = np.r_[0.0, np.cumsum((self._power_w[1:] + self._power_w[:-1]) / 2 * width_s)]
        # Between two updates the power may have gone from one value to the next at any moment, all equally likely:
        # the straight line is then the mean, and this the variance.
        self._spread = (np.diff(self._power_w) * width_s) ** 2
        self._variance = np.r_[0.0, np.cumsum(self._spread / 12)]

    def over(self, start_s: Floats, end_s: Floats) -> tuple[Floats, Floats]:
        """Energies and standard errors between pairs of moments; power beyond the ends stays as it was there."""
        (left, start_share), (right, end_share) = self._place(start_s), self._place(end_s)
        energy_j = self._at(end_s) - self._at(start_s)
        width = end_share - start_share
        within = self._spread[left] * np.where((width >= 0) & (width <= 1), width**2 / 12, 0.0)
        across = self._variance[right] - self._variance[np.minimum(left + 1, len(self._variance) - 1)]
        across += self._spread[left] * _part_variance(1 - start_share)
        across += self._spread[np.minimum(right, len(self._spread) - 1)] * _part_variance(end_share)
        return energy_j, np.maximum(np.where(left == right, within, across), 0.0) ** 0.5

    def _place(self, moment_s: Floats) -> tuple[Ints, Floats]:
        """Interval of each moment and how far it is through it, 0 to 1."""
        left = np.clip(np.searchsorted(self._time_s, moment_s, side="right") - 1, 0, len(self._time_s) - 2)
        width_s = self._time_s[left + 1] - self._time_s[left]
        share = np.divide(moment_s - self._time_s[left], width_s, out=np.zeros(len(left)), where=width_s > 0)
        return left, np.clip(share, 0.0, 1.0)

    def _at(self, moment_s: Floats) -> Floats:
        """Energy since the first update."""
        time_s, power_w = self._time_s, self._power_w
        left, share = self._place(moment_s)
        mean_w = power_w[left] + (power_w[left + 1] - power_w[left]) * share / 2
        inside_j = self._energy_j[left] + mean_w * (moment_s - time_s[left])
        before_j = (moment_s - time_s[0]) * power_w[0]
        after_j = self._energy_j[-1] + (moment_s - time_s[-1]) * power_w[-1]
        return np.where(moment_s <= time_s[0], before_j, np.where(moment_s >= time_s[-1], after_j, inside_j))


def _part_variance(share: Floats) -> Floats:
    """Variance of the energy of the first ``share`` of an interval with one power step at a random moment in it.

    In units of (step x width)^2: the energy is ``max(0, share - x)`` with x uniform on 0..1.
    """
    return np.asarray(share**3 / 3 - share**4 / 4, np.float64)


def _update_points(time_s: Floats, power_w: Floats) -> tuple[Floats, Floats]:
    """Moments of a sensor's updates and the power at each, from readings that repeat it until the next."""
    updates = find_updates(time_s, power_w)
    changed = updates.reading
    if len(changed) >= TELLING_CHANGES and len(np.unique(power_w[changed])) > len(changed) / 2:
        # Hardly a value comes twice: then every update changes the value, and the beat is known.
        at_s = np.maximum.accumulate(updates.time_s)
        hold_s = at_s - updates.period_s
    else:
        # A few values come again and again: most updates repeat them, and only the readings themselves are certain.
        at_s, hold_s = time_s[changed], time_s[changed - 1]
    before_s, before_w = np.r_[time_s[0], at_s], np.r_[power_w[0], power_w[changed]]
    # The value was still the old one at the update before the change, where that was not itself a change.
    held = hold_s > before_s[:-1] + (at_s - hold_s) / 2
    points_s = np.r_[before_s, hold_s[held]]
    points_w = np.r_[before_w, before_w[:-1][held]]
    order = np.argsort(points_s, kind="stable")
    end_s = max(float(time_s[-1]), float(points_s.max()))
    return np.r_[points_s[order], end_s], np.r_[points_w[order], power_w[-1]]
