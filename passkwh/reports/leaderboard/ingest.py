"""From packs to configurations: each pack is checked once, each configuration worked out once, then kept by content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from passkwh.analysis.bootstrap import draw_each, intervals
from passkwh.analysis.frames import Frames, Run
from passkwh.analysis.pooling import compare
from passkwh.analysis.tasks import TaskTable, task_table
from passkwh.errors import UsageError
from passkwh.records import Manifest, Summary, content_hash
from passkwh.reports.leaderboard import ranks
from passkwh.reports.leaderboard.cache import Cache
from passkwh.reports.leaderboard.columns import columns, frame, verdicts
from passkwh.reports.leaderboard.detail import DomainLine, details, task_rows, task_script
from passkwh.reports.leaderboard.findings import Finding
from passkwh.reports.leaderboard.rows import Row, configuration_key, row
from passkwh.reports.leaderboard.timeline import Timeline, timeline
from passkwh.reports.leaderboard.validate import duplicates, validate
from passkwh.reports.leaderboard.workers import Workers

RESAMPLES = 10_000
CHUNK = 64
"""At most so many configurations are worked out together: they share the draws of tasks."""

Job = tuple[str, list[tuple[Path, str]]]
"""A configuration: its key, and its packs, each with its checksum."""


@dataclass(frozen=True)
class Pack:
    """A pack as found: refused with errors, or a run to be shown."""

    path: Path
    sha256: str
    findings: tuple[Finding, ...]
    fingerprint: str
    run: Run | None


@dataclass(frozen=True)
class Configuration:
    """A row with what its page shows."""

    row: Row
    runs: tuple[Run, ...]
    domains: tuple[DomainLine, ...]
    task_rows: str
    """HTML, escaped."""
    task_script: str
    timelines: tuple[Timeline, ...]


def inspect(given: Sequence[Path], cache: Cache, workers: Workers) -> list[Pack]:
    """Check packs, those that were checked before by looking up; a run that stands in two is refused in the later."""
    paths = list(dict.fromkeys(given))
    with ThreadPoolExecutor(workers.count) as threads:  # hashing needs no interpreter
        sums = list(threads.map(_sum, paths))
    known = {key: found for key in set(sums) if (found := cache.get("packs", key)) is not None}
    todo = {key: path for key, path in zip(sums, paths, strict=True) if key not in known}
    jobs = [(path, key) for key, path in todo.items()]
    known |= zip(todo, workers.map(partial(_inspect, cache), jobs), strict=True)
    return _without_duplicates([_pack(path, key, known[key]) for path, key in zip(paths, sums, strict=True)])


def configurations(
    packs: Sequence[Pack], cache: Cache, workers: Workers, publish: Callable[[Configuration], None]
) -> list[tuple[Row, bool]]:
    """Every configuration of the valid packs, repeats pooled: its row with its ranks, and whether it was looked up.

    ``publish`` is called with each configuration in whatever process worked it out.
    """
    groups: dict[str, list[Pack]] = {}
    for pack in packs:
        if pack.run is not None:
            groups.setdefault(configuration_key(pack.run), []).append(pack)
    members = [sorted(group, key=lambda p: p.sha256) for group in groups.values()]
    by_id = {content_hash([p.sha256 for p in group])[:16]: group for group in members}
    jobs = [(key, [(p.path, p.sha256) for p in group]) for key, group in by_id.items()]
    # To show what is known takes less time than to start processes for it.
    known = [job for job in jobs if cache.has("rows", job[0])]
    fresh = [job for job in jobs if not cache.has("rows", job[0])]
    size = max(1, min(CHUNK, len(fresh) // (4 * workers.count)))
    parts = [fresh[i : i + size] for i in range(0, len(fresh), size)]
    work_out = partial(_work_out, cache, publish)
    made = dict(one for job in known for one in work_out([job]))
    made.update(one for part in workers.map(work_out, parts) for one in part)
    rows = [Row.model_validate(made[key][0]) for key in by_id]
    ranked = ranks.with_ranks(rows, lambda key: _table(by_id[key], [_columns(cache, p) for p in by_id[key]]), cache)
    return [(row, made[row.id][1]) for row in ranked]


# ---------------------------------------------------------------- packs


def _sum(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as problem:
        raise UsageError(f"{path} cannot be read: {problem.strerror}") from problem


def _inspect(cache: Cache, job: tuple[Path, str]) -> dict[str, Any]:
    """What is found out about a pack, put into the cache with the columns of its samples."""
    path, sha256 = job
    checked = validate(path)
    if checked.sha256 and checked.sha256 != sha256:
        raise UsageError(f"{path} changed while the board was built: build again")
    submission = checked.submission if checked.valid else None
    found: dict[str, Any] = {
        "findings": [finding.model_dump() for finding in checked.findings],
        "fingerprint": checked.fingerprint,
    }
    if submission is not None:
        manifest, samples = submission.manifest, submission.samples
        found["manifest"] = manifest.model_dump(mode="json")
        found["summary"] = submission.summary.model_dump(mode="json")
        found["timeline"] = timeline(manifest, samples, submission.trace).model_dump(mode="json")
        cache.put_table("columns", sha256, columns(manifest, samples))
    cache.put("packs", sha256, found)
    return found


def _pack(path: Path, sha256: str, found: dict[str, Any]) -> Pack:
    run = None
    if "manifest" in found:
        run = Run(path, Manifest.model_validate(found["manifest"]), Summary.model_validate(found["summary"]))
    findings = tuple(Finding.model_validate(finding) for finding in found["findings"])
    return Pack(path, sha256, findings, found["fingerprint"], run)


def _without_duplicates(packs: Sequence[Pack]) -> list[Pack]:
    again = duplicates((pack.path, pack.fingerprint) for pack in packs if pack.run is not None)
    return [
        replace(pack, findings=(*pack.findings, again[pack.path]), run=None) if pack.path in again else pack
        for pack in sorted(packs, key=lambda p: (p.path.name, str(p.path)))
    ]


# ---------------------------------------------------------------- configurations


@dataclass(frozen=True)
class _Group:
    """The packs of a configuration, with what was kept of them."""

    key: str
    packs: tuple[Pack, ...]
    timelines: tuple[Timeline, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        return tuple(pack.run for pack in self.packs if pack.run is not None)


def _work_out(
    cache: Cache, publish: Callable[[Configuration], None], jobs: Sequence[Job]
) -> list[tuple[str, tuple[dict[str, Any], bool]]]:
    """Publish configurations, those that are not in the cache after working them out; keys, rows, and if they were."""
    groups = [_group(cache, key, packs) for key, packs in jobs]
    known = {group.key: cache.get("rows", group.key) for group in groups}
    fresh = [group for group in groups if known[group.key] is None]
    found = {**known, **_compute(cache, fresh)}
    made = []
    for group in groups:
        value = found[group.key]
        assert value is not None, "it was worked out a moment ago"
        publish(
            Configuration(
                Row.model_validate(value["row"]),
                group.runs,
                tuple(DomainLine.model_validate(line) for line in value["domains"]),
                value["task_rows"],
                value["task_script"],
                group.timelines,
            )
        )
        made.append((group.key, (value["row"], known[group.key] is not None)))
    return made


def _group(cache: Cache, key: str, packs: Sequence[tuple[Path, str]]) -> _Group:
    found = [cache.get("packs", sha256) or _inspect(cache, (path, sha256)) for path, sha256 in packs]
    return _Group(
        key,
        tuple(_pack(path, sha256, one) for (path, sha256), one in zip(packs, found, strict=True)),
        tuple(Timeline.model_validate(one["timeline"]) for one in found),
    )


def _compute(cache: Cache, groups: Sequence[_Group]) -> dict[str, dict[str, Any]]:
    """Of each configuration what its row and page show."""
    kept = [[_columns(cache, pack) for pack in group.packs] for group in groups]
    tables = [_table(group.packs, samples) for group, samples in zip(groups, kept, strict=True)]
    made = {}
    for group, samples, table, found in zip(groups, kept, tables, _intervals(tables), strict=True):
        detail = details(table, verdicts(samples))
        made[group.key] = {
            "row": row(group.runs, found, group.key, _warnings(group.packs, table)).model_dump(mode="json"),
            "domains": [line.model_dump() for line in detail.domains],
            "task_rows": task_rows(detail),
            "task_script": task_script(group.key, detail),
        }
        cache.put("rows", group.key, made[group.key])
    return made


def _table(packs: Sequence[Pack], samples: Sequence[pa.Table]) -> TaskTable:
    """The tasks of one configuration, repeats pooled."""
    return task_table(compare(Frames(tuple(pack.run for pack in packs if pack.run is not None), frame(samples))))


def _columns(cache: Cache, pack: Pack) -> pa.Table:
    found = cache.get_table("columns", pack.sha256)
    if found is None:  # the cache was tidied by hand
        _inspect(cache, (pack.path, pack.sha256))
        found = cache.get_table("columns", pack.sha256)
    return found


def _intervals(tables: Sequence[TaskTable]) -> list[Any]:
    """Intervals of every table in its own right; those with as many tasks are resampled together."""
    by_size: dict[int, list[int]] = {}
    for position, table in enumerate(tables):
        by_size.setdefault(len(table.task_ids), []).append(position)
    found: list[Any] = [None] * len(tables)
    for positions in by_size.values():
        for position, draws in zip(positions, draw_each([tables[p] for p in positions], RESAMPLES), strict=True):
            found[position] = intervals(draws)
    return found


def _warnings(packs: Sequence[Pack], table: TaskTable) -> list[str]:
    """What a reader must know: the runs' own warnings, what checking found, and tasks that were left out."""
    said = [warning for pack in packs if pack.run is not None for warning in pack.run.summary.warnings]
    said += [str(finding) for pack in packs for finding in pack.findings]
    return [text[:400] for text in dict.fromkeys([*said, *table.notes])][:20]
