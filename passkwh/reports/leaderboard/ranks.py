"""How far the uncertainty of all lets a rank be trusted: configurations that cannot be told apart share ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from passkwh.analysis.bootstrap import draw
from passkwh.analysis.ranking import rank, spread_of
from passkwh.analysis.tasks import TaskTable, join
from passkwh.records import content_hash
from passkwh.reports.leaderboard.cache import Cache
from passkwh.reports.leaderboard.rows import Row

MOST = 40
"""All pairs are compared in every resample: beyond so many configurations that takes longer than the rest."""
MEASURE = "pass_at_kwh"


def with_ranks(
    rows: Sequence[Row], contents: Mapping[str, str], table_of: Callable[[str], TaskTable], cache: Cache
) -> list[Row]:
    """Rows with best and worst rank by pass@kWh within their group, where the group is small enough.

    ``contents`` has a hash of what each row is made of, by which ranks are kept. ``table_of`` gives the tasks of a row;
    it is asked only where ranks are not known yet.
    """
    groups: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        if MEASURE in row.measures:
            groups.setdefault((row.tasks_key, row.hardware_key, row.provenance), []).append(row.id)
    ranks: dict[str, tuple[int, int]] = {}
    for ids in groups.values():
        if 1 < len(ids) <= MOST:
            ranks |= _ranks({one: contents[one] for one in sorted(ids)}, table_of, cache)
    return [row.model_copy(update={"ranks": ranks.get(row.id)}) for row in rows]


def _ranks(group: Mapping[str, str], table_of: Callable[[str], TaskTable], cache: Cache) -> dict[str, tuple[int, int]]:
    key = content_hash(list(group.items()))[:16]
    known = cache.get("ranks", key)
    if known is None:
        table = join([table_of(one) for one in group], list(group))
        draws = draw(table) if table is not None else None
        known = {}
        if draws is not None:
            ranking = rank(
                MEASURE,
                "max",
                draws.labels,
                draws.estimates[MEASURE],
                draws.resampled[MEASURE],
                spread=spread_of(draws, MEASURE),
            )
            known = {one.label: [one.best_rank, one.worst_rank] for one in ranking.ranked}
        cache.put("ranks", key, known)
    return {one: (best, worst) for one, (best, worst) in known.items()}
