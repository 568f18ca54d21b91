"""From packs to configurations: each pack is checked once, each configuration worked out once, then kept by content."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from passkwh.analysis.bootstrap import draw_each, intervals
from passkwh.analysis.frames import Frames, Run, load
from passkwh.analysis.pooling import compare
from passkwh.analysis.tasks import TaskTable, task_table
from passkwh.errors import UsageError
from passkwh.harness.store import MANIFEST, SAMPLES, SUMMARY, TRACE
from passkwh.records import Manifest, Summary, content_hash
from passkwh.reports.leaderboard import ranks
from passkwh.reports.leaderboard.cache import Cache
from passkwh.reports.leaderboard.detail import DomainLine, details, task_rows, task_script, verdicts
from passkwh.reports.leaderboard.findings import Finding, error
from passkwh.reports.leaderboard.pack import Problem, read_pack
from passkwh.reports.leaderboard.rows import Row, configuration_key, row
from passkwh.reports.leaderboard.timeline import Timeline, timeline
from passkwh.reports.leaderboard.validate import validate

RESAMPLES = 10_000
CHUNK = 16
"""Configurations that are worked out together: they share a reader and the draws of tasks."""
FEW = 4
"""So few are done in this process: starting others takes longer."""

Job = tuple[str, list[tuple[str, str, list[dict[str, Any]]]]]
"""A configuration to be worked out: its key, and its packs, each with checksum and findings."""
T = TypeVar("T")
R = TypeVar("R")


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


def inspect(paths: Sequence[Path], cache: Cache) -> list[Pack]:
    """Check packs, those that were checked before by looking up; a run that stands in two is refused in the later."""
    sums = [_sum(path) for path in paths]
    known = {key: found for key in set(sums) if (found := cache.get("packs", key)) is not None}
    todo = {key: path for key, path in zip(sums, paths, strict=True) if key not in known}
    for key, found in zip(todo, in_parallel(_inspect, list(todo.values())), strict=True):
        cache.put("packs", key, found)
        known[key] = found
    return _without_duplicates([_pack(path, known[key]) for path, key in zip(paths, sums, strict=True)])


def configurations(packs: Sequence[Pack], cache: Cache) -> Iterator[tuple[Configuration, bool]]:
    """Every configuration of the valid packs, repeats pooled, and whether it was looked up."""
    groups: dict[str, list[Pack]] = {}
    for pack in packs:
        if pack.run is not None:
            groups.setdefault(configuration_key(pack.run), []).append(pack)
    members = [sorted(group, key=lambda p: p.sha256) for group in groups.values()]
    keys = [content_hash([p.sha256 for p in group])[:16] for group in members]
    missing = [(key, group) for key, group in zip(keys, members, strict=True) if not cache.has("rows", key)]
    fresh = {key for key, _ in missing}
    jobs = [
        [(key, [(str(p.path), p.sha256, [f.model_dump() for f in p.findings]) for p in group]) for key, group in part]
        for part in (missing[i : i + CHUNK] for i in range(0, len(missing), CHUNK))
    ]
    for made in in_parallel(_work_out, jobs):
        for key, value, table in made:
            cache.put("tables", key, table)
            cache.put("rows", key, value)
    for key, group in zip(keys, members, strict=True):
        found = cache.get("rows", key)
        assert found is not None, "it was put there a moment ago"
        runs = tuple(p.run for p in group if p.run is not None)
        yield (
            Configuration(
                Row.model_validate(found["row"]),
                runs,
                tuple(DomainLine.model_validate(line) for line in found["domains"]),
                found["task_rows"],
                found["task_script"],
                tuple(Timeline.model_validate(t) for t in found["timelines"]),
            ),
            key not in fresh,
        )


def in_parallel(work: Callable[[T], R], jobs: Sequence[T]) -> Iterator[R]:
    """``work`` of every job in order, on all CPUs where that pays."""
    if len(jobs) <= FEW:
        yield from map(work, jobs)
        return
    # Spawned and not forked: the libraries here run threads of their own, which a fork would cut in half.
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(work, jobs)


# ---------------------------------------------------------------- packs


def _sum(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as problem:
        raise UsageError(f"{path} cannot be read: {problem.strerror}") from problem


def _inspect(path: Path) -> dict[str, Any]:
    checked = validate(path)
    submission = checked.submission if checked.valid else None
    return {
        "findings": [finding.model_dump() for finding in checked.findings],
        "fingerprint": checked.fingerprint,
        "sha256": checked.sha256,
        "manifest": None if submission is None else submission.manifest.model_dump(mode="json"),
        "summary": None if submission is None else submission.summary.model_dump(mode="json"),
    }


def _pack(path: Path, found: dict[str, Any]) -> Pack:
    run = None
    if found["manifest"] is not None:
        run = Run(path, Manifest.model_validate(found["manifest"]), Summary.model_validate(found["summary"]))
    findings = tuple(Finding.model_validate(finding) for finding in found["findings"])
    return Pack(path, found["sha256"], findings, found["fingerprint"], run)


def _without_duplicates(packs: Sequence[Pack]) -> list[Pack]:
    first: dict[str, Path] = {}
    kept = []
    for pack in sorted(packs, key=lambda p: (p.path.name, str(p.path))):
        if pack.run is not None and first.setdefault(pack.fingerprint, pack.path) != pack.path:
            kept.append(Pack(pack.path, pack.sha256, (*pack.findings, same_run(first[pack.fingerprint])), "", None))
        else:
            kept.append(pack)
    return kept


def same_run(other: Path) -> Finding:
    """The finding of a pack whose run another pack holds already."""
    return error(
        SAMPLES, "", f"holds the same generations as {other.name}", "submit a run once; make repeats with --repeats"
    )


# ---------------------------------------------------------------- configurations


def _work_out(jobs: Sequence[Job]) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Of each configuration what its row and page show, and what ranking it among others needs."""
    with tempfile.TemporaryDirectory(prefix="passkwh-board-") as place:
        folders: list[list[Path]] = []
        shown: list[list[Timeline]] = []
        for number, (_, packs) in enumerate(jobs):
            folders.append([])
            shown.append([])
            for repeat, (path, sha256, _) in enumerate(packs):
                folder = Path(place) / f"{number}-{repeat}"
                shown[-1].append(_unpack(Path(path), sha256, folder))
                folders[-1].append(folder)
        frames = load([folder for group in folders for folder in group])
        tables: list[TaskTable] = []
        parts: list[Frames] = []
        start = 0
        for group in folders:
            parts.append(_slice(frames, start, len(group)))
            tables.append(task_table(compare(parts[-1])))
            start += len(group)
        found = _intervals(tables)
        said = verdicts(folders)
        made = []
        for n, ((key, packs), part, table, lines) in enumerate(zip(jobs, parts, tables, shown, strict=True)):
            detail = details(table, said[n])
            value = {
                "row": row(part.runs, found[n], key, _warnings(part.runs, packs, table)).model_dump(),
                "domains": [line.model_dump() for line in detail.domains],
                "task_rows": task_rows(detail),
                "task_script": task_script(key, detail),
                "timelines": [one.model_dump() for one in lines],
            }
            made.append((key, value, ranks.kept(table)))
        return made


