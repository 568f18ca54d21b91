"""Energy from a cumulative counter that steps: a line through the moments at which it changed.

A device refreshes its counter every 1 to 100 ms. A reading between two refreshes says what the energy was at the
*last* refresh, so the difference of two readings is wrong by up to a period at either end. But the moment at which
the value changed is known to within one polling interval, and at that moment the value was right: those moments are
the knots of the curve. Between two knots the energy follows the line through them or, where the power clearly changed
in between, the two lines from the power before and the power after.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from passkwh.harness.meter.series import Floats, Ints, Joules, Missing, Series, seconds
from passkwh.harness.meter.updates import find_updates

LONG_GAP_S = 0.5
"""Without a valid reading for longer than this (or five update periods), a window's edge cannot be placed."""

CLEAR_CHANGE = 3.0
"""Power changed between two knots if it differs before and after by more than so many standard errors."""

CURVATURE = 1 / 4
"""Share of the neighbours' squared change of power that counts as uncertainty of the line between two knots."""

NUDGE_S = 1e-4
"""The slope at a moment is taken over this length."""

KINK_DOUBT = 0.1
"""Share of the squared distance between the two models (broken and straight line) that counts as uncertainty."""


@dataclass(frozen=True)
class EnergyAt:
    """Energy at a moment: a value, and what it leans on."""

    energy_j: float
    own_variance: float
    """Variance that no other moment shares, in J^2."""
    power_w: float
    """Slope of the line it lies on."""
    beat_error_s: float
    """Standard error of the beat that its knots were placed by."""
    lean_j: dict[tuple[str, int], float] = field(default_factory=dict)
    """By knot (its time, its value): how far one standard error of it moves the energy."""


class Piece:
    """Knots of a counter between two resets: times (s), energies (J) and errors of the times (s), each shape (n,)."""

    def __init__(
        self, knot_s: Floats, knot_j: Floats, error_s: Floats, beat_error_s: Floats, resolution_j: float
    ) -> None:
        self.knot_s, self.knot_j = knot_s, knot_j
        self._error_s, self._beat_error_s = error_s, beat_error_s
        self._value_error_j = resolution_j / 12**0.5

    def at(self, moment_s: float) -> EnergyAt:
        """Energy at a moment; before the first and after the last knot the first and last line go on."""
        right = int(np.clip(np.searchsorted(self.knot_s, moment_s), 1, len(self.knot_s) - 1))
        first, stop = max(right - 3, 0), min(right + 3, len(self.knot_s))
        times, energies = self.knot_s[first:stop].tolist(), self.knot_j[first:stop].tolist()
        errors = self._error_s[first:stop].tolist()
        shape = _Shape(times, energies, errors, right - 1 - first)
        lean: dict[tuple[str, int], float] = {}
        for index, error in enumerate(errors):
            later, earlier = list(times), list(times)
            later[index] += error / 2
            earlier[index] -= error / 2
            lean["time", first + index] = shape.energy_j(later, moment_s) - shape.energy_j(earlier, moment_s)
        left_s, right_s = times[shape.left], times[shape.left + 1]
        share = (moment_s - left_s) / (right_s - left_s)
        lean["value", right - 1] = (1 - share) * self._value_error_j
        lean["value", right] = share * self._value_error_j
        energy_j, later_j = shape.energy_j(times, moment_s), shape.energy_j(times, moment_s + NUDGE_S)
        return EnergyAt(
            energy_j=energy_j,
            own_variance=shape.model_variance(times, moment_s),
            power_w=(later_j - energy_j) / NUDGE_S,
            beat_error_s=float(self._beat_error_s[right]),
            lean_j=lean,
        )


class _Shape:
    """How the energy runs between two knots: decided once from the neighbours, then a function of the knots' times."""

    def __init__(self, times: list[float], energies: list[float], errors: list[float], left: int) -> None:
        self.left = left
        self._energies = energies
        slope = self._slope(times, left, left + 1)
        noise = max(errors) * 2**0.5 * abs(slope) / (times[left + 1] - times[left])
        self._before = self._steady(times, left, -1, noise)
        self._after = self._steady(times, left + 1, 1, noise)
        self._noise = noise
        self.broken = False
        if self._before and self._after:
            before, after = self._slope(times, *self._before), self._slope(times, *self._after)
            clear = abs(after - before) > CLEAR_CHANGE * noise
            self.broken = clear and min(before, after) < slope < max(before, after)

    def _slope(self, times: list[float], first: int, last: int) -> float:
        gap_s = max(times[last] - times[first], 1e-9)
        return (self._energies[last] - self._energies[first]) / gap_s

    def _steady(self, times: list[float], knot: int, step: int, noise: float) -> tuple[int, int] | None:
        """The knots on one side that the power there is taken from: two intervals if it was steady, else the next."""
        near, far = knot + step, knot + 2 * step
        if not 0 <= near < len(times):
            return None
        one = (min(knot, near), max(knot, near))
        if not 0 <= far < len(times):
            return one
        next_to_it = (min(near, far), max(near, far))
        steady = abs(self._slope(times, *one) - self._slope(times, *next_to_it)) < 2 * noise
        return (min(knot, far), max(knot, far)) if steady else one

    def energy_j(self, times: list[float], moment_s: float) -> float:
        """Energy at a moment for these knot times."""
        left = self.left
        since_s, gap_s = moment_s - times[left], max(times[left + 1] - times[left], 1e-9)
        slope = self._slope(times, left, left + 1)
        if not self.broken or not (self._before and self._after) or not 0 <= since_s <= gap_s:
            return self._energies[left] + slope * since_s
        before, after = self._slope(times, *self._before), self._slope(times, *self._after)
        if before == after:
            return self._energies[left] + slope * since_s
        change_s = min(max(gap_s * (after - slope) / (after - before), 0.0), gap_s)
        if since_s <= change_s:
            return self._energies[left] + before * since_s
        return self._energies[left + 1] - after * (gap_s - since_s)

    def model_variance(self, times: list[float], moment_s: float) -> float:
        """Variance from not knowing how the power ran between the two knots, in J^2."""
        left = self.left
        gap_s = times[left + 1] - times[left]
        share = (moment_s - times[left]) / gap_s
        slope = self._slope(times, left, left + 1)
        straight_j = self._energies[left] + slope * (moment_s - times[left])
        if self.broken:
            return KINK_DOUBT * (self.energy_j(times, moment_s) - straight_j) ** 2
        changes = [
            (self._slope(times, *side) - slope) ** 2 - 2 * self._noise**2
            for side in (self._before, self._after)
            if side is not None
        ]
        change = max(sum(changes) / len(changes), 0.0) if changes else slope**2
        return CURVATURE * change * (gap_s * share * (1 - share)) ** 2


