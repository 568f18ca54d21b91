"""What a configuration's page and the compare view need beyond the row: every task, and the seven domains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from passkwh.analysis.domains import task_domains
from passkwh.analysis.results import finite
from passkwh.analysis.tasks import TaskTable
from passkwh.harness.store import SAMPLES
from passkwh.records import Record
from passkwh.reports.leaderboard.figures import number
from passkwh.reports.leaderboard.markup import clean, script_json

LONGEST = 160
"""So much of a failure's message is shown."""


class DomainLine(Record):
    """One of BigCodeBench's domains (a task may be in several)."""

    domain: str
    tasks: int
    pass_rate: float | None
    energy_j: float | None
    joules_per_token: float | None


class Detail(Record):
    """Per task, in the order of the run: columns of equal length. Energies, tokens and times are of one repeat."""

    tasks: tuple[str, ...]
    evaluated: tuple[int, ...]
    passed: tuple[int, ...]
    energy_j: tuple[float | None, ...]
    tokens: tuple[float, ...]
    status: tuple[str, ...]
    """Verdicts over samples and repeats, as ``pass`` or ``2 pass, 1 timeout``."""
    message: tuple[str, ...]
    domains: tuple[DomainLine, ...]


Said = Mapping[str, tuple[str, str]]
"""Of each task: its verdicts in words, and the message of a failure where there is one."""


def details(table: TaskTable, said: Said) -> Detail:
    """Details of the one configuration in the table, from what was said of its tasks."""
    return Detail(
        tasks=table.task_ids,
        evaluated=tuple(int(n) for n in table.evaluated[0]),
        passed=tuple(int(n) for n in table.passed[0]),
        energy_j=tuple(finite(value) for value in table.energy_j[0]),
        tokens=tuple(float(n) for n in table.tokens[0]),
        status=tuple(said.get(task, ("", ""))[0] for task in table.task_ids),
        message=tuple(said.get(task, ("", ""))[1] for task in table.task_ids),
        domains=_domains(table, _members(table.task_ids)),
    )


_VERDICTS = """
WITH counted AS (
    SELECT filename, task_id, verdict.status AS status, count(*) AS n, min(verdict.detail) AS message
    FROM read_json($files, format = 'newline_delimited', filename = true,
        columns = {'task_id': 'VARCHAR', 'verdict': 'STRUCT(status VARCHAR, detail VARCHAR)'})
    WHERE verdict IS NOT NULL GROUP BY ALL
)
SELECT $configurations[list_position($files, filename)] AS configuration, task_id,
    CASE WHEN count(*) = 1 AND sum(n) = 1 THEN any_value(status)
        ELSE string_agg(n || ' ' || status, ', ' ORDER BY n DESC, status) END,
    coalesce(max(message), '')
FROM counted GROUP BY configuration, task_id
"""


def verdicts(configurations: Sequence[Sequence[Path]]) -> list[Said]:
    """What was said of the tasks of each configuration, given as the folders of its runs; read in one go."""
    files = [str(folder / SAMPLES) for folders in configurations for folder in folders]
    places = [place for place, folders in enumerate(configurations) for _ in folders]
    connection = duckdb.connect()
    try:
        rows = connection.execute(_VERDICTS, {"files": files, "configurations": places}).fetchall()
    finally:
        connection.close()
    found: list[dict[str, tuple[str, str]]] = [{} for _ in configurations]
    for place, task, status, message in rows:
        found[place][task] = (status.replace("_", " "), " ".join(message.split())[:LONGEST])
    return [*found]


@lru_cache(maxsize=8)
def _members(task_ids: tuple[str, ...]) -> dict[str, NDArray[np.bool_]]:
    """Which tasks are in each domain; most configurations of a board ran the same tasks."""
    found = task_domains(task_ids)
    return {str(domain): found[domain].to_numpy(dtype=bool) for domain in found.columns}


def _domains(table: TaskTable, members: Mapping[str, NDArray[np.bool_]]) -> tuple[DomainLine, ...]:
    lines = []
    for domain, mask in members.items():
        if not mask.any():
            continue
        rates = table.pass_rates()[0, mask]
        tokens = float(table.tokens[0, mask].sum())
        lines.append(
            DomainLine(
                domain=domain,
                tasks=int(mask.sum()),
                pass_rate=finite(float(np.mean(rates))),
                energy_j=finite(float(np.mean(table.energy_j[0, mask]))),
                joules_per_token=finite(float(table.generation_j[0, mask].sum()) / tokens) if tokens else None,
            )
        )
    return tuple(lines)


def task_rows(detail: Detail) -> str:
    """Table rows of every task; plain string work, as a board has a million of them."""
    lines = []
    columns = (detail.tasks, detail.status, detail.passed, detail.evaluated, detail.energy_j, detail.tokens)
    for task, status, passed, evaluated, energy_j, tokens, message in zip(*columns, detail.message, strict=True):
        kind = "pass" if evaluated and passed == evaluated else "bad" if status in ("timeout", "error") else "fail"
        lines.append(
            f'<tr><td class="left">{clean(task)}<td class="left {kind}">{clean(status) or "—"}<td>{number(energy_j)}'
            f'<td>{tokens:.0f}<td class="left wide note">{clean(message)}'
        )
    return "\n".join(lines)


def task_script(row_id: str, detail: Detail) -> str:
    """The per-task script of a configuration: a call with data, loaded when two are compared."""
    data = {
        "tasks": detail.tasks, "evaluated": detail.evaluated, "passed": detail.passed, "energy_j": detail.energy_j,
    }  # fmt: skip
    return f"passkwh.loaded({script_json(row_id)},{script_json(data)});\n"
