"""From packs to configurations, repeats pooled: each is worked out once, then kept by the content of its packs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from passkwh.analysis.bootstrap import draw_each
from passkwh.analysis.conventions import OURS
from passkwh.analysis.frames import Frames, Run, sample_frame
from passkwh.analysis.intervals import intervals
from passkwh.analysis.pooling import compare
from passkwh.analysis.results import Interval
from passkwh.analysis.task_table import task_table
from passkwh.analysis.tasks import TaskTable
from passkwh.records import content_hash
from passkwh.reports.leaderboard import ranks
from passkwh.reports.leaderboard.cache import Cache
from passkwh.reports.leaderboard.detail import DomainLine, details, task_rows, task_script, verdicts
from passkwh.reports.leaderboard.ingest import Pack, statistics
from passkwh.reports.leaderboard.rows import Row, address, configuration_key, row
from passkwh.reports.leaderboard.workers import Workers

RESAMPLES = 10_000
CHUNK = 64
"""At most so many configurations are worked out together: they share the draws of tasks."""


@dataclass(frozen=True)
class Configuration:
    """A row with what its page shows."""

    row: Row
    runs: tuple[Run, ...]
    sums: tuple[str, ...]
    """SHA-256 of its packs."""
    domains: tuple[DomainLine, ...]
    task_rows: str
    """HTML, escaped."""
    task_script: str
    picture: str
    """Power over time of the first run: SVG, escaped."""


@dataclass(frozen=True)
class Group:
    """The packs of one configuration."""

    id: str
    """Of its row: what the configuration is."""
    key: str
    """Hash of the packs' content, by which results are kept."""
    packs: tuple[Pack, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        """Of its packs."""
        return tuple(pack.run for pack in self.packs if pack.run is not None)


def configurations(
    packs: Sequence[Pack], cache: Cache, workers: Workers, publish: Callable[[Configuration], None]
) -> list[tuple[Row, bool]]:
    """Every configuration of the valid packs: its row with its ranks, and whether it was looked up.

    ``publish`` is called with each configuration in whatever process worked it out.
    """
    groups = _groups(packs)
    # To show what is known takes less time than to start processes for it.
    known = {key for key in groups if cache.has("rows", key)}
    made = [_work_out(cache, publish, [group])[0] for key, group in groups.items() if key in known]
    fresh = [group for key, group in groups.items() if key not in known]
    size = max(1, min(CHUNK, len(fresh) // (4 * workers.count)))
    parts = [fresh[i : i + size] for i in range(0, len(fresh), size)]
    worked_out = workers.map(partial(_work_out, cache, publish), parts, "work out configurations")
    made += [one for part in worked_out for one in part]
    by_id = {group.id: group for group in groups.values()}
    rows = {one.id: one for one in made}
    contents = {row_id: group.key for row_id, group in by_id.items()}
    ranked = ranks.with_ranks(
        [rows[row_id] for row_id in by_id], contents, lambda of: _table_of(cache, by_id[of]), cache
    )
    return [(one, contents[one.id] in known) for one in ranked]


def _groups(packs: Sequence[Pack]) -> dict[str, Group]:
    """Packs that are repeats of one configuration, by key."""
    repeats: dict[str, list[Pack]] = {}
    for pack in packs:
        if pack.run is not None:
            repeats.setdefault(configuration_key(pack.run), []).append(pack)
    ordered = [tuple(sorted(members, key=lambda pack: pack.sha256)) for members in repeats.values()]
    groups = [Group(address(members[0].run), _group_key(members), members) for members in ordered if members[0].run]
    return {group.key: group for group in groups}


def _group_key(packs: Sequence[Pack]) -> str:
    """Of what the packs hold, and of the convention by which their energies are, where that is not ours."""
    by = next(pack.run.convention for pack in packs if pack.run is not None)
    sums = [pack.sha256 for pack in packs]
    return content_hash(sums if by == OURS else [*sums, by.name])[:16]


def _work_out(cache: Cache, publish: Callable[[Configuration], None], groups: Sequence[Group]) -> list[Row]:
    """Publish configurations, after computing those that are not in the cache; their rows."""
    facts = {group.key: value for group in groups if (value := cache.get("rows", group.key)) is not None}
    facts |= _compute(cache, [group for group in groups if group.key not in facts])
    rows = []
    for group in groups:
        value = facts[group.key]
        rows.append(Row.model_validate(value["row"]))
        domains = tuple(DomainLine.model_validate(line) for line in value["domains"])
        shown = (value["task_rows"], value["task_script"], group.packs[0].picture)
        sums = tuple(pack.sha256 for pack in group.packs)
        publish(Configuration(rows[-1], group.runs, sums, domains, *shown))
    return rows


def _compute(cache: Cache, groups: Sequence[Group]) -> dict[str, dict[str, Any]]:
    """Of each configuration what its row and page show, put into the cache."""
    samples = [[statistics(cache, pack) for pack in group.packs] for group in groups]
    tables = [_table(group, of_group) for group, of_group in zip(groups, samples, strict=True)]
    facts = {}
    for group, of_group, table, estimates in zip(groups, samples, tables, _intervals(tables), strict=True):
        detail = details(table, verdicts(of_group))
        facts[group.key] = {
            "row": row(group.runs, estimates, group.id, group.key, _warnings(group.packs, table)).model_dump(
                mode="json"
            ),
            "domains": [line.model_dump() for line in detail.domains],
            "task_rows": task_rows(detail),
            "task_script": task_script(group.id, detail),
        }
        cache.put("rows", group.key, facts[group.key])
    return facts


def _table(group: Group, samples: Sequence[pa.Table]) -> TaskTable:
    """The tasks of one configuration, repeats pooled."""
    return task_table(compare(Frames(group.runs, sample_frame(samples))))


def _table_of(cache: Cache, group: Group) -> TaskTable:
    return _table(group, [statistics(cache, pack) for pack in group.packs])


def _intervals(tables: Sequence[TaskTable]) -> list[Iterable[Interval]]:
    """Intervals of every table in its own right; those with as many tasks are resampled together."""
    by_size: dict[int, list[int]] = {}
    for position, table in enumerate(tables):
        by_size.setdefault(len(table.task_ids), []).append(position)
    estimates: dict[int, Iterable[Interval]] = {}
    for positions in by_size.values():
        draws = draw_each([tables[p] for p in positions], RESAMPLES)
        estimates |= {position: intervals(one) for position, one in zip(positions, draws, strict=True)}
    return [estimates[position] for position in range(len(tables))]


def _warnings(packs: Sequence[Pack], table: TaskTable) -> list[str]:
    """What a reader must know: the runs' own warnings, what checking found, and tasks that were left out."""
    runs = [pack.run for pack in packs if pack.run is not None]
    texts = [run.convention_note for run in runs if run.convention_note]
    texts += [warning for run in runs for warning in run.summary.warnings]
    texts += [str(finding) for pack in packs for finding in pack.findings]
    return [text[:400] for text in dict.fromkeys([*texts, *table.notes])][:20]
