"""What a submission would do to a board: which files it changes, whether they may be taken, and which rows move."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from passkwh.analysis.conventions import OURS, Convention
from passkwh.errors import UsageError
from passkwh.reports.leaderboard.cache import Cache
from passkwh.reports.leaderboard.cells import groups
from passkwh.reports.leaderboard.configurations import Configuration, configurations
from passkwh.reports.leaderboard.duplicates import same_run
from passkwh.reports.leaderboard.findings import Finding, error, refuses
from passkwh.reports.leaderboard.ingest import Pack, inspect
from passkwh.reports.leaderboard.pack import SUFFIX
from passkwh.reports.leaderboard.ranks import MEASURE
from passkwh.reports.leaderboard.rows import Row
from passkwh.reports.leaderboard.workers import Count, Workers

FileKind = Literal["adds", "replaces", "removes"]
RowKind = Literal["adds", "changes", "removes"]


@dataclass(frozen=True)
class FileChange:
    """One file of the submission."""

    name: str
    """Within the folder of packs, as it is: text of whoever submits."""
    kind: FileKind
    findings: tuple[Finding, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether the submission cannot be taken because of it."""
        return refuses(self.findings)


@dataclass(frozen=True)
class Place:
    """A row's rank by pass@kWh among those that it may be ranked with."""

    rank: int | None
    of: int


@dataclass(frozen=True)
class RowChange:
    """One row of the board that would come, change or go."""

    kind: RowKind
    row: Row
    """As it would be; as it was where it would go."""
    place: Place
    before: Place | None
    """None for a row that would come."""


@dataclass(frozen=True)
class Review:
    """A submission against the board."""

    files: tuple[FileChange, ...]
    rows: tuple[RowChange, ...]
    moved: int
    """Rows that stay as they are, at another rank."""

    @property
    def accepted(self) -> bool:
        """Whether nothing of it is refused."""
        return not any(file.refused for file in self.files)


def review(
    packs: Path,
    cache_place: Path,
    *,
    base: Path | None = None,
    changed: Sequence[Path] = (),
    by: Convention = OURS,
    count: Count = lambda what, done, of: None,
) -> Review:
    """Compare a folder of packs with the board's folder without the submission, ``base``.

    Without ``base``, the board is ``packs`` without the files ``changed``: what those replaced or removed is not known.
    ``count`` is told how far the comparison is.

    Raises:
        UsageError: for a folder that is not there, and a changed file outside ``packs``.
    """
    after = _files(packs)
    if base is not None:
        before = _files(base)
    else:
        names = _names(packs, changed)
        before = {name: file for name, file in after.items() if name not in names}
    kinds: dict[str, FileKind] = {
        **dict.fromkeys(before.keys() - after.keys(), "removes"),
        **dict.fromkeys(after.keys() - before.keys(), "adds"),
        **{name: "replaces" for name in after.keys() & before.keys() if after[name].content != before[name].content},
    }
    if base is None:
        kinds |= dict.fromkeys(names - after.keys(), "removes")
    cache = Cache(cache_place)
    with Workers(count) as workers:
        old = inspect([file.path for name, file in before.items() if name.endswith(SUFFIX)], cache, workers, by)
        new = inspect([file.path for name, file in after.items() if name.endswith(SUFFIX)], cache, workers, by)
        rows_before = [row for row, _ in configurations(old, cache, workers, _keep)]
        rows_after = [row for row, _ in configurations(new, cache, workers, _keep)]
    inspected = {pack.path: pack for pack in new}
    name_of = {file.path: name for name, file in before.items()}
    gone = [pack for pack in old if name_of[pack.path] not in after]
    kept = [pack for pack in old if name_of[pack.path] in after]
    files = [
        FileChange(name, kind, _findings(name, kind, inspected.get(packs / name), gone, kept))
        for name, kind in sorted(kinds.items())
    ]
    rows, moved = _rows(rows_before, rows_after)
    return Review(tuple(files), tuple(rows), moved)


# ---------------------------------------------------------------- files


