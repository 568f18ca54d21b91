"""Energy from power readings: the integral, with the sensor's averaging taken back where it is known.

An instantaneous sensor is integrated as straight lines between its readings. One that reports the mean of the last
second shows every change half a second late, on average: its readings are moved forward by half a second first.
"""

from __future__ import annotations

import numpy as np

from passkwh.harness.meter.series import Joules, Missing, Series, seconds

AVERAGING_S = 1.0
"""Length of the running average behind ``power_1s_w`` (NVML on Ampere and newer)."""

LONG_GAP_S = 0.5
"""A stretch without a reading longer than this (or five readings) leaves the integral unknown."""


class PowerCurve:
    """Energy over time of one power sensor in one session."""

    def __init__(self, series: Series, averaged: bool) -> None:
        self._series = series
        time_ns, self._power_w = series.valid()
        self._zero_ns = int(time_ns[0]) if len(time_ns) else 0
        self.lag_s = AVERAGING_S / 2 if averaged else 0.0
        self._time_s = seconds(time_ns, self._zero_ns) - self.lag_s
        spacing_s = np.diff(self._time_s)
        self._limit_s = max(LONG_GAP_S, 5 * float(np.median(spacing_s))) if len(spacing_s) else LONG_GAP_S
        mean_w = (self._power_w[1:] + self._power_w[:-1]) / 2
        self._energy_j = np.r_[0.0, np.cumsum(mean_w * spacing_s)]
        # Between two readings the power may have changed at any moment.
        self._variance = np.r_[0.0, np.cumsum((np.diff(self._power_w) * spacing_s) ** 2 / 12)]

    def between(self, start_ns: int, end_ns: int) -> Joules | Missing:
        """Energy drawn from ``start_ns`` to ``end_ns``, or why it cannot be known."""
        start_s, end_s = float(seconds(start_ns, self._zero_ns)), float(seconds(end_ns, self._zero_ns))
        time_s = self._time_s
        if len(time_s) < 2:
            return Missing(self._series.why_missing(start_ns, end_ns))
        if start_s < time_s[0] - self._limit_s or end_s > time_s[-1] + self._limit_s:
            return Missing("the window reaches beyond the readings")
        first = max(int(np.searchsorted(time_s, start_s)) - 1, 0)
        last = min(int(np.searchsorted(time_s, end_s)) + 1, len(time_s))
        gaps_s = np.diff(time_s[first:last])
        if len(gaps_s) and gaps_s.max() > self._limit_s:
            at = first + int(gaps_s.argmax())
            lag_ns = int(self.lag_s * 1e9)
            gap_start_ns, gap_end_ns = (self._zero_ns + lag_ns + int(time_s[k] * 1e9) for k in (at, at + 1))
            why = self._series.why_missing(gap_start_ns, gap_end_ns)
            return Missing(f"no power reading for {gaps_s.max():.2f} s of the window: {why}")
        energy_j = self._at(end_s) - self._at(start_s)
        variance = float(np.interp(end_s, time_s, self._variance) - np.interp(start_s, time_s, self._variance))
        return Joules(energy_j, max(variance, 0.0) ** 0.5)

    def _at(self, moment_s: float) -> float:
        """Energy since the first reading at a moment, with constant power beyond the first and last reading."""
        time_s = self._time_s
        if moment_s <= time_s[0]:
            return float((moment_s - time_s[0]) * self._power_w[0])
        if moment_s >= time_s[-1]:
            return float(self._energy_j[-1] + (moment_s - time_s[-1]) * self._power_w[-1])
        left = int(np.searchsorted(time_s, moment_s, side="right")) - 1
        since_s = moment_s - time_s[left]
        slope = (self._power_w[left + 1] - self._power_w[left]) / (time_s[left + 1] - time_s[left])
        return float(self._energy_j[left] + self._power_w[left] * since_s + slope * since_s**2 / 2)
