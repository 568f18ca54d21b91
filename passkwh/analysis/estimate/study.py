"""What a configuration of a study will take: from a like run that was made before, else from the estimator."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from passkwh.analysis.estimate.architecture import find_architecture
from passkwh.analysis.estimate.cost import Workload, estimate_cost
from passkwh.analysis.estimate.devices import Device, find_device
from passkwh.errors import UsageError
from passkwh.harness.plan import PlanReport
from passkwh.harness.runs.folder import SUMMARY, RunFolder
from passkwh.records import HostInfo, Record, Spec

HALF_BYTES = 2
SAMPLE_BYTES = 4096
"""Of a sample's line in ``samples.jsonl``, roughly."""
TRACE_BYTES_S = 1500
"""Of a channel's compressed trace, per second, roughly."""


class Forecast(Record):
    """Time, energy and disk of one run. What cannot be told is None, with the reason in ``basis``."""

    time_s: Annotated[float | None, Field(description="generating, scoring where the basis has it, and both idles")]
    energy_j: float | None
    disk_bytes: Annotated[int | None, Field(description="of the run folder and of weights that are not here yet")]
    basis: Annotated[str, Field(description="where time and energy come from, or why there are none")]


class EarlierRun(Record):
    """What a complete run says about the next one like it."""

    path: str
    spec: Spec
    host: HostInfo
    seconds_per_sample: float
    joules_per_sample: float | None


def earlier_runs(out: Path) -> list[EarlierRun]:
    """Complete runs in ``out`` and in the studies in it; one that cannot be read is no help and is passed over."""
    earlier = []
    for path in sorted(file.parent for pattern in (f"*/{SUMMARY}", f"*/*/{SUMMARY}") for file in out.glob(pattern)):
        try:
            run = RunFolder.open(path)
            summary, manifest = run.summary(), run.manifest()
        except UsageError:
            continue
        if manifest.imported is not None:  # nothing was generated here
            continue
        joules = None if summary.gross_energy_j is None else summary.gross_energy_j / summary.samples
        seconds = summary.metered_s / summary.samples
        earlier.append(
            EarlierRun(
                path=str(path), spec=manifest.spec, host=manifest.host, seconds_per_sample=seconds,
                joules_per_sample=joules,
            )
        )  # fmt: skip
    return earlier


def forecast(plan: PlanReport, host: HostInfo, gpu: str | None, earlier: Iterable[EarlierRun]) -> Forecast:
    """Of one run of the configuration; ``gpu`` names the device to reckon with instead of this host's."""
    spec = plan.spec
    time_s = energy_j = None
    if plan.tasks is None:
        basis = "its tasks are not here"
    else:
        samples = plan.tasks * spec.samples
        like = None if gpu else next((run for run in earlier if run.host == host and _alike(run.spec, spec)), None)
        if like is not None:
            time_s = like.seconds_per_sample * samples + 2 * spec.idle_s
            energy_j = None if like.joules_per_sample is None else like.joules_per_sample * samples
            basis = f"as {like.path}"
        else:
            try:
                time_s, energy_j, basis = _reckon(plan, _device(host, gpu))
            except UsageError as error:
                basis = str(error)
    return Forecast(time_s=time_s, energy_j=energy_j, disk_bytes=_disk(plan, time_s), basis=basis)


def _alike(a: Spec, b: Spec) -> bool:
    either = {"repeat", "limit", "samples", "seed", "idle_s"}
    return a.model_dump(exclude=either) == b.model_dump(exclude=either)


def _device(host: HostInfo, gpu: str | None) -> Device:
    if gpu is not None:
        return find_device(gpu)
    if not host.gpus:
        raise UsageError("no rates are known of a CPU: make one such run first, or name a device with --gpu")
    return find_device(host.gpus[0].name)


def _reckon(plan: PlanReport, device: Device) -> tuple[float, float, str]:
    spec = plan.spec
    assert plan.tasks is not None
    assert plan.prompt_tokens is not None
    assert spec.max_new_tokens is not None
    architecture, _ = find_architecture(plan.weights or spec.model)
    quant: Any = spec.quant
    batch = estimate_cost(
        architecture,
        device,
        Workload(
            prompt_tokens=plan.prompt_tokens, new_tokens=spec.max_new_tokens, batch_size=spec.at_once, quant=quant
        ),
    )
    batches = math.ceil(plan.tasks * spec.samples / spec.at_once)
    ends = "; at most, were every completion as long as it may be" if spec.max_new_tokens > 1 else ""
    basis = f"estimated for {device.name} at its peak rates and TDP, without scoring{ends}"
    return batch.tgt_s * batches + 2 * spec.idle_s, batch.energy_j * batches, basis


def _disk(plan: PlanReport, time_s: float | None) -> int | None:
    if plan.tasks is None:
        return None
    weights = plan.parameters * HALF_BYTES if plan.parameters and plan.weights is None else 0
    trace = 0.0 if time_s is None else time_s * TRACE_BYTES_S * max(len(plan.channels), 1)
    return int(weights + plan.tasks * plan.spec.samples * SAMPLE_BYTES + trace)
