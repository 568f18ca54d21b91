"""The power behind a sensor that shows the mean of the last second.

Each reading fixes the mean of a second; together they leave open what happens within a second but for one thing: power
mostly stays as it is and now and then steps. The power sought is the one with the fewest and smallest steps whose
running mean gives the readings: least squares with a penalty on steps that is reweighted a few times, so that many
small steps cost more than one large one. The linear system is banded and solved in one pass over the trace.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import solveh_banded

from passkwh.harness.meter.series import Floats, Ints
from passkwh.harness.meter.updates import find_updates

AVERAGING_S = 1.0
"""Length of the running average behind ``power_1s_w`` (NVML on Ampere and newer)."""

CELL_S = 0.05
"""Power is sought as constant over cells of this length."""

BAND = round(AVERAGING_S / CELL_S) + 1
"""Cells that one reading may touch, and so the width of the system's band."""

ROUNDS = 12
"""How often the penalty is reweighted."""

RIPPLE = 0.01
"""Steps below this share of the mean power are taken for ripple."""

REACH_S = 3.0
"""The uncertainty of a window does not depend on readings further away than this."""


class Deconvolved:
    """Energy from the running means of one stretch of readings (times in s, powers in W, shape (n,))."""

    def __init__(self, time_s: Floats, power_w: Floats) -> None:
        updates = find_updates(time_s, power_w)
        # Between updates the sensor repeats itself: only the updates say something, and the first and last reading.
        at_s: Floats = np.r_[time_s[0], updates.time_s, time_s[-1]]
        shown_w: Floats = np.r_[power_w[0], power_w[updates.reading], power_w[-1]]
        late_s2: Floats = np.r_[0.0, updates.variance_s2, 0.0]
        order = np.argsort(at_s, kind="stable")
        at_s, shown_w, late_s2 = (column[order] for column in (at_s, shown_w, late_s2))
        self._start_s = float(at_s[0]) - AVERAGING_S
        self._cells = max(int(np.ceil((at_s[-1] - self._start_s) / CELL_S)), BAND + 1)
        self._mean_w = float(shown_w.mean())
        ripple_w = max(RIPPLE * abs(self._mean_w), 1e-6)
        slope = np.gradient(shown_w, at_s) if np.all(np.diff(at_s) > 0) else np.zeros(len(at_s))
        noise_w2 = (ripple_w / 3) ** 2 + slope**2 * late_s2
        self._data, target = self._normal_equations(at_s, shown_w - self._mean_w, noise_w2)
        penalty: Floats = np.full(self._cells - 1, 1 / max(float(np.std(shown_w)), ripple_w) ** 2)
        for _ in range(ROUNDS):
            self._system = _with_penalty(self._data, penalty)
            sought_w = solveh_banded(self._system, target)
            penalty = 1 / (np.diff(sought_w) ** 2 + ripple_w**2)
        self._power_w = sought_w + self._mean_w
        self._energy_j = np.r_[0.0, np.cumsum(self._power_w) * CELL_S]

    def over(self, start_s: Floats, end_s: Floats) -> tuple[Floats, Floats]:
        """Energies and standard errors between pairs of moments; power beyond the ends stays as it was there."""
        energies = [self._between(*window) for window in zip(start_s.tolist(), end_s.tolist(), strict=True)]
        energy_j, variance = np.array(energies).reshape(-1, 2).T
        return energy_j, variance**0.5

    def _between(self, start_s: float, end_s: float) -> tuple[float, float]:
        """Energy and its variance between two moments."""
        first = max(int((start_s - REACH_S - self._start_s) / CELL_S), 0)
        stop = min(int((end_s + REACH_S - self._start_s) / CELL_S) + 1, self._cells)
        local = self._system[:, first:stop].copy()
        for row in range(BAND):
            local[row, : BAND - row] = 0.0
        edges_s = self._start_s + CELL_S * np.arange(first, stop + 1)
        overlap_s = np.diff(np.clip(edges_s, start_s, end_s))
        variance = float(overlap_s @ solveh_banded(local, overlap_s))
        for moment_s in (start_s, end_s):
            variance += self._within_cell(moment_s)
        return self._at(end_s) - self._at(start_s), variance

    def _at(self, moment_s: float) -> float:
        """Energy since the first cell."""
        cell = int(np.clip((moment_s - self._start_s) / CELL_S, 0, self._cells - 1))
        return float(self._energy_j[cell] + self._power_w[cell] * (moment_s - self._start_s - cell * CELL_S))

    def _within_cell(self, moment_s: float) -> float:
        """Variance from a step that fell somewhere near the moment but stands between two cells, in J^2."""
        cell = int(np.clip((moment_s - self._start_s) / CELL_S, 1, self._cells - 2))
        step_w = float(np.ptp(self._power_w[cell - 1 : cell + 2]))
        return (step_w * CELL_S) ** 2 / 12

    def _normal_equations(self, at_s: Floats, shown_w: Floats, noise_w2: Floats) -> tuple[Floats, Floats]:
        """``A'WA`` in upper banded form, shape (BAND + 1, cells), and ``A'Wy``, for the running means as rows of A."""
        data, target = np.zeros((BAND + 1, self._cells)), np.zeros(self._cells)
        begin = (at_s - AVERAGING_S - self._start_s) / CELL_S
        first: Ints = np.floor(begin + 1e-9).astype(np.int64)
        shares = np.ones((len(at_s), BAND))
        shares[:, 0] = 1 - (begin - first)
        shares[:, -1] = begin - first
        shares *= CELL_S / AVERAGING_S
        cells = first[:, None] + np.arange(BAND)
        inside = cells < self._cells
        shares[~inside] = 0.0
        cells = np.minimum(cells, self._cells - 1)
        np.add.at(target, cells, shares * (shown_w / noise_w2)[:, None])
        for apart in range(BAND):
            product = shares[:, : BAND - apart] * shares[:, apart:] / noise_w2[:, None]
            np.add.at(data[BAND - apart], cells[:, apart:], product)
        return data, target


def _with_penalty(data: Floats, penalty: Floats) -> Floats:
    """The system with ``penalty`` (per step between cells, shape (cells - 1,)) on squared steps added."""
    system = data.copy()
    system[BAND, :-1] += penalty
    system[BAND, 1:] += penalty
    system[BAND - 1, 1:] -= penalty
    # Cells that nothing has been said of stay near the mean.
    system[BAND] += 1e-12 * float(system[BAND].max())
    return system
