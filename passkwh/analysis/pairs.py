"""Two configurations on the same tasks: do they differ, by how much, and at what loss of accuracy?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from passkwh.analysis.effects import cliffs_delta, geometric_mean_ratio
from passkwh.analysis.equivalence import EquivalenceResult, paired_rates, tango
from passkwh.analysis.error_model import EnergyContrast, Scope, energy_contrast, scope
from passkwh.analysis.multiplicity import Adjustment, adjust, adjust_both_orders
from passkwh.analysis.paired_tests import mcnemar, wilcoxon
from passkwh.analysis.results import Interval, TestResult, no_result
from passkwh.analysis.tasks import Floats, TaskTable
from passkwh.analysis.units_of_measurement import joint
from passkwh.records import Record

COMPARED = ("energy_kwh", "pass_at_1", "pass_at_kwh", "joules_per_token", "tokens_per_s")
"""The measures on which two configurations are contrasted."""


_ADJUSTMENTS: tuple[Adjustment, ...] = ("holm", "bh")


class PairTests(Record):
    """Matched tests of one pair, ``a`` against ``b``; adjusted p-values are over the family of all pairs."""

    a: str
    b: str
    scope: Annotated[Scope, Field(description="what a difference in energy is one of")]
    scope_reason: Annotated[str | None, Field(description="why it is of these runs only")] = None
    energy: Annotated[TestResult, Field(description="the log ratio of totals, with every source of error")]
    energy_p_holm: float | None = None
    energy_p_bh: float | None = None
    energy_variance: Annotated[
        dict[str, float], Field(description="of the log ratio, by source: units, run-to-run, meter, idle, drift")
    ]
    wilcoxon: Annotated[TestResult, Field(description="unit by unit, of these runs: no error of runs is in it")]
    energy_ratio: Annotated[Interval, Field(description="geometric mean over tasks of a's energy over b's")]
    energy_cliffs_delta: Annotated[float | None, Field(description="ignores that tasks are matched")]
    passing: Annotated[TestResult, Field(description="McNemar, or Wilcoxon on rates where a task has several samples")]
    passing_p_holm: float | None = None
    passing_p_bh: float | None = None
    accuracy: Annotated[EquivalenceResult, Field(description="a's pass rate against b's, with the stated margin")]
    not_worse_p_holm: Annotated[float | None, Field(description="that a is not worse than b, over all claims")] = None
    b_not_worse_p_holm: Annotated[float | None, Field(description="that b is not worse than a")] = None
    equivalent_p_holm: float | None = None


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
    accuracies = [pair.accuracy for pair in tested]
    claims = adjust_both_orders([p for one in accuracies for p in (one.p_non_inferior, one.p_b_non_inferior)])
    adjusted["not_worse_p_holm"], adjusted["b_not_worse_p_holm"] = claims[::2], claims[1::2]
    adjusted["equivalent_p_holm"] = adjust([one.p_equivalent for one in accuracies], "holm")
    return tuple(
        pair.model_copy(update={name: values[n] for name, values in adjusted.items()}) for n, pair in enumerate(tested)
    )


def _pair(table: TaskTable, rates: Floats, i: int, j: int, margin: float, level: float) -> PairTests:
    a, b = table.labels[i], table.labels[j]
    single = bool((table.evaluated[[i, j]] == 1).all())
    rate_a, rate_b = rates[i], rates[j]
    judged = not (np.isnan(rate_a).any() or np.isnan(rate_b).any())
    alpha = round(1 - level, 12)
    # Verdicts that are the same in every sample of a task are one verdict, whatever the number of samples.
    verdicts = judged and bool(np.isin(rates[[i, j]], (0.0, 1.0)).all())
    if judged and not (single or verdicts):
        passing = wilcoxon(rate_a, rate_b)
        accuracy = paired_rates(rate_a, rate_b, margin, alpha)
    else:
        verdict_a, verdict_b = (rate_a > 0, rate_b > 0) if judged else (np.empty(0), np.empty(0))
        passing = mcnemar(verdict_a, verdict_b)
        accuracy = tango(verdict_a, verdict_b, margin, alpha)
    contrast = energy_contrast(table.measured, i, j)
    missing = bool(np.isnan(table.energy_j[[i, j]]).any())
    per_unit, apart = table.matched_energies([a, b])
    energies = table.select([a, b]).energies()
    error, noise = table.measured.geometric_error, table.measured.geometric_noise
    shared = float(error.se[i] ** 2 + error.se[j] ** 2), float(min(error.df[i], error.df[j]))
    of_task, _, matched = joint(table.units[[i, j]])
    units = [of_task] if matched else list(table.units[[i, j]])
    ratio = geometric_mean_ratio(
        table.energy_j[i], table.energy_j[j], f"{a} vs {b}", level, shared, units, float(noise[i] + noise[j]),
        float(table.widened[[i, j]].max()),
    )  # fmt: skip
    what, why = scope(table.measured, i, j)
    return PairTests(
        a=a,
        b=b,
        scope=what,
        scope_reason=why,
        energy=contrast.test if isinstance(contrast, EnergyContrast) else contrast,
        energy_variance=contrast.parts if isinstance(contrast, EnergyContrast) else {},
        wilcoxon=no_result("Wilcoxon signed-rank", 0, apart) if apart else wilcoxon(per_unit[:, 0], per_unit[:, 1]),
        energy_ratio=ratio,
        energy_cliffs_delta=None if missing else cliffs_delta(energies[a], energies[b]),
        passing=passing,
        accuracy=accuracy,
    )
