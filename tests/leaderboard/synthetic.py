"""Synthetic runs that are consistent from trace to summary: made by the harness's own integration, named synthetic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from passkwh.harness.measure import measure
from passkwh.harness.meter.trace import TRACE_SCHEMA, Trace
from passkwh.harness.runs.folder import RunFolder
from passkwh.harness.runs.table import SampleTable
from passkwh.harness.summarise import summarise
from passkwh.records import (
    BenchmarkInfo,
    ChannelInfo,
    GpuInfo,
    HostInfo,
    Manifest,
    MeterInfo,
    ModelInfo,
    Provenance,
    Sample,
    Session,
    Spec,
    Verdict,
    Window,
    content_hash,
)

SECOND = 1_000_000_000
IDLE_W, WORK_W = 70.0, 300.0
TEXT = "return self value index for in range result data import def if else lambda None True print list"


def write_run(
    folder: Path,
    *,
    model: str = "synthetic/demo-1.5B-instruct",
    quant: str = "none",
    exit: str | None = None,
    tasks: Sequence[str] | int = 12,
    samples: int = 1,
    batch_size: int = 4,
    accuracy: float = 0.5,
    work_w: float = WORK_W,
    seed: int = 0,
    repeat: int = 0,
    gpu: str = "Synthetic GPU",
    provenance: Provenance = "measured",
    benchmark: str = "bigcodebench",
    period_s: float = 0.1,
    detail: str = "AssertionError: 1 != 2",
    engine: str = "transformers",
    thinking: str = "auto",
    reasoning: str | None = None,
    pace: float = 1.0,
) -> Path:
    """A finished run: one GPU whose counter steps every ``period_s``, batches one after the other, then scoring."""
    rng = np.random.default_rng(seed)
    ids = [f"BigCodeBench/{i}" for i in range(tasks)] if isinstance(tasks, int) else list(tasks)
    count = len(ids) * samples
    channel = ChannelInfo(
        name="gpu:GPU-synthetic", provenance=provenance, source="a synthetic counter", quantity="energy_j"
    )
    tokens = rng.integers(40, 400, count)
    passed = rng.random(count) < accuracy
    clock = 14 * SECOND
    made: list[Sample] = []
    for first in range(0, count, batch_size):
        members = range(first, min(first + batch_size, count))
        length_ns = int(pace * (0.3 + 0.01 * max(tokens[i] for i in members)) * SECOND)
        window = Window(kind="generate", session=0, start_ns=clock, end_ns=clock + length_ns, batch_id=first)
        for i in members:
            made.append(_sample(i, ids[i // samples], i % samples, len(members), window, int(tokens[i]), rng, seed))
        clock += length_ns + SECOND // 100
    scored = []
    for sample, good in zip(made, passed, strict=True):
        evaluation = Window(kind="score", session=0, start_ns=clock, end_ns=clock + SECOND // 5)
        clock += SECOND // 5
        verdict = Verdict(status="pass") if good else Verdict(status="fail", detail=detail)
        scored.append(sample.model_copy(update={"evaluation": evaluation, "evaluation_cpu_s": 0.1, "verdict": verdict}))
    end = clock + 11 * SECOND
    session = Session(index=0, started_at="2026-01-01T00:00:00Z", windows=(
        Window(kind="idle_before", session=0, start_ns=1 * SECOND, end_ns=11 * SECOND),
        Window(kind="warmup", session=0, start_ns=12 * SECOND, end_ns=13 * SECOND),
        Window(kind="idle_after", session=0, start_ns=clock + SECOND // 2, end_ns=clock + SECOND // 2 + 10 * SECOND),
    ))  # fmt: skip
    spec = Spec(
        model=model, quant=quant, exit=exit, benchmark=benchmark, samples=samples, batch_size=batch_size,
        max_new_tokens=512, repeat=repeat, thinking=thinking, seed=seed % 7, meter="auto",
    )  # fmt: skip
    adapter = quant if quant != "none" else "instruct" if "instruct" in model.lower() else "base"
    manifest = Manifest(
        run_id=folder.name, status="complete", spec=spec,
        model=ModelInfo(
            name=model, adapter=adapter, chat="instruct" in model.lower(), checkpoint=model, revision="0" * 40,
            quant=quant, engine=engine, reasoning=reasoning, dtype="bfloat16", device="cuda:0",
            parameters=1_500_000_000,
        ),
        benchmark=BenchmarkInfo(
            name=benchmark, version="0.1.0", source="synthetic", sha256=content_hash(ids), tasks=len(ids)
        ),
        host=HostInfo(
            os="Linux", kernel="6", python="3.11", cpu="Synthetic CPU", cores=8, memory_bytes=2**36,
            gpus=(GpuInfo(uuid="GPU-synthetic", name=gpu, power_limit_w=350.0),),
        ),
        meter=MeterInfo(name="auto", interval_s=0.02, channels=(channel,)),
        versions={"torch": "2.11", "passkwh": "0.1.0"}, sessions=(session,),
    )  # fmt: skip
    table = trace_table(end, clock, work_w, period_s)
    measured, totals = measure(manifest, scored, Trace.from_table(table, manifest.meter.channels))
    run = RunFolder.create(folder, manifest)
    run.finish(manifest, measured, table, summarise(manifest, SampleTable.of(measured), totals, {}))
    run.close()
    return folder


def trace_table(end_ns: int, work_end_ns: int, work_w: float, period_s: float) -> pa.Table:
    """A counter that idles, works from second 12 on, and idles again."""
    step_ns = int(period_s * SECOND)
    time_ns = np.arange(0, end_ns + step_ns, step_ns, dtype=np.int64)
    working = (time_ns >= 12 * SECOND) & (time_ns < work_end_ns)
    energy_j = np.cumsum(np.where(working, work_w, IDLE_W)) * period_s
    rows = len(time_ns)
    return pa.table(
        {
            "session": np.zeros(rows, dtype=np.int16),
            "time_ns": time_ns,
            "channel": pa.array(["gpu:GPU-synthetic"] * rows),
            "quantity": pa.array(["energy_j"] * rows),
            "value": energy_j,
            "reason": pa.array([None] * rows, pa.string()),
        }
    ).cast(TRACE_SCHEMA)


def _sample(
    order: int, task_id: str, index: int, batch: int, window: Window, tokens: int, rng: np.random.Generator, seed: int
) -> Sample:
    return Sample(
        key=content_hash("synthetic", seed, order)[:32], task_id=task_id, sample_index=index, order=order,
        batch_id=window.batch_id or 0, batch_size=batch, seed=order, prompt_tokens=120, completion_tokens=tokens,
        text=" ".join(rng.choice(TEXT.split(), tokens)), finish_reason="stop",
        latency_s=(window.end_ns - window.start_ns) / SECOND, ttft_s=0.05, generation=window,
    )  # fmt: skip
