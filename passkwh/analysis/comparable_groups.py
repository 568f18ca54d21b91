"""The parts of a study that may be compared: runs of other tasks, or on other hardware, stand apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from passkwh.analysis.conventions import OURS, convention
from passkwh.analysis.frames import Run, expand, open_run
from passkwh.analysis.pooling import CHECKED, checked
from passkwh.errors import UsageError
from passkwh.harness.runs.folder import MANIFEST
from passkwh.harness.sweep.folder import STUDY, StudyFolder, is_study
from passkwh.harness.sweep.status import study_status
from passkwh.records import content_hash


@dataclass(frozen=True)
class ComparableGroup:
    """Complete runs that agree in all that is checked before runs are compared."""

    title: str
    """What sets this group apart from the others; empty when there is only one."""
    paths: tuple[Path, ...]


def comparable_groups(paths: Sequence[Path]) -> tuple[list[ComparableGroup], list[str]]:
    """Complete runs part by part, and notes on runs that are missing.

    Only studies are taken apart: runs that someone names one by one are meant to be compared, and where they cannot be,
    that is an error for whoever compares them. Raises UsageError for what is no run, or damaged.
    """
    runs, notes = complete_runs(paths)
    if not any(is_study(path) for path in paths):
        return [ComparableGroup("", tuple(runs))], notes
    groups: dict[str, list[Run]] = {}
    for run in map(open_run, runs):
        groups.setdefault(content_hash(checked(run)), []).append(run)
    titled = _titled(list(groups.values()))
    return [ComparableGroup(title, tuple(run.path for run in members)) for title, members in titled], notes


def chosen_convention(paths: Sequence[Path], asked_for: str | None) -> str:
    """The convention that was asked for, else that of the study that all paths are or lie in, else ours.

    Raises:
        UsageError: studies of different conventions, and none was asked for.
    """
    if asked_for is not None:
        return convention(asked_for).name
    studies = {folder for path in paths for folder in (path, path.parent) if is_study(folder)}
    own = {StudyFolder.open(folder).record().settings.convention for folder in studies}
    if len(own) > 1:
        raise UsageError(
            f"these studies have different conventions ({', '.join(sorted(own))}): choose one by --convention"
        )
    return own.pop() if own else OURS.name


def complete_runs(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Run folders as given, and for a study its complete ones, each as it was when it ended; notes on the others.

    Raises UsageError where a folder holds no complete run, or studies are all that is given, and have none.
    """
    complete: list[Path] = []
    notes: list[str] = []
    for path in paths:
        if path.suffix == ".csv":
            raise UsageError(
                f"{path} is a table and no run: check published rows with `bench analyze --published {path}`; the "
                "tables of the thesis and of GREEN-CODE with `bench reproduce thesis` and `bench reproduce green-code`"
            )
        if not is_study(path):
            runs = expand([path])
            if studies := sorted(file.parent for file in path.glob(f"*/{STUDY}")):
                if runs == [path]:
                    raise UsageError(f"{path} holds no runs but studies: name one, as {studies[0]}")
                notes.append(f"the studies in {path} ({', '.join(s.name for s in studies)}) are not in this: name them")
            elif runs == [path] and path.is_dir() and not (path / MANIFEST).exists():
                raise UsageError(f"{path} holds no complete run: give run folders that `bench run` has finished")
            complete += runs
            continue
        status = study_status(StudyFolder.open(path), thorough=True)
        complete += sorted(path / run.run_id for run in status.runs if run.state == "complete")
        notes += [f"{run.run_id} is left out: {run.reason}" for run in status.runs if run.state == "damaged"]
        if not status.complete:
            counts = ", ".join(f"{count} {state}" for state, count in sorted(status.counts.items()))
            rest = f"not every run of {path} is complete ({counts}): the others are not in this"
            notes.append(f"{rest}; see bench sweep status {path}")
    if paths and not complete:
        raise UsageError(f"there is no complete run yet: {'; '.join(notes)}")
    return complete, notes


def _titled(groups: list[list[Run]]) -> list[tuple[str, list[Run]]]:
    """Each group with what sets it apart: of the fields that differ, the telling ones first, those that it takes."""
    fields: list[list[str]] = []
    titles = [""] * len(groups)
    for name, value in CHECKED:
        tried = [*fields, _shown(name, [value(group[0]) for group in groups])]
        longer = [" · ".join(texts) for texts in zip(*tried, strict=True)]
        if len(set(longer)) > len(set(titles)):
            fields, titles = tried, longer
    return [
        (title if titles.count(title) == 1 else f"{title} (part {number})", group)
        for number, (title, group) in enumerate(zip(titles, groups, strict=True), start=1)
    ]


def _shown(name: str, values: list[Any]) -> list[str]:
    """A field of each group in words; of options, only those that differ."""
    if name in ("benchmark.name", "host.cpu"):
        return [str(value) for value in values]
    if name == "host.gpus":
        return [", ".join(str(gpu[0]) for gpu in gpus) or "no GPU" for gpus in values]
    if name == "benchmark.options":
        keys = sorted({key for value in values for key in value})
        telling = [key for key in keys if len({value.get(key) for value in values}) > 1]
        texts = [", ".join(f"{key} {value[key]}" for key in telling if key in value) for value in values]
        return [text or "no options" for text in texts]
    return [f"{name.rsplit('.', 1)[-1]} {value}" for value in values]
