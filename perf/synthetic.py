"""Invented runs in the shape of the thesis: 25 configurations of one model family over the same tasks.

Sizes 0.5B ... 14B, each as base, instruct, AWQ, GPTQ-Int8 and GPTQ-Int4, with energies, times and pass rates that
average what the thesis prints for Qwen2.5. Nothing here was measured: models are called synthetic, channels simulated.
The folders are complete runs, written through the records: manifest, samples, trace and summary agree with each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from passkwh.harness.meter.trace import TRACE_SCHEMA
from passkwh.harness.runs.table import SampleTable
from passkwh.harness.summarise import summarise
from passkwh.records import (
    BenchmarkInfo,
    ChannelInfo,
    ChannelTotal,
    Energy,
    GpuInfo,
    HostInfo,
    IdleBaseline,
    Manifest,
    MeterInfo,
    ModelInfo,
    Sample,
    Session,
    Spec,
    Verdict,
    Window,
    content_hash,
)
from passkwh.stored import seal

SECOND = 1_000_000_000
TEXT = "    # " + "x" * 74 + "\n"


class Configuration(NamedTuple):
    """A configuration and the averages it is to have."""

    model: str
    parameters: int
    chat: bool
    quant: str
    energy_kwh: float
    latency_min: float
    tokens_per_s: float
    pass_at_1: float
    batch_size: int = 1


def _size(name: str, parameters: float, *rows: tuple[float, float, float, float]) -> list[Configuration]:
    base = f"synthetic-{name}"
    kinds = ((base, False, "none"), (f"{base}-Instruct", True, "none"), (f"{base}-Instruct", True, "awq"),
             (f"{base}-Instruct", True, "gptq-int8"), (f"{base}-Instruct", True, "gptq-int4"))  # fmt: skip
    return [Configuration(m, int(parameters), c, q, *row) for (m, c, q), row in zip(kinds, rows, strict=True)]


THESIS: tuple[Configuration, ...] = (
    *_size("0.5B", 0.49e9, (0.08, 28.8, 253.0, 0.10), (0.08, 28.0, 241.3, 0.07), (0.08, 35.5, 185.3, 0.01),
           (0.07, 28.7, 232.5, 0.07), (0.07, 30.8, 211.8, 0.04)),
    *_size("1.5B", 1.54e9, (0.21, 56.5, 126.6, 0.23), (0.21, 57.7, 124.6, 0.22), (0.10, 33.9, 163.2, 0.07),
           (0.14, 44.6, 162.3, 0.24), (0.11, 37.2, 196.9, 0.20)),
    *_size("3B", 3.09e9, (0.39, 92.2, 76.2, 0.35), (0.40, 93.7, 76.6, 0.39), (0.14, 43.2, 139.0, 0.26),
           (0.24, 65.8, 109.4, 0.39), (0.16, 49.7, 146.1, 0.34)),
    *_size("7B", 7.62e9, (0.87, 191.7, 37.0, 0.31), (0.82, 180.8, 39.0, 0.45), (0.27, 68.9, 95.0, 0.41),
           (0.49, 109.6, 64.0, 0.46), (0.30, 72.6, 97.1, 0.44)),
    *_size("14B", 14.77e9, (1.68, 369.6, 19.2, 0.47), (1.35, 290.9, 21.2, 0.51), (0.66, 141.3, 49.7, 0.27),
           (0.79, 168.1, 36.7, 0.52), (0.46, 102.2, 58.5, 0.49)),
)  # fmt: skip
"""After the thesis's tables 5.24, 5.29, 5.34 and 5.40."""

CHANNELS = (
    ChannelInfo(
        name="gpu:GPU-00000000-synthetic", provenance="simulated", source="invented", quantity="energy_j",
        note="made up to try the report",
    ),
    ChannelInfo(name="cpu:0", provenance="simulated", source="invented", quantity="energy_j"),
)  # fmt: skip
IDLE_W = (34.0, 21.0)
CPU_W = 46.0


