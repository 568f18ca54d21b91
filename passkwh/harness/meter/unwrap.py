"""A counter of limited width made continuous."""

from __future__ import annotations


class Unwrap:
    """Adds what a wrapping counter loses at each wrap; called with every reading, in order.

    ``limit_j`` is the energy at which the counter starts again. Where it is not known, a step back is passed on as it
    is: the trace then shows a reset, and windows across it are missing with that reason.
    """

    def __init__(self, limit_j: float | None) -> None:
        self._limit_j = limit_j
        self._last_j: float | None = None
        self._lost_j = 0.0

    def __call__(self, shown_j: float) -> float:
        """The continuous energy for what the counter shows now."""
        if self._limit_j is not None and self._last_j is not None and shown_j < self._last_j:
            self._lost_j += self._limit_j
        self._last_j = shown_j
        return self._lost_j + shown_j
