"""The manifest that a run begins with, and whether what is in its folder is of the same run."""

from __future__ import annotations

from collections.abc import Sequence

from passkwh.adapters.engines.base import Model
from passkwh.benchmarks.base import Benchmark
from passkwh.errors import UsageError
from passkwh.harness.host import host_info, package_versions
from passkwh.harness.items import Item
from passkwh.harness.meter.base import Channel
from passkwh.harness.meter.visibility import visible_channels
from passkwh.harness.plan import Plan
from passkwh.harness.runs.folder import SAMPLES, RunFolder
from passkwh.records import Manifest, MeterInfo, storable

POLL_INTERVAL_S = 0.02
"""Time between readings of every channel."""


def new_manifest(plan: Plan, benchmark: Benchmark, model: Model, channels: Sequence[Channel]) -> Manifest:
    """Of a run that is going to begin: what was planned, and what it runs on."""
    infos = visible_channels([channel.info for channel in channels], model.info)
    return Manifest(
        run_id=plan.folder.name,
        status="running",
        spec=plan.spec,
        model=model.info,
        benchmark=benchmark.info,
        host=host_info(),
        meter=MeterInfo(name=plan.spec.meter, interval_s=POLL_INTERVAL_S, channels=infos),
        versions=package_versions(),
    )


def same_run(folder: RunFolder, fresh: Manifest) -> Manifest:
    """The manifest of a run that goes on; UsageError where anything that changes what is measured is another now."""
    stored, fresh = folder.manifest(), storable(fresh)
    for name in ("spec", "model", "benchmark", "host", "meter"):
        old, new = getattr(stored, name), getattr(fresh, name)
        known = old.model_fields_set - {"schema_version"}  # what an older program did not write cannot be compared
        differing = (f for f in type(old).model_fields if f in known and getattr(old, f) != getattr(new, f))
        if (changed := next(differing, None)) is not None:
            raise UsageError(
                f"{folder.path} was begun with another {name}.{changed} ({getattr(old, changed)!r}, now "
                f"{getattr(new, changed)!r}): resume it as it was, or start a new run with another --out"
            )
    return stored.model_copy(update={"schema_version": fresh.schema_version})  # what is written now is of this version


def refuse_foreign(folder: RunFolder, manifest: Manifest, items: Sequence[Item]) -> None:
    """UsageError where the folder holds a sample that is none of this run's, or of a session that it never had."""
    places = {item.key: (item.task.task_id, item.sample_index, item.order, item.seed) for item in items}
    for sample in folder.samples():
        windows = [window for window in (sample.generation, sample.evaluation) if window is not None]
        place = (sample.task_id, sample.sample_index, sample.order, sample.seed)
        if places.get(sample.key) != place or any(window.session >= len(manifest.sessions) for window in windows):
            raise UsageError(
                f"{folder.path / SAMPLES} holds a sample of another run (key {sample.key[:40]}, task "
                f"{sample.task_id[:60]}): remove its line, and --resume makes what is missing"
            )