@dataclass(frozen=True)
class _File:
    path: Path
    content: str


def _files(folder: Path) -> dict[str, _File]:
    """Everything in a folder that is no folder itself, by name; links are not followed."""
    if folder.is_symlink() or not folder.is_dir():
        raise UsageError(f"there is no folder {folder}: give the folder that holds the packs")
    files = {}
    for place, folders, names in os.walk(folder):
        for name in [*names, *(one for one in folders if Path(place, one).is_symlink())]:
            path = Path(place, name)
            files[path.relative_to(folder).as_posix()] = _File(path, _content(path))
    return files


def _content(path: Path) -> str:
    """A hash of a file; of a link where it leads; nothing else has content."""
    try:
        if path.is_symlink():
            return f"link {path.readlink()}"
        if not path.is_file():
            return "no file"
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as problem:
        raise UsageError(f"{path} cannot be read: {problem.strerror}") from problem


def _names(packs: Path, changed: Iterable[Path]) -> set[str]:
    names = set()
    for path in changed:
        try:
            names.add(Path(os.path.abspath(path)).relative_to(os.path.abspath(packs)).as_posix())
        except ValueError as problem:
            raise UsageError(f"--changed {path} is not in {packs}: give files of that folder") from problem
    return names


def _findings(
    name: str, kind: FileKind, pack: Pack | None, gone: Sequence[Pack], kept: Sequence[Pack]
) -> tuple[Finding, ...]:
    """What is wrong with one changed file; ``gone`` and ``kept`` are the board's packs that it removes and leaves."""
    if kind == "removes":
        return ()
    if not name.endswith(SUFFIX):
        return (error(name, "", "is no pack", f"leave nothing but packs (*{SUFFIX}) in the folder"),)
    findings = [] if pack is None else list(pack.findings)
    if kind == "replaces":
        fix = "submit it under another name; who runs the board withdraws the other"
        findings.append(error(name, "", "replaces a pack that is on the board", fix))
    elif pack is not None and not refuses(findings):
        for other in kept:
            if pack.sha256 == other.sha256:
                findings.append(error(name, "", f"is the pack {other.path.name} again", "submit a run once"))
        for other in [*kept, *gone]:
            if pack.sha256 != other.sha256 and same_run(pack.fingerprint, other.fingerprint):
                seen = f"holds the same generations as {other.path.name} of the board, and differs from it"
                findings.append(error(name, "", seen, "submit the run as it was recorded"))
    return tuple(findings)


# ---------------------------------------------------------------- rows


def _keep(_: Configuration) -> None:
    """Nothing is published."""


def _rows(before: Sequence[Row], after: Sequence[Row]) -> tuple[list[RowChange], int]:
    """Rows that come, change or go, and how many others move."""
    was, will = {row.id: row for row in before}, {row.id: row for row in after}
    places_before, places = _places(before), _places(after)
    changes = [RowChange("removes", was[one], places_before[one], places_before[one]) for one in was if one not in will]
    moved = 0
    for one, row in will.items():
        if one not in was:
            changes.append(RowChange("adds", row, places[one], None))
        elif _said(row) != _said(was[one]):
            changes.append(RowChange("changes", row, places[one], places_before[one]))
        else:
            moved += places[one].rank != places_before[one].rank
    order = {"adds": 0, "changes": 1, "removes": 2}
    return sorted(changes, key=lambda change: (order[change.kind], change.row.label, change.row.id)), moved


def _said(row: Row) -> Row:
    """A row without what depends on others."""
    return row.model_copy(update={"ranks": None})


def _places(rows: Sequence[Row]) -> dict[str, Place]:
    """Ranks by pass@kWh within each group; equal figures share one."""
    places = {}
    for group in groups(rows):
        values = [row.measures[MEASURE].value for row in group if MEASURE in row.measures]
        for row in group:
            own = row.measures.get(MEASURE)
            rank = None if own is None else 1 + sum(value > own.value for value in values)
            places[row.id] = Place(rank, len(values))
    return places
