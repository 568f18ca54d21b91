"""How far the uncertainty of all lets a rank be trusted: configurations that cannot be told apart share ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from passkwh.analysis.bootstrap import draw
from passkwh.analysis.ranking import rank
from passkwh.analysis.tasks import TaskTable
from passkwh.records import content_hash
from passkwh.reports.leaderboard.cache import Cache
from passkwh.reports.leaderboard.rows import Row

MOST = 40
"""All pairs are compared in every resample: beyond so many configurations that takes longer than the rest."""
MEASURE = "pass_at_kwh"


def with_ranks(rows: Sequence[Row], table_of: Callable[[str], TaskTable], cache: Cache) -> list[Row]:
    """Rows with best and worst rank by pass@kWh within their group, where the group is small enough.

    ``table_of`` gives the tasks of a configuration; it is asked only where ranks are not known yet.
    """
    groups: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        if MEASURE in row.measures:
            groups.setdefault((row.tasks_key, row.hardware_key, row.provenance), []).append(row.id)
    ranks: dict[str, tuple[int, int]] = {}
    for ids in groups.values():
        if 1 < len(ids) <= MOST:
            ranks |= _ranks(sorted(ids), table_of, cache)
    return [row.model_copy(update={"ranks": ranks.get(row.id)}) for row in rows]


def _ranks(ids: list[str], table_of: Callable[[str], TaskTable], cache: Cache) -> dict[str, tuple[int, int]]:
    key = content_hash(ids)[:16]
    known = cache.get("ranks", key)
    if known is None:
        table = _joint([table_of(one) for one in ids], ids)
        draws = draw(table) if table is not None else None
        known = {}
        if draws is not None:
            ranking = rank(MEASURE, "max", draws.labels, draws.estimates[MEASURE], draws.resampled[MEASURE])
            known = {one.label: [one.best_rank, one.worst_rank] for one in ranking.ranked}
        cache.put("ranks", key, known)
    return {one: (best, worst) for one, (best, worst) in known.items()}


def _joint(tables: Sequence[TaskTable], ids: Sequence[str]) -> TaskTable | None:
    """One table of all configurations over the tasks that all have; None where they share none."""
    where = [{task: place for place, task in enumerate(table.task_ids)} for table in tables]
    common = [task for task in where[0] if all(task in places for places in where)]
    if not common:
        return None
    cut = [table.over(np.array([places[task] for task in common])) for table, places in zip(tables, where, strict=True)]
    columns = ("evaluated", "passed", "energy_j", "generation_j", "tokens", "generation_s", "relative_se")
    joined = {name: np.concatenate([getattr(table, name) for table in cut]) for name in columns}
    return TaskTable(labels=tuple(ids), task_ids=tuple(common), **joined)
