"""Energy from a cumulative counter that steps: a line through the moments at which it changed.

A device refreshes its counter every 1 to 100 ms. A reading between two refreshes says what the energy was at the
*last* refresh, so the difference of two readings is wrong by up to a period at either end. But the moment at which
the value changed is known to within one polling interval, and at that moment the value was right: those moments are
the knots of the curve, and the energy of any instant lies on the line between two of them.
"""

from __future__ import annotations

import numpy as np

from passkwh.harness.meter.series import Floats, Ints, Joules, Missing, Series, seconds

LONG_GAP_S = 0.5
"""Without a valid reading for longer than this (or five update periods), a window's edge cannot be placed."""

FAST_FRACTION = 0.9
"""A counter that differs in more than this share of readings is refreshed faster than it is polled."""


class CounterCurve:
    """Energy over time of one counter in one session; pieces end where the counter went backwards (a reset)."""

    def __init__(self, series: Series) -> None:
        self._series = series
        self._time_ns, value = series.valid()
        self._zero_ns = int(self._time_ns[0]) if len(self._time_ns) else 0
        time_s = seconds(self._time_ns, self._zero_ns)
        steps = np.diff(value)
        self.resolution_j = _resolution(steps)
        changed = np.flatnonzero(steps != 0) + 1
        self.fast = len(steps) > 0 and len(changed) > FAST_FRACTION * len(steps)
        self.period_s = float(np.median(np.diff(time_s[changed]))) if len(changed) > 1 else float("nan")
        self._reset_s = time_s[np.flatnonzero(steps < 0) + 1]
        self._knots(time_s, value, changed)

    def _knots(self, time_s: Floats, value: Floats, changed: Ints) -> None:
        before_s, after_s = time_s[changed - 1], time_s[changed]
        width_s = after_s - before_s
        # A counter faster than the polling has its newest value at the reading itself; a slower one changed somewhere
        # since the previous reading.
        self.knot_s = after_s if self.fast else (before_s + after_s) / 2
        self.knot_j = value[changed]
        slope_w = np.gradient(self.knot_j, self.knot_s) if len(changed) > 1 else np.zeros(len(changed))
        self._knot_var = (slope_w * width_s) ** 2 / 12 + self.resolution_j**2 / 12

    def between(self, start_ns: int, end_ns: int) -> Joules | Missing:
        """Energy drawn from ``start_ns`` to ``end_ns``, or why it cannot be known."""
        if len(self._time_ns) == 0:
            return Missing(self._series.why_missing(start_ns, end_ns))
        if len(self.knot_s) < 2:
            return Missing("the counter never moved while it was read")
        reset_s = self._reset_s
        start_s, end_s = float(seconds(start_ns, self._zero_ns)), float(seconds(end_ns, self._zero_ns))
        weights: dict[int, float] = {}
        for moment_s, edge_ns, sign in ((end_s, end_ns, 1.0), (start_s, start_ns, -1.0)):
            problem = self._unplaceable(moment_s, edge_ns)
            if problem:
                return Missing(problem)
            for knot, weight in self._on_line(moment_s):
                weights[knot] = weights.get(knot, 0.0) + sign * weight
        knots = np.array(sorted(weights))
        first_s, last_s = self.knot_s[knots[0]], self.knot_s[knots[-1]]
        if np.any((reset_s > min(first_s, start_s)) & (reset_s <= max(last_s, end_s))):
            return Missing("the counter was reset during the window (it went backwards)")
        factors = np.array([weights[int(knot)] for knot in knots])
        energy_j = float(factors @ (self.knot_j[knots] - self.knot_j[knots[0]]))
        return Joules(energy_j, float(np.sqrt(factors**2 @ self._knot_var[knots])))

    def _on_line(self, edge_s: float) -> list[tuple[int, float]]:
        """The two knots around a moment and their weights; beyond the ends the last line goes on."""
        right = int(np.clip(np.searchsorted(self.knot_s, edge_s), 1, len(self.knot_s) - 1))
        left = right - 1
        share = (edge_s - self.knot_s[left]) / (self.knot_s[right] - self.knot_s[left])
        return [(left, 1.0 - share), (right, share)]

    def _unplaceable(self, edge_s: float, edge_ns: int) -> str | None:
        """Why energy at a moment cannot be said, or None where it can."""
        limit_s = max(LONG_GAP_S, 5 * self.period_s)
        times_s = seconds(self._time_ns, self._zero_ns)
        after = int(np.searchsorted(times_s, edge_s))
        before_s = float(times_s[after - 1]) if after > 0 else -np.inf
        after_s = float(times_s[after]) if after < len(times_s) else np.inf
        if min(edge_s - before_s, after_s - edge_s) > limit_s or (
            np.isfinite(before_s) and np.isfinite(after_s) and after_s - before_s > limit_s
        ):
            margin_ns = int(limit_s * 1e9)
            why = self._series.why_missing(edge_ns - margin_ns, edge_ns + margin_ns)
            return f"no reading near the edge of the window: {why}"
        return None


def _resolution(steps_j: Floats) -> float:
    """The counter's unit: the greatest common divisor of its steps, to the microjoule."""
    micro = np.rint(np.abs(steps_j[steps_j != 0]) * 1e6).astype(np.int64)
    return float(np.gcd.reduce(micro)) / 1e6 if len(micro) else 0.0
