"""A known power over time: what a simulated device really draws, with its exact energy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from passkwh.harness.meter.series import Floats


class PowerShape:
    """Power through points (seconds, watts), straight between them, repeating; a step is a repeated time."""

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
