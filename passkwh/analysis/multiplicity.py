"""p-values of a family of tests, adjusted by statsmodels: Bonferroni, Holm (1979) and Benjamini-Hochberg (1995)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Adjustment = Literal["none", "bonferroni", "holm", "bh"]

LIBRARY_NAMES: dict[Adjustment, str | None] = {"none": None, "bonferroni": "bonferroni", "holm": "holm", "bh": "fdr_bh"}
"""What statsmodels and scikit-posthocs call each adjustment."""


def adjust(p_values: Sequence[float | None], method: Adjustment) -> list[float | None]:
    """Adjusted p-values in the given order. Missing ones stay missing and do not count towards the family's size."""
    from statsmodels.stats.multitest import multipletests

    known = [i for i, p in enumerate(p_values) if p is not None]
    result: list[float | None] = list(p_values)
    if known and method != "none":
        adjusted = multipletests([p_values[i] for i in known], method=LIBRARY_NAMES[method])[1]
        for i, p in zip(known, adjusted, strict=True):
            result[i] = float(p)
    return result