class CounterCurve:
    """Energy over time of one counter in one session; pieces end where the counter went backwards (a reset)."""

    def __init__(self, series: Series) -> None:
        self._series = series
        self._time_ns, value = series.valid()
        self._zero_ns = int(self._time_ns[0]) if len(self._time_ns) else 0
        self._time_s = seconds(self._time_ns, self._zero_ns)
        steps = np.diff(value)
        self.resolution_j = resolution_of(steps)
        self.updates = find_updates(self._time_s, value)
        reset = np.flatnonzero(steps < 0) + 1
        self._reset_s = self._time_s[reset]
        cuts = np.searchsorted(self.updates.reading, reset)
        self._pieces = [
            Piece(knot_s, value[reading], np.sqrt(own), np.sqrt(shared), self.resolution_j)
            for knot_s, reading, own, shared in zip(
                np.split(np.maximum.accumulate(self.updates.time_s), cuts),
                np.split(self.updates.reading, cuts),
                np.split(self.updates.variance_s2, cuts),
                np.split(self.updates.shared_s2, cuts),
                strict=True,
            )
        ]

    @property
    def period_s(self) -> float:
        """Update period as found in the trace; the polling interval where the counter is faster than that."""
        return self.updates.period_s

    def between(self, start_ns: int, end_ns: int) -> Joules | Missing:
        """Energy drawn from ``start_ns`` to ``end_ns``, or why it cannot be known."""
        if len(self._time_ns) == 0:
            return Missing(self._series.why_missing(start_ns, end_ns))
        start_s, end_s = float(seconds(start_ns, self._zero_ns)), float(seconds(end_ns, self._zero_ns))
        for moment_s, moment_ns in ((start_s, start_ns), (end_s, end_ns)):
            problem = self._unplaceable(moment_s, moment_ns)
            if problem:
                return Missing(problem)
        number = int(np.searchsorted(self._reset_s, start_s, side="right"))
        if number != int(np.searchsorted(self._reset_s, end_s, side="right")):
            return Missing("the counter was reset during the window (it went backwards)")
        piece = self._pieces[number]
        if len(piece.knot_s) < 2:
            return Missing("the counter did not move while it was read")
        start, end = piece.at(start_s), piece.at(end_s)
        variance = start.own_variance + end.own_variance
        # What both edges lean on moves them together.
        for knot in start.lean_j.keys() | end.lean_j.keys():
            variance += (end.lean_j.get(knot, 0.0) - start.lean_j.get(knot, 0.0)) ** 2
        variance += self._beat_variance(start, end, end_s - start_s)
        return Joules(end.energy_j - start.energy_j, variance**0.5)

    def _beat_variance(self, start: EnergyAt, end: EnergyAt, apart_s: float) -> float:
        """Variance from the beat: a shift of all knots moves start and end alike, and matters where powers differ."""
        first, last = start.power_w * start.beat_error_s, end.power_w * end.beat_error_s
        together = max(1 - apart_s / self.updates.shared_for_s, 0.0) if self.updates.shared_for_s > 0 else 0.0
        return first**2 + last**2 - 2 * together * first * last

    def _unplaceable(self, moment_s: float, moment_ns: int) -> str | None:
        """Why energy at a moment cannot be said, or None where it can."""
        limit_s = max(LONG_GAP_S, 5 * self.period_s) if np.isfinite(self.period_s) else LONG_GAP_S
        after = int(np.searchsorted(self._time_s, moment_s))
        before_s = float(self._time_s[after - 1]) if after > 0 else -np.inf
        after_s = float(self._time_s[after]) if after < len(self._time_s) else np.inf
        apart_s = after_s - before_s
        if min(moment_s - before_s, after_s - moment_s) > limit_s or (np.isfinite(apart_s) and apart_s > limit_s):
            margin_ns = int(limit_s * 1e9)
            why = self._series.why_missing(moment_ns - margin_ns, moment_ns + margin_ns)
            return f"no reading near the edge of the window: {why}"
        return None


def resolution_of(steps: Floats) -> float:
    """A sensor's unit: the greatest common divisor of its steps, to the millionth; 0 where it never moved."""
    micro: Ints = np.rint(np.abs(steps[steps != 0]) * 1e6).astype(np.int64)
    return float(np.gcd.reduce(micro)) / 1e6 if len(micro) else 0.0
