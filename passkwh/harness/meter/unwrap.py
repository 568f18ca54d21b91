"""A counter of limited width made continuous."""

from __future__ import annotations

WIDTHS_J = tuple(2.0**32 * 2.0**-unit for unit in range(20, 9, -1))
"""Ranges of 32-bit RAPL counters, by energy unit: 4096 J (1 uJ) to 4.2 MJ (1 mJ); most are 65.5 kJ or 262 kJ."""

LARGEST_W = 2000.0
"""No device behind such a counter draws more: a step back that would need more power is not a wrap but a reset."""


class Unwrap:
    """Adds what a wrapping counter loses at each wrap; called with every reading, in order.

    ``limit_j`` is the energy at which the counter starts again; None where it cannot be read: it is then taken from
    the widths that exist. A step back that no wrap explains (suspend, driver reload) is passed on as it is: the trace
    then shows a reset, and windows across it are missing with that reason.
    """

    def __init__(self, limit_j: float | None) -> None:
        self._limits_j = WIDTHS_J if limit_j is None else (limit_j,)
        self._last: tuple[float, float] | None = None
        self._lost_j = 0.0

    def __call__(self, shown_j: float, time_s: float) -> float:
        """The continuous energy for what the counter shows at ``time_s`` (seconds of any steady clock)."""
        if self._last is not None and shown_j < self._last[0]:
            last_j, last_s = self._last
            possible_j = LARGEST_W * max(time_s - last_s, 0.0)
            steps_j = [limit_j - last_j + shown_j for limit_j in self._limits_j if limit_j >= last_j]
            if steps_j and steps_j[0] <= possible_j:
                self._lost_j += last_j - shown_j + steps_j[0]
            else:
                self._lost_j = 0.0
        self._last = (shown_j, time_s)
        return self._lost_j + shown_j