def write_runs(
    root: Path,
    configurations: Sequence[Configuration] = THESIS,
    tasks: int = 1140,
    interval_s: float = 0.02,
    shorter: float = 1.0,
    seed: int = 0,
    repeats: int = 1,
) -> list[Path]:
    """Write a run folder for each configuration (and repeat) under ``root``; times are divided by ``shorter``."""
    difficulty = np.random.default_rng(seed).normal(0, 1, tasks)
    folders = []
    for number, configuration in enumerate(configurations):
        for repeat in range(repeats):
            folder = root / f"{number:02d}-r{repeat}"
            rng = np.random.default_rng([seed, number, repeat])
            _write(folder, configuration, repeat, difficulty, interval_s, shorter, rng)
            folders.append(folder)
    return folders


def _write(
    folder: Path,
    asked: Configuration,
    repeat: int,
    difficulty: np.ndarray,
    interval_s: float,
    shorter: float,
    rng: np.random.Generator,
) -> None:
    folder.mkdir(parents=True)
    tasks = len(difficulty)
    # Generation: durations are log-normal with what a task has in common, so that tasks are matched between runs.
    durations = np.exp(0.35 * difficulty + rng.normal(0, 0.15, tasks))
    durations *= asked.latency_min * 60 / 1140 / durations.mean() / shorter
    gpu_w = asked.energy_kwh * 3.6e6 / (asked.latency_min * 60) - CPU_W
    gpu_w = max(gpu_w, 40.0) * (1 + rng.normal(0, 0.05, tasks))
    tokens = np.maximum(1, (durations * shorter * asked.tokens_per_s).astype(int))
    scores = difficulty + rng.normal(0, 0.8, tasks)
    passed = scores <= np.quantile(scores, asked.pass_at_1)

    lead = np.array([10.0, 3.0, 1.0])  # idle, warm-up, a pause
    generating = np.concatenate([[lead.sum()], lead.sum() + np.cumsum(durations)])
    judging_s = 0.12 + 0.05 * rng.random(tasks)
    scoring = generating[-1] + 0.5 + np.concatenate([[0.0], np.cumsum(judging_s)])
    end = scoring[-1] + 0.5
    windows = (
        _window("idle_before", 0.0, 10.0),
        _window("warmup", 10.0, 13.0),
        _window("idle_after", end, end + 10.0),
    )
    manifest = _manifest(folder.name, asked, repeat, tasks, windows)
    samples = []
    for i in range(tasks):
        generation = _window("generate", generating[i], generating[i + 1], i)
        evaluation = _window("score", scoring[i], scoring[i + 1])
        samples.append(
            Sample(
                key=content_hash(asked, repeat, i)[:32], task_id=f"BigCodeBench/{i}", sample_index=0, order=i,
                batch_id=i, batch_size=1, seed=i, prompt_tokens=150, completion_tokens=int(tokens[i]),
                text=TEXT * max(1, int(tokens[i]) // 25), finish_reason="stop", latency_s=durations[i], ttft_s=0.05,
                generation=generation, generation_energy=_energies((gpu_w[i], CPU_W), durations[i]),
                evaluation=evaluation, evaluation_cpu_s=judging_s[i],
                evaluation_energy=_energies((IDLE_W[0] + 2, CPU_W + 20), judging_s[i]),
                verdict=Verdict(status="pass" if passed[i] else "fail"),
            )
        )  # fmt: skip
    (folder / "manifest.json").write_text(manifest.model_dump_json(indent=1), "utf-8")
    (folder / "samples.jsonl").write_bytes(b"".join(seal(s.model_dump_json()) + b"\n" for s in samples))
    summary = summarise(manifest, SampleTable.of(samples), _totals(samples), {})
    (folder / "summary.json").write_text(summary.model_dump_json(), "utf-8")
    edges = np.concatenate([[-1.0, 10.0, 13.0], generating, [scoring[0]], scoring[1:], [end + 11.0]])
    gpu = np.concatenate([[34.0, 180.0, 40.0], gpu_w, [36.0], np.full(tasks, IDLE_W[0] + 2), [IDLE_W[0] + 1]])
    cpu = np.concatenate([[21.0, 40.0, 25.0], np.full(tasks, CPU_W), [25.0], np.full(tasks, CPU_W + 20), [21.0]])
    pq.write_table(_trace(edges, (gpu, cpu), interval_s), folder / "trace.parquet")


def _window(kind: str, start_s: float, end_s: float, batch_id: int | None = None) -> Window:
    return Window(
        kind=kind, session=0, start_ns=round(start_s * SECOND), end_ns=round(end_s * SECOND), batch_id=batch_id  # type: ignore[arg-type]
    )  # fmt: skip


def _energies(powers_w: tuple[float, float], duration_s: float) -> dict[str, Energy]:
    return {
        channel.name: Energy(gross_j=p * duration_s, net_j=(p - idle) * duration_s, se_j=0.02 * duration_s)
        for channel, p, idle in zip(CHANNELS, powers_w, IDLE_W, strict=True)
    }


def _totals(samples: Sequence[Sample]) -> tuple[ChannelTotal, ...]:
    def total(parts: list[Energy]) -> Energy:
        values = np.array([[e.gross_j, e.net_j, e.se_j] for e in parts], dtype=np.float64)
        gross, net = values[:, :2].sum(axis=0)
        return Energy(gross_j=gross, net_j=net, se_j=float(np.sqrt((values[:, 2] ** 2).sum())))

    return tuple(
        ChannelTotal(
            channel=c.name, provenance=c.provenance, counted=True,
            generation=total([s.generation_energy[c.name] for s in samples]),
            evaluation=total([s.evaluation_energy[c.name] for s in samples]),
            idle_before=IdleBaseline(channel=c.name, mean_w=idle, se_w=0.05, duration_s=10.0),
            idle_after=IdleBaseline(channel=c.name, mean_w=idle + 0.2, se_w=0.05, duration_s=10.0),
        )
        for c, idle in zip(CHANNELS, IDLE_W, strict=True)
    )  # fmt: skip


def _manifest(run_id: str, asked: Configuration, repeat: int, tasks: int, windows: tuple[Window, ...]) -> Manifest:
    adapter = asked.quant if asked.quant != "none" else ("instruct" if asked.chat else "base")
    return Manifest(
        run_id=run_id,
        status="complete",
        spec=Spec(
            model=asked.model, quant=asked.quant, repeat=repeat, batch_size=asked.batch_size, max_new_tokens=1280,
            meter="simulated",
        ),
        model=ModelInfo(
            name=asked.model, adapter=adapter, chat=asked.chat, checkpoint=asked.model, revision="0" * 40,
            quant=asked.quant, dtype="bfloat16", device="cuda:0", parameters=asked.parameters,
        ),
        benchmark=BenchmarkInfo(
            name="bigcodebench", version="0.1.0", source="synthetic", sha256=content_hash(tasks), tasks=tasks
        ),
        host=HostInfo(
            os="Linux", kernel="6.1", python="3.11", cpu="an invented CPU", cores=32, memory_bytes=256 * 10**9,
            gpus=(GpuInfo(uuid="GPU-00000000-synthetic", name="an invented GPU", power_limit_w=350.0),),
        ),
        meter=MeterInfo(name="simulated", interval_s=0.02, channels=CHANNELS),
        versions={"torch": "2.11", "transformers": "5.17"},
        sessions=(Session(index=0, started_at="2026-01-01T00:00:00+00:00", windows=windows, busy=0.01),),
    )  # fmt: skip


def _trace(edges_s: np.ndarray, powers_w: Sequence[np.ndarray], interval_s: float) -> pa.Table:
    """Counters of piecewise constant powers (one entry per stretch between edges), read every ``interval_s``."""
    time_s = np.arange(edges_s[0], edges_s[-1], interval_s)
    values = []
    for power_w in powers_w:
        energy = np.concatenate([[0.0], np.cumsum(power_w * np.diff(edges_s))])
        values.append(np.round(np.interp(time_s, edges_s, energy), 3))
    rows, count = len(time_s), len(powers_w)
    names = pa.DictionaryArray.from_arrays(
        np.repeat(np.arange(count, dtype=np.int16), rows), [c.name for c in CHANNELS]
    )
    quantity = pa.DictionaryArray.from_arrays(np.zeros(rows * count, dtype=np.int16), ["energy_j"])
    return pa.table(
        [np.zeros(rows * count, dtype=np.int16), np.tile(np.round(time_s * SECOND).astype(np.int64), count), names,
         quantity, np.concatenate(values), pa.nulls(rows * count, pa.string())],
        schema=TRACE_SCHEMA,
    )  # fmt: skip
