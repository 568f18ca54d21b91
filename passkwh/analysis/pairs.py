"""Two configurations on the same tasks: do they differ, by how much, and at what loss of accuracy?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from passkwh.analysis.effects import cliffs_delta, geometric_mean_ratio
from passkwh.analysis.equivalence import EquivalenceResult, paired_t, tango
from passkwh.analysis.multiplicity import Adjustment, adjust
from passkwh.analysis.paired_tests import mcnemar, wilcoxon
from passkwh.analysis.results import Interval, TestResult
from passkwh.analysis.tasks import Floats, TaskTable
from passkwh.records import Record

COMPARED = ("energy_kwh", "pass_at_1", "pass_at_kwh", "joules_per_token", "tokens_per_s")
"""The measures on which two configurations are contrasted."""


_ADJUSTMENTS: tuple[Adjustment, ...] = ("holm", "bh")


class PairTests(Record):
    """Matched tests of one pair, ``a`` against ``b``; adjusted p-values are over the family of all pairs."""

    a: str
    b: str
    energy: TestResult
    energy_p_holm: float | None = None
    energy_p_bh: float | None = None
    energy_ratio: Annotated[Interval, Field(description="geometric mean over tasks of a's energy over b's")]
    energy_cliffs_delta: Annotated[float | None, Field(description="ignores that tasks are matched")]
    passing: Annotated[TestResult, Field(description="McNemar, or Wilcoxon on rates where a task has several samples")]
    passing_p_holm: float | None = None
    passing_p_bh: float | None = None
    accuracy: Annotated[EquivalenceResult, Field(description="a's pass rate against b's, with the stated margin")]


def compare_pairs(
    table: TaskTable, pairs: Sequence[tuple[int, int]], margin: float, level: float = 0.95
) -> tuple[PairTests, ...]:
    """Test pairs of configurations (positions in the table); ``margin`` is of pass@1 for equivalence."""
    rates = table.pass_rates()
    tested = [_pair(table, rates, i, j, margin, level) for i, j in pairs]
    adjusted = {
        f"{outcome}_p_{method}": adjust([getattr(pair, outcome).p_value for pair in tested], method)
        for outcome in ("energy", "passing")
        for method in _ADJUSTMENTS
    }
    return tuple(
        pair.model_copy(update={name: values[n] for name, values in adjusted.items()}) for n, pair in enumerate(tested)
    )


def _pair(table: TaskTable, rates: Floats, i: int, j: int, margin: float, level: float) -> PairTests:
    a, b = table.labels[i], table.labels[j]
    energy_a, energy_b = table.energy_j[i], table.energy_j[j]
    single = bool((table.evaluated[[i, j]] == 1).all())
    rate_a, rate_b = rates[i], rates[j]
    judged = not (np.isnan(rate_a).any() or np.isnan(rate_b).any())
    alpha = round(1 - level, 12)
    if judged and not single:
        passing = wilcoxon(rate_a, rate_b)
        accuracy = paired_t(rate_a, rate_b, margin, alpha)
    else:
        verdict_a, verdict_b = (table.passed[i] > 0, table.passed[j] > 0) if judged else (np.empty(0), np.empty(0))
        passing = mcnemar(verdict_a, verdict_b)
        accuracy = tango(verdict_a, verdict_b, margin, alpha)
    missing = bool(np.isnan(energy_a).any() or np.isnan(energy_b).any())
    return PairTests(
        a=a,
        b=b,
        energy=wilcoxon(energy_a, energy_b),
        energy_ratio=geometric_mean_ratio(energy_a, energy_b, f"{a} vs {b}", level),
        energy_cliffs_delta=None if missing else cliffs_delta(energy_a, energy_b),
        passing=passing,
        accuracy=accuracy,
    )
