"""How far the uncertainty of all lets a rank be trusted: configurations that cannot be told apart share ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from passkwh.analysis.bootstrap import draw
from passkwh.analysis.ranking import rank
from passkwh.analysis.results import finite
from passkwh.analysis.tasks import TaskTable
from passkwh.records import content_hash
from passkwh.reports.leaderboard.cache import Cache
from passkwh.reports.leaderboard.rows import Row

MOST = 40
"""All pairs are compared in every resample: beyond so many configurations that takes longer than the rest."""
MEASURE = "pass_at_kwh"


def kept(table: TaskTable) -> dict[str, Any]:
    """What ranking needs of one configuration's tasks."""
    return {
        "tasks": table.task_ids,
        "evaluated": table.evaluated[0].tolist(),
        "passed": table.passed[0].tolist(),
        "energy_j": [finite(value) for value in table.energy_j[0]],
        "relative_se": float(table.relative_se[0]),
    }


def with_ranks(rows: Sequence[Row], cache: Cache) -> list[Row]:
    """Rows with best and worst rank by pass@kWh within their group, where the group is small enough."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        if MEASURE in row.measures:
            groups.setdefault((row.tasks_key, row.hardware_key, row.provenance), []).append(row.id)
    found: dict[str, tuple[int, int]] = {}
    for ids in groups.values():
        if 1 < len(ids) <= MOST:
            found |= _ranks(sorted(ids), cache)
    return [row.model_copy(update={"ranks": found.get(row.id)}) for row in rows]


def _ranks(ids: list[str], cache: Cache) -> dict[str, tuple[int, int]]:
    key = content_hash(ids)[:16]
    known = cache.get("ranks", key)
    if known is None:
        table = _joint([cache.get("tables", one) or {} for one in ids], ids)
        draws = draw(table) if table is not None else None
        known = {}
        if draws is not None:
            ranking = rank(MEASURE, "max", draws.labels, draws.estimates[MEASURE], draws.resampled[MEASURE])
            known = {one.label: [one.best_rank, one.worst_rank] for one in ranking.ranked}
        cache.put("ranks", key, known)
    return {one: (best, worst) for one, (best, worst) in known.items()}


def _joint(tables: Sequence[dict[str, Any]], ids: Sequence[str]) -> TaskTable | None:
    """One table over the tasks that all have; None where they share none or one is not kept."""
    where = [{task: place for place, task in enumerate(table.get("tasks", ()))} for table in tables]
    common = [task for task in where[0] if all(task in places for places in where)]
    if not common:
        return None

    def column(name: str, kind: type) -> np.ndarray[Any, Any]:
        values = [[table[name][places[task]] for task in common] for table, places in zip(tables, where, strict=True)]
        return np.array(values, dtype=kind)

    nothing = np.zeros((len(ids), len(common)))
    return TaskTable(
        labels=tuple(ids),
        task_ids=tuple(common),
        evaluated=column("evaluated", np.int64),
        passed=column("passed", np.int64),
        energy_j=column("energy_j", np.float64),
        generation_j=nothing,
        tokens=nothing,
        generation_s=nothing,
        relative_se=np.array([table["relative_se"] for table in tables]),
    )
