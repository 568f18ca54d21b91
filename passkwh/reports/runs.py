"""What a report shows of a run: its summary, how it was measured, and its power over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from passkwh.analysis.bootstrap import draw, intervals
from passkwh.analysis.frames import Run, load
from passkwh.analysis.pooling import compare
from passkwh.analysis.power import PowerTimeline, power_timeline
from passkwh.analysis.results import Interval
from passkwh.analysis.tasks import task_table
from passkwh.errors import UsageError
from passkwh.harness.runs.folder import RunFolder
from passkwh.records import Manifest, Summary
from passkwh.units import joules_to_kwh


@dataclass(frozen=True)
class RunView:
    """One complete run, ready to be shown."""

    path: Path
    label: str
    manifest: Manifest
    summary: Summary
    power: PowerTimeline
    intervals: dict[str, Interval]
    """95 % intervals of the headline measures, by measure: bootstrap over tasks with the meter's error; empty where
    the run has nothing to resample."""

    @property
    def net_kwh(self) -> float | None:
        """Net energy in kilowatt-hours."""
        return None if self.summary.net_energy_j is None else joules_to_kwh(self.summary.net_energy_j)


def load_runs(paths: Sequence[Path]) -> list[RunView]:
    """Read complete runs, given by their folders.

    Raises:
        UsageError: an incomplete or damaged run, or runs of different benchmarks or data, which one table
            would wrongly compare (names the field).
    """
    opened = [RunFolder.open(path) for path in paths]
    manifests = [folder.manifest() for folder in opened]
    labels = _labels(manifests)
    for manifest in manifests[1:]:
        for field in ("name", "version", "sha256"):
            first, other = (getattr(m.benchmark, field) for m in (manifests[0], manifest))
            if first != other:
                raise UsageError(
                    f"{manifests[0].run_id} and {manifest.run_id} differ in benchmark.{field} ({first} and {other}): "
                    "report runs of the same tasks together"
                )
    return [_view(folder, manifest, label) for folder, manifest, label in zip(opened, manifests, labels, strict=True)]


def _intervals(path: Path) -> dict[str, Interval]:
    frames = load([path])
    try:
        table = task_table(compare(frames))
    except UsageError:  # no task with both a verdict and an energy: there is nothing to resample
        return {}
    return {interval.measure: interval for interval in intervals(draw(table))}


def _labels(manifests: Sequence[Manifest]) -> list[str]:
    """Short names that tell the runs apart: what is the same everywhere is left out and stands above the table."""
    parts = [
        {
            "model": m.model.name.rsplit("/", 1)[-1],
            "quant": m.model.quant,
            "exit": m.spec.exit or "all layers",
            "batch": f"batch {m.spec.batch_size}",
            "repeat": f"run {m.spec.repeat + 1}",
        }
        for m in manifests
    ]
    varying = [key for key in parts[0] if len({part[key] for part in parts}) > 1] or ["model"]
    labels = [" · ".join("unquantized" if part[key] == "none" else part[key] for key in varying) for part in parts]
    return [
        label if labels.count(label) == 1 else f"{label} ({m.run_id})"
        for label, m in zip(labels, manifests, strict=True)
    ]


def _view(folder: RunFolder, manifest: Manifest, label: str) -> RunView:
    run = Run(folder.path, manifest, folder.summary())
    return RunView(run.path, label, manifest, run.summary, power_timeline(run), _intervals(run.path))
