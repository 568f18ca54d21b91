"""The thesis's first experiment: energy task by task and domain by domain (section 4.2.1, figures 4.6-4.9)."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from passkwh.analysis.bootstrap import draw
from passkwh.analysis.conventions import EnergyKind
from passkwh.analysis.domains import task_domains
from passkwh.analysis.intervals import intervals
from passkwh.analysis.pooling import Comparison
from passkwh.analysis.results import Interval, finite
from passkwh.analysis.task_table import task_table
from passkwh.records import Record
from passkwh.units import kwh_to_joules


class DomainRow(Record):
    """One domain of one configuration. A task that touches several domains counts in each."""

    label: str
    domain: str
    tasks: int
    share: float
    joules_per_task: float | None
    joules_per_token: float | None
    pass_at_1: float | None
    joules_per_task_range: Annotated[
        tuple[float, float] | None, Field(description="interval over the domain's tasks; None for a single task")
    ] = None
    joules_per_token_range: tuple[float, float] | None = None
    pass_at_1_range: tuple[float, float] | None = None


def by_domain(
    comparison: Comparison, energy: EnergyKind = "gross", resamples: int = 2_000, seed: int = 0, level: float = 0.95
) -> tuple[DomainRow, ...]:
    """Energy and accuracy of each configuration in each domain; empty where the tasks have no domains.

    Intervals are bootstrapped over the domain's own tasks.
    """
    table = task_table(comparison, energy)
    domains = task_domains(table.task_ids)
    rates = table.pass_rates()
    ranges: dict[str, dict[tuple[str, str], Interval]] = {}
    for domain in domains.columns:
        chosen = np.flatnonzero(domains[domain].to_numpy(dtype=bool))
        if len(chosen):
            draws = draw(table.over(chosen), resamples, seed)
            ranges[str(domain)] = {(i.label, i.measure): i for i in intervals(draws, level)}
    rows = []
    for i, label in enumerate(table.labels):
        for domain, own in ranges.items():
            inside = domains[domain].to_numpy(dtype=bool)
            count, tokens = int(inside.sum()), float(table.tokens[i, inside].sum())
            rows.append(
                DomainRow(
                    label=label,
                    domain=domain,
                    tasks=count,
                    share=count / len(inside),
                    joules_per_task=finite(np.mean(table.energy_j[i, inside])),
                    joules_per_token=finite(table.generation_j[i, inside].sum() / tokens) if tokens else None,
                    pass_at_1=finite(np.mean(rates[i, inside])),
                    joules_per_task_range=_range(own[label, "energy_kwh"], kwh_to_joules(1.0) / count),
                    joules_per_token_range=_range(own[label, "joules_per_token"]),
                    pass_at_1_range=_range(own[label, "pass_at_1"]),
                )
            )
    return tuple(rows)


def _range(interval: Interval, scale: float = 1.0) -> tuple[float, float] | None:
    low, high = interval.low, interval.high
    return None if low is None or high is None else (low * scale, high * scale)
