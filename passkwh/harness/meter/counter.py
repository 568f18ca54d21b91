"""Energy from a cumulative counter that steps: a line through the moments at which it changed.

A device refreshes its counter every 1 to 100 ms. A reading between two refreshes says what the energy was at the
*last* refresh, so the difference of two readings is wrong by up to a period at either end. But the moment at which
the value changed is known to within one polling interval, and at that moment the value was right: those moments are
the knots of the curve. Between two knots the energy follows the line through them or, where the power clearly changed
in between, the two lines from the power before and the power after.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from passkwh.harness.meter.series import Bools, Floats, Ints, Series, Windows, seconds
from passkwh.harness.meter.updates import find_updates

LONG_GAP_S = 0.5
"""Without a valid reading for longer than this (or five update periods), a window's edge cannot be placed."""

CLEAR_CHANGE = 3.0
"""Power changed between two knots if it differs before and after by more than so many standard errors."""

CURVATURE = 1 / 4
"""Share of the neighbours' squared change of power that counts as uncertainty of the line between two knots."""

NUDGE_S = 1e-4
"""The slope at a moment is taken over this length."""

KNOTS, LEFT = 6, 2
"""A moment leans on so many knots, and the one before it is the third of them."""

SHORTEST_S = 1e-9
"""Knots are never taken to be closer together."""

KINK_DOUBT = 0.1
"""Share of the squared distance between the two models (broken and straight line) that counts as uncertainty."""


@dataclass(frozen=True)
class EnergiesAt:
    """Energy at moments, and what it leans on; arrays of shape (n,) where nothing else is said."""

    energy_j: Floats
    own_variance: Floats
    """Variance that no other moment shares, in J^2."""
    power_w: Floats
    """Slope of the line a moment lies on."""
    beat_error_s: Floats
    """Standard error of the beat that its knots were placed by."""
    first_knot: Ints
    """The first of the six knots it leans on (below 0, and beyond the last one, there is none)."""
    time_lean_j: Floats
    """How far one standard error of the time of each of the six knots moves the energy, shape (n, 6)."""
    value_lean_j: Floats
    """... and one of the value of each, shape (n, 6)."""


class Piece:
    """Knots of a counter between two resets: times (s), energies (J) and errors of the times (s), each shape (n,)."""

    def __init__(
        self, knot_s: Floats, knot_j: Floats, error_s: Floats, beat_error_s: Floats, resolution_j: float
    ) -> None:
        self.knot_s, self.knot_j = knot_s, knot_j
        self._error_s, self._beat_error_s = error_s, beat_error_s
        self._value_error_j = resolution_j / 12**0.5

    def at(self, moment_s: Floats) -> EnergiesAt:
        """Energy at moments; before the first and after the last knot the first and last line go on."""
        right = np.clip(np.searchsorted(self.knot_s, moment_s), 1, len(self.knot_s) - 1)
        knots = right[:, None] + np.arange(-LEFT - 1, KNOTS - LEFT - 1)
        exists = (knots >= 0) & (knots < len(self.knot_s))
        knots = np.clip(knots, 0, len(self.knot_s) - 1)
        times, errors = self.knot_s[knots], np.where(exists, self._error_s[knots], 0.0)
        shape = _Shape(times, self.knot_j[knots], errors, exists)
        energy_j = shape.energy_j(times, moment_s)
        time_lean_j = np.empty_like(times)
        for knot in range(KNOTS):
            shifted = times.copy()
            shifted[:, knot] += errors[:, knot] / 2
            later_j = shape.energy_j(shifted, moment_s)
            shifted[:, knot] = times[:, knot] - errors[:, knot] / 2
            time_lean_j[:, knot] = later_j - shape.energy_j(shifted, moment_s)
        share = (moment_s - times[:, LEFT]) / np.maximum(times[:, LEFT + 1] - times[:, LEFT], SHORTEST_S)
        value_lean_j = np.zeros_like(times)
        value_lean_j[:, LEFT] = (1 - share) * self._value_error_j
        value_lean_j[:, LEFT + 1] = share * self._value_error_j
        return EnergiesAt(
            energy_j=energy_j,
            own_variance=shape.model_variance(times, moment_s, energy_j),
            power_w=(shape.energy_j(times, moment_s + NUDGE_S) - energy_j) / NUDGE_S,
            beat_error_s=self._beat_error_s[right],
            first_knot=right - LEFT - 1,
            time_lean_j=time_lean_j,
            value_lean_j=value_lean_j,
        )


