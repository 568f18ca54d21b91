"""What a report shows of a run: its summary, how it was measured, and its power over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from passkwh.analysis.bootstrap import draw, intervals
from passkwh.analysis.frames import expand, load
from passkwh.analysis.pooling import compare
from passkwh.analysis.results import Interval
from passkwh.analysis.tasks import task_table
from passkwh.errors import UsageError
from passkwh.harness.meter.trace import Trace
from passkwh.harness.store import RunFolder
from passkwh.records import Manifest, Sample, Summary, Window
from passkwh.units import joules_to_kwh, ns_to_s

TIMELINE_POINTS = 400
"""A power timeline has at most so many points a channel: about one a pixel."""


@dataclass(frozen=True)
class PowerPoint:
    """Mean power of one channel around one moment of the run's own time."""

    time_s: float
    channel: str
    power_w: float


@dataclass(frozen=True)
class Stage:
    """A stretch of the run's own time: idle, warmup, generate or score."""

    start_s: float
    end_s: float
    kind: str


@dataclass(frozen=True)
class RunView:
    """One complete run, ready to be shown."""

    path: Path
    label: str
    manifest: Manifest
    summary: Summary
    power: tuple[PowerPoint, ...]
    stages: tuple[Stage, ...]
    intervals: dict[str, Interval]
    """95 % intervals of the headline measures, by measure: bootstrap over tasks with the meter's error; empty where
    the run has nothing to resample."""

    @property
    def net_kwh(self) -> float | None:
        """Net energy in kilowatt-hours."""
        return None if self.summary.net_energy_j is None else joules_to_kwh(self.summary.net_energy_j)


def load_runs(paths: Sequence[Path]) -> list[RunView]:
    """Read complete runs; a folder that is not a run is searched for runs one level down.

    Raises:
        UsageError: nothing to show, an incomplete run, or runs of different benchmarks or data, which one table
            would wrongly compare (names the field).
    """
    folders = [folder for path in paths for folder in _run_folders(path)]
    opened = [RunFolder.open(folder) for folder in folders]
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


def _run_folders(path: Path) -> list[Path]:
    if path.is_dir() and not (path / "manifest.json").exists() and expand([path]) == [path]:
        raise UsageError(f"{path} holds no complete run: give run folders that `bench run` has finished")
    return expand([path])


def _intervals(path: Path) -> dict[str, Interval]:
    try:
        table = task_table(compare(load([path])))
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
    summary = folder.summary()
    trace = Trace.from_table(folder.trace(), manifest.meter.channels)
    windows = _windows(manifest, folder.samples())
    power: list[PowerPoint] = []
    stages: list[Stage] = []
    offset_s = 0.0
    for session in manifest.sessions:
        mine = [window for window in windows if window.session == session.index]
        if not mine:
            continue
        start_ns, end_ns = min(w.start_ns for w in mine), max(w.end_ns for w in mine)
        stages += [
            Stage(offset_s + ns_to_s(w.start_ns - start_ns), offset_s + ns_to_s(w.end_ns - start_ns), w.kind)
            for w in mine
        ]
        power += _power(trace, session.index, start_ns, end_ns, offset_s)
        offset_s += ns_to_s(end_ns - start_ns)  # sessions follow each other; the pause between them is not the run's
    return RunView(folder.path, label, manifest, summary, tuple(power), tuple(stages), _intervals(folder.path))


def _windows(manifest: Manifest, samples: Sequence[Sample]) -> list[Window]:
    windows = {window for session in manifest.sessions for window in session.windows}
    windows |= {sample.generation for sample in samples}
    windows |= {sample.evaluation for sample in samples if sample.evaluation is not None}
    return sorted(windows, key=lambda window: (window.session, window.start_ns))


def _power(trace: Trace, session: int, start_ns: int, end_ns: int, offset_s: float) -> list[PowerPoint]:
    step_ns = max((end_ns - start_ns) // TIMELINE_POINTS, 100_000_000)
    points = []
    for channel in (name for name, info in trace.channels.items() if info.counted):
        for left in range(start_ns, end_ns - step_ns + 1, step_ns):
            energy = trace.energy(channel, session, left, left + step_ns)
            if energy.gross_j is not None:  # a gap in the trace stays a gap in the line
                moment_s = offset_s + ns_to_s(left + step_ns // 2 - start_ns)
                points.append(PowerPoint(moment_s, channel, energy.gross_j / ns_to_s(step_ns)))
    return points
