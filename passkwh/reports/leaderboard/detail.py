"""What a configuration's page and the compare view need beyond the row: every task, and the seven domains."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np

from passkwh.analysis.domains import task_domains
from passkwh.analysis.frames import Frames
from passkwh.analysis.results import finite
from passkwh.analysis.tasks import TaskTable
from passkwh.harness.store import SAMPLES
from passkwh.records import Record

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


def details(frames: Frames, table: TaskTable) -> Detail:
    """Details of the one configuration in the table."""
    said = _verdicts([run.path / SAMPLES for run in frames.runs])
    return Detail(
        tasks=table.task_ids,
        evaluated=tuple(int(n) for n in table.evaluated[0]),
        passed=tuple(int(n) for n in table.passed[0]),
        energy_j=tuple(finite(value) for value in table.energy_j[0]),
        tokens=tuple(float(n) for n in table.tokens[0]),
        status=tuple(said.get(task, ("", ""))[0] for task in table.task_ids),
        message=tuple(said.get(task, ("", ""))[1] for task in table.task_ids),
        domains=_domains(table),
    )


_VERDICTS = """
WITH counted AS (
    SELECT task_id, verdict.status AS status, count(*) AS n, min(verdict.detail) AS message
    FROM read_json($files, format = 'newline_delimited',
        columns = {'task_id': 'VARCHAR', 'verdict': 'STRUCT(status VARCHAR, detail VARCHAR)'})
    WHERE verdict IS NOT NULL GROUP BY ALL
)
SELECT task_id,
    CASE WHEN count(*) = 1 AND sum(n) = 1 THEN any_value(status)
        ELSE string_agg(n || ' ' || status, ', ' ORDER BY n DESC, status) END,
    coalesce(max(message), '')
FROM counted GROUP BY task_id
"""


def _verdicts(files: list[Path]) -> dict[str, tuple[str, str]]:
    """Verdicts of each task in words, and the message of a failure where there is one."""
    connection = duckdb.connect()
    try:
        found = connection.execute(_VERDICTS, {"files": [str(file) for file in files]}).fetchall()
    finally:
        connection.close()
    return {task: (status.replace("_", " "), " ".join(message.split())[:LONGEST]) for task, status, message in found}


def _domains(table: TaskTable) -> tuple[DomainLine, ...]:
    members = task_domains(table.task_ids)
    lines = []
    for domain in members.columns:
        mask = members[domain].to_numpy(dtype=bool)
        if not mask.any():
            continue
        rates = table.pass_rates()[0, mask]
        tokens = float(table.tokens[0, mask].sum())
        lines.append(
            DomainLine(
                domain=str(domain),
                tasks=int(mask.sum()),
                pass_rate=finite(float(np.mean(rates))),
                energy_j=finite(float(np.mean(table.energy_j[0, mask]))),
                joules_per_token=finite(float(table.generation_j[0, mask].sum()) / tokens) if tokens else None,
            )
        )
    return tuple(lines)
