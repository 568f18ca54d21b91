"""p-values of a family of tests, adjusted: Bonferroni, Holm (1979) and Benjamini-Hochberg (1995)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Adjustment = Literal["none", "bonferroni", "holm", "bh"]


def adjust(p_values: Sequence[float | None], method: Adjustment) -> list[float | None]:
    """Adjusted p-values in the given order. Missing ones stay missing and do not count towards the family's size."""
    result: list[float | None] = list(p_values)
    known = [i for i, p in enumerate(p_values) if p is not None]
    values = np.array([p_values[i] for i in known], dtype=np.float64)
    for i, adjusted in zip(known, _adjusted(values, method), strict=True):
        result[i] = float(adjusted)
    return result


def _adjusted(p: NDArray[np.float64], method: Adjustment) -> NDArray[np.float64]:
    m = len(p)
    if method == "none" or m == 0:
        return p
    if method == "bonferroni":
        return np.minimum(p * m, 1.0)
    order = np.argsort(p, kind="stable")
    result = np.empty(m)
    if method == "holm":
        stepped = np.maximum.accumulate(p[order] * (m - np.arange(m)))
    elif method == "bh":
        stepped = np.minimum.accumulate((p[order] * m / np.arange(1, m + 1))[::-1])[::-1]
    else:
        raise ValueError(f"unknown adjustment {method!r}: none, bonferroni, holm or bh")
    result[order] = np.minimum(stepped, 1.0)
    return result
