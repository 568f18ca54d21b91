"""Numbers and names as people read them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from passkwh.analysis.results import Interval
from passkwh.analysis.tables import Style, cell_text
from passkwh.reports.document.content import Estimate, Link, Number, Part, Sentence

MOST_DIGITS = 5
"""An interval narrower than the fifth digit of its value is not told by more digits."""
LARGEST = 1e12
SMALLEST = 1e-9


def decimals(value: float, low: float | None = None, high: float | None = None) -> int:
    """Digits after the point: two significant ones of the interval's half-width, else three of the value."""
    if low is not None and high is not None and high > low:
        return min(_places((high - low) / 2, 2), _places(value, MOST_DIGITS) if value else 9)
    return _places(value, 3)


def _places(size: float, significant: int) -> int:
    if size == 0 or not math.isfinite(size):
        return 0
    return min(max(significant - 1 - math.floor(math.log10(abs(size))), 0), 9)


def fixed(value: float, places: int) -> str:
    """A number with so many digits after the point and commas between thousands."""
    if value != 0 and not SMALLEST <= abs(value) < LARGEST:
        return f"{value:.2e}"
    text = f"{value:,.{places}f}"
    return text if float(text.replace(",", "")) != 0 or value == 0 else f"{value:.1e}"


def shown(value: float, style: Style | str = "number") -> str:
    """A table's cell; numbers of free style have four significant digits, without exponents where they can."""
    if style == "number":
        text = fixed(value, _places(value, 4))
        return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text
    if style == "integer":
        return f"{value:,.0f}"
    return cell_text(value, style)  # type: ignore[arg-type]


def estimate_texts(estimate: Estimate) -> tuple[str, str | None, str | None]:
    """An estimate and its bounds, all with the same digits."""
    if estimate.value is None:
        return "—", None, None
    places = decimals(estimate.value, estimate.low, estimate.high)
    low, high = (None if v is None else fixed(v, places) for v in (estimate.low, estimate.high))
    return fixed(estimate.value, places), low, high


def quantity(value: float, unit: str = "", style: Style | str = "number", sign: bool = False) -> Number:
    """A number in a sentence."""
    value += 0.0  # no minus before a zero
    text = shown(value, style)
    return Number(value=value, text=f"{'+' if sign and value > 0 else ''}{text} {unit}".rstrip())


def count(value: int, one: str, many: str | None = None) -> Number:
    """So many of something."""
    return Number(value=value, text=f"{value:,} {one if value == 1 else many or one + 's'}")


def p_value(value: float) -> Number:
    """p as sentences write it."""
    text = cell_text(value, "p")
    return Number(value=value, text=f"p {text}" if text.startswith("<") else f"p = {text}")


def scaled(interval: Interval) -> Estimate:
    """An interval as a cell."""
    return Estimate(
        value=interval.estimate, low=interval.low, high=interval.high, reason=interval.reason or interval.note
    )


def span(estimate: Estimate, unit: str = "", sign: bool = False) -> list[Part]:
    """``x unit [low, high]`` as parts of a sentence; says why where something is missing."""
    if estimate.value is None:
        return [f"unknown ({estimate.reason or 'missing'})"]
    text, low, high = estimate_texts(estimate)
    plus = "+" if sign and estimate.value > 0 else ""
    parts: list[Part] = [Number(value=estimate.value, text=f"{plus}{text} {unit}".rstrip())]
    if low is None or high is None or estimate.low is None or estimate.high is None:
        return [*parts, " (no interval)"]
    return [
        *parts, " [", Number(value=estimate.low, text=low), ", ", Number(value=estimate.high, text=high), "]",
    ]  # fmt: skip


def listed(names: Sequence[str], most: int = 6) -> str:
    """``a, b and c``; a long list is cut and says by how many."""
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"


def sentence(*parts: Part | Iterable[Part]) -> Sentence:
    """Parts and lists of parts as one sentence; neighbouring texts are joined."""
    flat: list[Part] = []
    for part in parts:
        for piece in [part] if isinstance(part, str | Number | Link) else part:
            if isinstance(piece, str) and flat and isinstance(flat[-1], str):
                flat[-1] += piece
            elif piece != "":
                flat.append(piece)
    return tuple(flat)
