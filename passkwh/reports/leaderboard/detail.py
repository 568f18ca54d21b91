"""What a configuration's page and the compare view need beyond the row: every task, and the seven domains."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from passkwh.analysis.domains import task_domains
from passkwh.analysis.results import finite
from passkwh.analysis.tasks import TaskTable
from passkwh.records import Record, content_hash
from passkwh.reports.leaderboard.cells import number
from passkwh.reports.leaderboard.escape import escaped, script_json

Verdicts = Mapping[str, tuple[str, str]]
"""Of each task: its verdicts in words, and the message of a failure where there is one."""


class DomainLine(Record):
    """One of BigCodeBench's domains (a task may be in several)."""

    domain: str
    tasks: int
    pass_rate: float | None
    energy_j: float | None
    joules_per_token: float | None


@dataclass(frozen=True)
class Detail:
    """Per task, in the order of the run: columns of equal length. Energies and tokens are of one repeat."""

    tasks: Sequence[str]
    evaluated: Sequence[int]
    passed: Sequence[int]
    energy_j: Sequence[float | None]
    tokens: Sequence[float]
    verdicts: Sequence[tuple[str, str]]
    """Over samples and repeats, as ``pass`` or ``2 pass, 1 timeout``, and the message of a failure."""
    domains: tuple[DomainLine, ...]


def details(table: TaskTable, verdicts_of: Verdicts) -> Detail:
    """Details of the one configuration in the table."""
    return Detail(
        tasks=table.task_ids,
        evaluated=table.evaluated[0].tolist(),
        passed=table.passed[0].tolist(),
        energy_j=[finite(value) for value in table.energy_j[0].tolist()],
        tokens=table.tokens[0].tolist(),
        verdicts=[verdicts_of.get(task, ("", "")) for task in table.task_ids],
        domains=_domains(table, _members(table.task_ids)),
    )


def verdicts(tables: Sequence[pa.Table]) -> Verdicts:
    """Verdicts of the tasks of one configuration, over samples and repeats (tables with task_id, status, message)."""
    columns = ("task_id", "status", "message")
    rows = [row for table in tables for row in zip(*(table[name].to_pylist() for name in columns), strict=True)]
    given = [row for row in rows if row[1]]
    once = {task: (status.replace("_", " "), message) for task, status, message in given}
    if len(once) == len(given):
        return once
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    messages: dict[str, dict[str, str]] = defaultdict(dict)
    for task, status, message in given:
        counted[task][status] += 1
        messages[task][status] = min(message, messages[task].get(status, message))
    return {task: (_in_words(statuses), max(messages[task].values())) for task, statuses in counted.items()}


def _in_words(statuses: Counter[str]) -> str:
    if statuses.total() == 1:
        return next(iter(statuses)).replace("_", " ")
    ordered = sorted(statuses.items(), key=lambda entry: (-entry[1], entry[0]))
    return ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in ordered)


@lru_cache(maxsize=8)
def _members(task_ids: tuple[str, ...]) -> dict[str, NDArray[np.bool_]]:
    """Which tasks are in each domain; most configurations of a board ran the same tasks."""
    is_in = task_domains(task_ids)
    return {str(domain): is_in[domain].to_numpy(dtype=bool) for domain in is_in.columns}


def _domains(table: TaskTable, members: Mapping[str, NDArray[np.bool_]]) -> tuple[DomainLine, ...]:
    lines = []
    rates = table.pass_rates()[0]
    for domain, mask in members.items():
        if not mask.any():
            continue
        tokens = float(table.tokens[0, mask].sum())
        lines.append(
            DomainLine(
                domain=domain,
                tasks=int(mask.sum()),
                pass_rate=finite(float(np.mean(rates[mask]))),
                energy_j=finite(float(np.mean(table.energy_j[0, mask]))),
                joules_per_token=finite(float(table.generation_j[0, mask].sum()) / tokens) if tokens else None,
            )
        )
    return tuple(lines)


PLAIN_NAME = re.compile(r"[A-Za-z0-9_./:+-]{1,100}")


@lru_cache(maxsize=10_000)
def task_anchor(task: str) -> str:
    """Where a task stands on a configuration's page: ``task:NAME``, or a hash of a name that no address can hold."""
    return f"task:{task if PLAIN_NAME.fullmatch(task) else content_hash(task)[:16]}"


def task_rows(detail: Detail) -> str:
    """Table rows of every task; plain string work, and few bytes, as a board has a million of them."""
    lines = []
    columns = (detail.tasks, detail.passed, detail.evaluated, detail.energy_j, detail.tokens, detail.verdicts)
    for task, passed, evaluated, energy_j, tokens, (status, message) in zip(*columns, strict=True):
        kind = "pass" if evaluated and passed == evaluated else "bad" if status in ("timeout", "error") else "fail"
        lines.append(
            f'<tr id="{task_anchor(task)}"><td>{escaped(task)}<td class="{kind}">{escaped(status) or "—"}'
            f"<td>{number(energy_j)}<td>{tokens:.0f}<td>{escaped(message)}"
        )
    return "\n".join(lines)


def task_script(row_id: str, detail: Detail) -> str:
    """The per-task script of a configuration: a call with data, loaded when two are compared."""
    data = {
        "tasks": detail.tasks, "evaluated": detail.evaluated, "passed": detail.passed, "energy_j": detail.energy_j,
    }  # fmt: skip
    return f"passkwh.loaded({script_json(row_id)},{script_json(data)});\n"
