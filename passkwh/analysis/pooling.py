"""Which runs are repeats of one configuration, which configurations may be compared, and on which tasks.

Runs are pooled or compared only where their checked metadata agree; otherwise the first field that differs is named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from passkwh.analysis.frames import Frames, Run
from passkwh.errors import UsageError
from passkwh.harness.runs.labels import identity, labels

CHECKED: tuple[tuple[str, Callable[[Run], Any]], ...] = (
    ("benchmark.name", lambda r: r.manifest.benchmark.name),
    ("benchmark.version", lambda r: r.manifest.benchmark.version),
    ("benchmark.options", lambda r: r.manifest.benchmark.options),
    ("spec.samples", lambda r: r.manifest.spec.samples),
    ("spec.max_new_tokens", lambda r: r.manifest.spec.max_new_tokens),
    ("spec.temperature", lambda r: r.manifest.spec.temperature),
    ("spec.top_p", lambda r: r.manifest.spec.top_p),
    ("host.cpu", lambda r: r.manifest.host.cpu),
    ("host.gpus", lambda r: [(g.name, g.power_limit_w) for g in r.manifest.host.gpus]),
    (
        "meter.channels",
        lambda r: sorted((c.name.split(":")[0], c.provenance) for c in r.manifest.meter.channels if c.counted),
    ),
)
"""What must agree between all runs that are compared. GPUs and channels are told by kind, not by serial number."""


@dataclass(frozen=True)
class ConfigurationRuns:
    """Runs that differ in nothing but seed and repetition."""

    label: str
    runs: tuple[int, ...]
    """Positions in ``Frames.runs``."""


@dataclass(frozen=True)
class Comparison:
    """Configurations over the tasks that all of them ran."""

    frames: Frames
    configurations: tuple[ConfigurationRuns, ...]
    task_ids: tuple[str, ...]
    notes: tuple[str, ...]

    def samples(self) -> pd.DataFrame:
        """Samples on the common tasks, with a column ``configuration`` (a label)."""
        label_of = {run: c.label for c in self.configurations for run in c.runs}
        samples = self.frames.samples
        chosen = samples[samples["task_id"].isin(self.task_ids)]
        return chosen.assign(configuration=chosen["run"].map(label_of))

    def labels(self) -> list[str]:
        """The configurations' labels, in order."""
        return [c.label for c in self.configurations]


def compare(frames: Frames, strict: bool = False) -> Comparison:
    """Group runs into configurations and find the tasks they share, with notes on whatever a reader must know.

    Raises:
        UsageError: where checked metadata differ, nothing is shared, or (``strict``) the task sets differ.
    """
    check_agreement(frames.runs)
    configurations = group(frames.runs)
    for configuration in configurations:
        _check_repeats([frames.runs[i] for i in configuration.runs])
    task_ids, notes = _common_tasks(frames, strict)
    return Comparison(frames, configurations, task_ids, (*notes, *_version_notes(frames.runs)))


def check_agreement(runs: Sequence[Run]) -> None:
    """Refuse runs that differ in checked metadata, naming the first field that does."""
    for name, value in CHECKED:
        for run in runs[1:]:
            first, other = value(runs[0]), value(run)
            if other != first:
                raise UsageError(
                    f"runs differ in {name}: {_unlike(first, other)!r} in {runs[0].path} and "
                    f"{_unlike(other, first)!r} in {run.path}; compare runs that agree in it"
                )


def _unlike(value: Any, other: Any) -> Any:
    """Of options those that differ; anything else as it is."""
    return {key: v for key, v in value.items() if other.get(key) != v} if isinstance(value, dict) else value


def group(runs: Sequence[Run]) -> tuple[ConfigurationRuns, ...]:
    """Runs by configuration, in order of first appearance, each with the shortest label that tells it from others."""
    members: dict[str, list[int]] = {}
    for position, run in enumerate(runs):
        members.setdefault(identity(run.manifest), []).append(position)
    named = labels([runs[m[0]].manifest for m in members.values()])
    return tuple(ConfigurationRuns(label, tuple(m)) for label, m in zip(named, members.values(), strict=True))


def checked(run: Run) -> dict[str, Any]:
    """What must agree between runs that are compared, by the name of the field."""
    return {name: value(run) for name, value in CHECKED}


def _check_repeats(runs: Sequence[Run]) -> None:
    """Repeats of a configuration must have run the same tasks' content on the same software."""
    first = runs[0].manifest
    for run in runs[1:]:
        for package in sorted({*first.versions, *run.manifest.versions}):
            ours, theirs = first.versions.get(package), run.manifest.versions.get(package)
            if ours != theirs:
                raise UsageError(
                    f"repeats of one configuration differ in versions.{package}: {ours!r} in {runs[0].path} and "
                    f"{theirs!r} in {run.path}; pool runs that agree in it"
                )


def _common_tasks(frames: Frames, strict: bool) -> tuple[tuple[str, ...], list[str]]:
    per_run: list[dict[str, None]] = [{} for _ in frames.runs]
    for run, task in zip(frames.samples["run"].tolist(), frames.samples["task_id"].tolist(), strict=True):
        per_run[run][task] = None
    sets = [set(tasks) for tasks in per_run]
    common, union = set.intersection(*sets), set.union(*sets)
    for i, tasks in enumerate(sets[1:], start=1):
        ours, theirs = frames.runs[0].manifest.benchmark.sha256, frames.runs[i].manifest.benchmark.sha256
        if tasks == sets[0] and ours != theirs:
            raise UsageError(
                f"runs differ in benchmark.sha256: {frames.runs[0].path} and {frames.runs[i].path} name the same tasks "
                "with different content; compare runs of the same data"
            )
    if not common:
        raise UsageError(f"the runs share no task ({frames.runs[0].path} and others): run the same tasks")
    ordered = tuple(task for task in per_run[0] if task in common)
    if len(common) == len(union):
        return ordered, []
    smallest = min(range(len(sets)), key=lambda i: len(sets[i]))
    text = f"task sets differ: {len(common)} of {len(union)} tasks are common to all runs"
    if strict:
        raise UsageError(
            f"{text} ({frames.runs[smallest].path} has {len(sets[smallest])}); leave out --strict to compare these"
        )
    return ordered, [f"{text}, and only these are compared"]


def _version_notes(runs: Sequence[Run]) -> list[str]:
    notes = []
    for package in ("torch", "transformers"):
        versions = sorted({v for run in runs if (v := run.manifest.versions.get(package))})
        if len(versions) > 1:
            notes.append(f"configurations ran on different versions of {package}: {', '.join(versions)}")
    return notes