class _Shape:
    """How the energy runs between two knots: decided once from the neighbours, then a function of the knots' times.

    For n moments at once: ``times``, ``energies``, ``errors`` and ``exists`` are those of the six knots around each,
    shape (n, 6); the moment lies between the knots ``LEFT`` and ``LEFT + 1``.
    """

    def __init__(self, times: Floats, energies: Floats, errors: Floats, exists: Bools) -> None:
        self._energies = energies
        slope = self._slope(times, LEFT, LEFT + 1)
        self._noise = errors.max(axis=1) * 2**0.5 * np.abs(slope) / self._gap_s(times)
        # The power on each side is taken from two intervals if it was steady there, else from the next one alone.
        self._has_before, self._has_after = exists[:, LEFT - 1], exists[:, LEFT + 2]
        self._far_before = exists[:, LEFT - 2] & self._steady(times, LEFT - 2)
        self._far_after = exists[:, LEFT + 3] & self._steady(times, LEFT + 1)
        before, after = self._before(times), self._after(times)
        clear = np.abs(after - before) > CLEAR_CHANGE * self._noise
        between = (np.minimum(before, after) < slope) & (slope < np.maximum(before, after))
        self.broken = self._has_before & self._has_after & clear & between

    def energy_j(self, times: Floats, moment_s: Floats) -> Floats:
        """Energy at the moments for these knot times."""
        since_s, gap_s = moment_s - times[:, LEFT], self._gap_s(times)
        slope = self._slope(times, LEFT, LEFT + 1)
        straight_j: Floats = self._energies[:, LEFT] + slope * since_s
        bent = np.flatnonzero(self.broken & (since_s >= 0) & (since_s <= gap_s))
        if not len(bent):
            return straight_j
        before, after = self._before(times)[bent], self._after(times)[bent]
        since_s, gap_s, slope = since_s[bent], gap_s[bent], slope[bent]
        with np.errstate(divide="ignore", invalid="ignore"):
            change_s = np.clip(gap_s * (after - slope) / (after - before), 0.0, gap_s)
        first_j = self._energies[bent, LEFT] + before * since_s
        second_j = self._energies[bent, LEFT + 1] - after * (gap_s - since_s)
        straight_j[bent] = np.where(before == after, straight_j[bent], np.where(since_s <= change_s, first_j, second_j))
        return straight_j

    def model_variance(self, times: Floats, moment_s: Floats, energy_j: Floats) -> Floats:
        """Variance from not knowing how the power ran between the two knots, in J^2."""
        gap_s, slope = self._gap_s(times), self._slope(times, LEFT, LEFT + 1)
        since_s = moment_s - times[:, LEFT]
        kinked = KINK_DOUBT * (energy_j - (self._energies[:, LEFT] + slope * since_s)) ** 2
        sides = self._has_before.astype(np.int64) + self._has_after
        changes = np.zeros(len(times))
        for has, power in ((self._has_before, self._before(times)), (self._has_after, self._after(times))):
            changes += np.where(has, (power - slope) ** 2 - 2 * self._noise**2, 0.0)
        change = np.where(sides > 0, np.maximum(changes / np.maximum(sides, 1), 0.0), slope**2)
        share = since_s / gap_s
        return np.where(self.broken, kinked, CURVATURE * change * (gap_s * share * (1 - share)) ** 2)

    def _gap_s(self, times: Floats) -> Floats:
        return np.maximum(times[:, LEFT + 1] - times[:, LEFT], SHORTEST_S)

    def _slope(self, times: Floats, first: int, last: int) -> Floats:
        gap_s = np.maximum(times[:, last] - times[:, first], SHORTEST_S)
        return np.asarray((self._energies[:, last] - self._energies[:, first]) / gap_s, np.float64)

    def _steady(self, times: Floats, first: int) -> Bools:
        """Whether the power of two intervals that follow each other is the same within its noise."""
        apart = self._slope(times, first, first + 1) - self._slope(times, first + 1, first + 2)
        return np.asarray(np.abs(apart) < 2 * self._noise, np.bool_)

    def _before(self, times: Floats) -> Floats:
        far, near = self._slope(times, LEFT - 2, LEFT), self._slope(times, LEFT - 1, LEFT)
        return np.where(self._far_before, far, near)

    def _after(self, times: Floats) -> Floats:
        far, near = self._slope(times, LEFT + 1, LEFT + 3), self._slope(times, LEFT + 1, LEFT + 2)
        return np.where(self._far_after, far, near)


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

    def over(self, start_ns: Ints, end_ns: Ints) -> Windows:
        """Energies of windows; every edge is worked out once, for all windows that share it."""
        energies = Windows.missing(len(start_ns))
        if len(self._time_ns) == 0:
            for i, (first_ns, last_ns) in enumerate(zip(start_ns.tolist(), end_ns.tolist(), strict=True)):
                energies.reasons[i] = self._series.why_missing(first_ns, last_ns)
            return energies
        edge_ns, place = np.unique(np.concatenate([start_ns, end_ns]), return_inverse=True)
        start, end = place[: len(start_ns)], place[len(start_ns) :]
        edge_s = seconds(edge_ns, self._zero_ns)
        unplaced = self._unplaceable(edge_s)
        for i in np.flatnonzero(unplaced[start] | unplaced[end]).tolist():
            energies.reasons[i] = self._why_unplaceable(int(start_ns[i] if unplaced[start[i]] else end_ns[i]))
        piece = np.searchsorted(self._reset_s, edge_s, side="right")
        placed = ~(unplaced[start] | unplaced[end])
        for i in np.flatnonzero(placed & (piece[start] != piece[end])).tolist():
            energies.reasons[i] = "the counter was reset during the window (it went backwards)"
        placed &= piece[start] == piece[end]
        for number in np.unique(piece[start[placed]]).tolist():
            windows = np.flatnonzero(placed & (piece[start] == number))
            if len(self._pieces[number].knot_s) < 2:
                energies.reasons.update(dict.fromkeys(windows.tolist(), "the counter did not move while it was read"))
                continue
            edges = np.flatnonzero(piece == number)
            at = self._pieces[number].at(edge_s[edges])
            first, last = (np.searchsorted(edges, side[windows]) for side in (start, end))
            apart_s = edge_s[end[windows]] - edge_s[start[windows]]
            variance = at.own_variance[first] + at.own_variance[last]
            # What both edges lean on moves them together.
            for lean_j in (at.time_lean_j, at.value_lean_j):
                variance += _apart(lean_j[first], lean_j[last], at.first_knot[last] - at.first_knot[first])
            variance += self._beat_variance(at, first, last, apart_s)
            energies.energy_j[windows] = at.energy_j[last] - at.energy_j[first]
            energies.se_j[windows] = variance**0.5
        return energies

    def _beat_variance(self, at: EnergiesAt, first: Ints, last: Ints, apart_s: Floats) -> Floats:
        """Variance from the beat: a shift of all knots moves start and end alike, and matters where powers differ."""
        moved_j = at.power_w * at.beat_error_s
        shared_for_s = self.updates.shared_for_s
        together = np.maximum(1 - apart_s / shared_for_s, 0.0) if shared_for_s > 0 else np.zeros(len(apart_s))
        return moved_j[first] ** 2 + moved_j[last] ** 2 - 2 * together * moved_j[first] * moved_j[last]

    @property
    def _limit_s(self) -> float:
        return max(LONG_GAP_S, 5 * self.period_s) if np.isfinite(self.period_s) else LONG_GAP_S

    def _unplaceable(self, moment_s: Floats) -> Bools:
        """Moments at which the energy cannot be said: too far from the readings, or in a gap between them."""
        after = np.searchsorted(self._time_s, moment_s)
        ends_s = np.r_[-np.inf, self._time_s, np.inf]
        before_s, after_s = ends_s[after], ends_s[after + 1]
        apart_s = after_s - before_s
        far = np.minimum(moment_s - before_s, after_s - moment_s) > self._limit_s
        return np.asarray(far | (np.isfinite(apart_s) & (apart_s > self._limit_s)), np.bool_)

    def _why_unplaceable(self, moment_ns: int) -> str:
        margin_ns = int(self._limit_s * 1e9)
        why = self._series.why_missing(moment_ns - margin_ns, moment_ns + margin_ns)
        return f"no reading near the edge of the window: {why}"


def _apart(first: Floats, last: Floats, knots: Ints) -> Floats:
    """Sum of squares of what differs between the leanings of two edges whose knots are so many knots apart."""
    shift = np.clip(knots, -KNOTS, KNOTS)
    buffer = np.zeros((len(first), 3 * KNOTS))
    row, column = np.arange(len(first))[:, None], KNOTS + np.arange(KNOTS)
    buffer[row, column + shift[:, None]] = last
    buffer[:, KNOTS : 2 * KNOTS] -= first
    return np.asarray((buffer**2).sum(axis=1), np.float64)


def resolution_of(steps: Floats) -> float:
    """A sensor's unit: the greatest common divisor of its steps, to the millionth; 0 where it never moved."""
    micro: Ints = np.rint(np.abs(steps[steps != 0]) * 1e6).astype(np.int64)
    return float(np.gcd.reduce(micro)) / 1e6 if len(micro) else 0.0
