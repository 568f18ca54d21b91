"""Figures as readers see them. Imports nothing, so that pages without charts need no chart library."""

from __future__ import annotations

from collections.abc import Iterable


def number(value: float | None, digits: int = 3) -> str:
    """A figure with significant ``digits`` and without an exponent where it can be read so; a dash where missing."""
    if value is None:
        return "—"
    if value != 0 and not 1e-6 <= abs(value) < 1e9:
        return f"{value:.{digits - 1}e}"
    text = f"{value:.{digits}g}"
    if "e" in text:
        text = f"{float(text):.12f}".rstrip("0").rstrip(".")
    return text if text not in ("-0", "") else "0"


def kinds(provenances: Iterable[str]) -> str:
    """What a chart calls figures of these provenances: measured, estimated or simulated, ..."""
    return " or ".join(sorted(set(provenances)))
