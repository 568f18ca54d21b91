"""The thesis's first experiment: energy task by task and domain by domain (section 4.2.1, figures 4.6-4.9)."""

from __future__ import annotations

import numpy as np

from passkwh.analysis.domains import task_domains
from passkwh.analysis.pooling import Comparison
from passkwh.analysis.results import finite
from passkwh.analysis.tasks import EnergyKind, task_table
from passkwh.records import Record


class DomainRow(Record):
    """One domain of one configuration. A task that touches several domains counts in each."""

    label: str
    domain: str
    tasks: int
    share: float
    joules_per_task: float | None
    joules_per_token: float | None
    pass_at_1: float | None


def by_domain(comparison: Comparison, energy: EnergyKind = "gross") -> tuple[DomainRow, ...]:
    """Energy and accuracy of each configuration in each domain; empty where the tasks have no domains."""
    table = task_table(comparison, energy)
    domains = task_domains(table.task_ids)
    rates = table.pass_rates()
    rows = []
    for i, label in enumerate(table.labels):
        for domain in domains.columns:
            inside = domains[domain].to_numpy(dtype=bool)
            count = int(inside.sum())
            if count == 0:
                continue
            tokens = float(table.tokens[i, inside].sum())
            rows.append(
                DomainRow(
                    label=label,
                    domain=str(domain),
                    tasks=count,
                    share=count / len(inside),
                    joules_per_task=finite(np.mean(table.energy_j[i, inside])),
                    joules_per_token=finite(table.generation_j[i, inside].sum() / tokens) if tokens else None,
                    pass_at_1=finite(np.mean(rates[i, inside])),
                )
            )
    return tuple(rows)
