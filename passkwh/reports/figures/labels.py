"""Names beside points, none over another: tried at rising distances around each point until one place is free."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

CHARACTER = 6.0
"""Width of a letter at the labels' size, in pixels, a little more than its mean."""
HEIGHT = 13.0
POINT = 6.0
"""Half the room that a point takes."""
DISTANCES = (10.0, 18.0, 28.0, 40.0, 55.0, 72.0, 92.0, 115.0)
DIRECTIONS = 16
CROWDED = 90.0
"""Points nearer than this crowd each other."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Whether the two share more than an edge."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    @property
    def middle(self) -> Point:
        """Its middle."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def distance(self, point: Point) -> float:
        """From a point to its edge; 0 inside."""
        return math.hypot(
            max(self.left - point[0], point[0] - self.right, 0.0), max(self.top - point[1], point[1] - self.bottom, 0.0)
        )


@dataclass(frozen=True)
class Placed:
    """Where a label goes: the middle of its left edge, and whether it needs a line to its point."""

    left: float
    middle: float
    box: Box
    far: bool

    def end(self, point: Point) -> Point:
        """Where a line from ``point`` meets the label: the nearer of its ends, or the letters above or below."""
        return (min(max(point[0], self.box.left), self.box.right), self.middle)


def place(
    points: Sequence[Point],
    texts: Sequence[str],
    width: float,
    height: float,
    avoid: Sequence[Box] = (),
    first: Sequence[bool] = (),
) -> list[Placed | None]:
    """A free place for each text beside its point, inside ``width`` x ``height``; None where there is none.

    A text covers no point, no other text and nothing of ``avoid``. It is nearer to its point than to any other, or a
    line leads from one to the other and crosses no other text or point. Points that are ``first`` are served before
    others, and those in the thickest crowd next.
    """
    first = first or [False] * len(points)
    dots = [Box(x - POINT, y - POINT, x + POINT, y + POINT) for x, y in points]
    crowd = [sum(math.dist(a, b) < CROWDED for b in points) for a in points]
    placed: list[Placed | None] = [None] * len(points)
    for i in sorted(range(len(points)), key=lambda i: (not first[i], -crowd[i], points[i])):
        names = [(points[j], p) for j, p in enumerate(placed) if p is not None]
        rest = dots[:i] + dots[i + 1 :]
        blocked = [*rest, *avoid, *(p.box for _, p in names)]
        spots = list(_spots(points[i], texts[i], width, height))
        # Lines that cross are better than a name that is missing.
        for may_cross in (False, True):
            if placed[i] is None:
                placed[i] = next((s for s in spots if _is_free(points[i], s, blocked, rest, names, may_cross)), None)
    return placed


def _spots(point: Point, text: str, width: float, height: float) -> Iterator[Placed]:
    """Places around a point that lie inside the figure, nearest first; straight up, then to both sides in turn."""
    length = max(len(text), 1) * CHARACTER
    for distance in DISTANCES:
        for turn in range(DIRECTIONS):
            far = distance > 2 * DISTANCES[0]
            steps = (turn + 1) // 2 * (-1) ** turn
            if far and steps % (DIRECTIONS // 4) == 0:
                continue  # a line straight up or aside would lie on the point's own error bars
            angle = math.pi / 2 + steps * 2 * math.pi / DIRECTIONS
            x, y = point[0] + distance * math.cos(angle), point[1] - distance * math.sin(angle)
            left = x if math.cos(angle) > 0.3 else x - length if math.cos(angle) < -0.3 else x - length / 2
            box = Box(left - 2, y - HEIGHT / 2, left + length + 2, y + HEIGHT / 2)
            if box.left >= 0 and box.right <= width and box.top >= 0 and box.bottom <= height:
                yield Placed(left, y, box, far)


def _is_free(
    point: Point,
    spot: Placed,
    blocked: Sequence[Box],
    dots: Sequence[Box],
    names: Sequence[tuple[Point, Placed]],
    may_cross: bool,
) -> bool:
    """Whether a label covers nothing there, and its line meets no other point, label, or (unless it may) line."""
    if any(spot.box.overlaps(box) for box in blocked):
        return False
    if not spot.far and any(spot.box.distance(dot.middle) <= spot.box.distance(point) for dot in dots):
        return False
    if spot.far and any(_crosses(point, spot.end(point), box) for box in [*dots, *(name.box for _, name in names)]):
        return False
    lines = [(other, name.end(other)) for other, name in names if name.far]
    if any(_crosses(start, end, spot.box) for start, end in lines):
        return False
    return may_cross or not spot.far or not any(_meet(point, spot.end(point), *line) for line in lines)


def _meet(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Whether the line from a to b crosses that from c to d."""

    def side(p: Point, q: Point, r: Point) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0


def _crosses(start: Point, end: Point, box: Box) -> bool:
    """Whether the line from start to end passes through the box (clipping after Liang and Barsky)."""
    enter, leave = 0.0, 1.0
    for a, b, low, high in ((start[0], end[0], box.left, box.right), (start[1], end[1], box.top, box.bottom)):
        if a == b:
            if not low < a < high:
                return False
            continue
        first, second = sorted(((low - a) / (b - a), (high - a) / (b - a)))
        enter, leave = max(enter, first), min(leave, second)
    return enter < leave
