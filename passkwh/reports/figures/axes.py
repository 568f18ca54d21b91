"""Ends of axes that do not begin at 0: room on both sides of the values, also where all of them are equal."""

from __future__ import annotations

from collections.abc import Iterable

ROOM = 0.08
"""Of the values' span, on each side."""
FLAT_ROOM = 0.1
"""Of the value itself, where all are equal: the axis must not be so narrow that its ticks all read alike, or as 0."""


BELOW_ZERO = 0.03
"""Of the axis, below 0, where no value is negative: no tick names a value that there cannot be."""


def padded(values: Iterable[float], *, signed: bool = False) -> tuple[float, float]:
    """The ends of an axis for these values; ``signed`` ones may be below 0 though none of these is (a logarithm).

    Example:
        >>> padded([0.25, 0.25])
        (0.225, 0.275)
        >>> padded([0.0])
        (-0.003, 0.1)
    """
    seen = list(values)
    low, high = min(seen), max(seen)
    room = (high - low) * ROOM or abs(low) * FLAT_ROOM or FLAT_ROOM
    bottom, top = low - room, high + room
    return (bottom if signed or low < 0 else max(bottom, -BELOW_ZERO * (top - low))), top