def _unpack(path: Path, sha256: str, folder: Path) -> Timeline:
    """The run of a checked pack as a folder under names of our own; its timeline on the way."""
    try:
        found, members = read_pack(path)
    except Problem as problem:
        raise UsageError(f"{path} changed while the board was built: {problem}") from problem
    if found != sha256:
        raise UsageError(f"{path} changed while the board was built: build again")
    folder.mkdir()
    for name in (MANIFEST, SUMMARY, SAMPLES):
        (folder / name).write_bytes(members[name])
    return timeline(members[MANIFEST], members[SAMPLES], members[TRACE])


def _slice(frames: Frames, start: int, count: int) -> Frames:
    samples = frames.samples
    mine = samples[(samples["run"] >= start) & (samples["run"] < start + count)]
    return Frames(frames.runs[start : start + count], mine.assign(run=mine["run"] - start))


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


def _warnings(
    runs: Sequence[Run], packs: Sequence[tuple[str, str, list[dict[str, Any]]]], table: TaskTable
) -> list[str]:
    """What a reader must know: the runs' own warnings, what checking found, and tasks that were left out."""
    said = [warning for run in runs for warning in run.summary.warnings]
    said += [str(Finding.model_validate(finding)) for _, _, findings in packs for finding in findings]
    return [text[:400] for text in dict.fromkeys([*said, *table.notes])][:20]
