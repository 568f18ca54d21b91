"""Ends of axes that do not begin at 0: room on both sides of the values, also where all of them are equal."""

from __future__ import annotations

from collections.abc import Iterable

ROOM = 0.08
"""Of the values' span, on each side."""
FLAT_ROOM = 0.1
"""Of the value itself, where all are equal: the axis must not be so narrow that its ticks all read alike, or as 0."""


def padded(values: Iterable[float]) -> tuple[float, float]:
    """The ends of an axis for these values.

    Example:
        >>> padded([0.25, 0.25])
        (0.225, 0.275)
        >>> padded([0.0])
        (-0.1, 0.1)
    """
    seen = list(values)
    low, high = min(seen), max(seen)
    room = (high - low) * ROOM or abs(low) * FLAT_ROOM or FLAT_ROOM
    return low - room, high + room
