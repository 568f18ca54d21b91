"""Real run folders, written through the records, from arrays of verdicts and energies."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from passkwh.harness.meter.trace import TRACE_SCHEMA
from passkwh.records import (
    BenchmarkInfo,
    ChannelInfo,
    ChannelTotal,
    Energy,
    HostInfo,
    IdleBaseline,
    Manifest,
    MeterInfo,
    ModelInfo,
    Sample,
    Session,
    Spec,
    Summary,
    Verdict,
    Window,
    content_hash,
)

MakeRun = Callable[..., Path]
SECOND = 1_000_000_000


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real data beside the checkout; skips where it is not there."""
    place = os.environ.get("PASSKWH_SHARED_DATA") or Path(__file__).resolve().parents[2] / "../shared/data"
    path = Path(place)
    if not path.is_dir():
        pytest.skip("the shared data folder is not beside this checkout")
    return path


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Write a complete run folder; see ``write_run``."""

    def make(name: str, **settings: Any) -> Path:
        return write_run(tmp_path / name, **settings)

    return make


def write_run(
    folder: Path,
    *,
    model: str = "family/tiny-1B-Instruct",
    quant: str = "none",
    tasks: Sequence[str] = ("t0", "t1", "t2", "t3"),
    passed: Sequence[bool | None] | None = None,
    energy_j: Sequence[float | None] | None = None,
    tokens: Sequence[int] | None = None,
    samples: int = 1,
    repeat: int = 0,
    batch_size: int = 1,
    scoring_j: float | None = 0.5,
    se_j: float | None = None,
    complete: bool = True,
    chat: bool = True,
    provenance: str = "simulated",
    benchmark: dict[str, Any] | None = None,
    spec: dict[str, Any] | None = None,
    versions: dict[str, str] | None = None,
    revision: str = "r" * 40,
) -> Path:
    """A run with one counted channel and one that is not; arrays have an entry per sample, task by task.

    ``energy_j`` is of generation; each sample's scoring adds ``scoring_j``. None stands for a reading that failed.
    """
    count = len(tasks) * samples
    verdicts = list(passed) if passed is not None else [i % 2 == 0 for i in range(count)]
    joules = list(energy_j) if energy_j is not None else [10.0 + i for i in range(count)]
    lengths = list(tokens) if tokens is not None else [100 + i for i in range(count)]
    folder.mkdir(parents=True)
    lines = []
    for i in range(count):
        start = i * 1_000_000_000
        window = Window(kind="generate", session=0, start_ns=start, end_ns=start + 500_000_000, batch_id=i)
        verdict = verdicts[i]
        lines.append(
            Sample(
                key=content_hash(folder.name, i)[:32],
                task_id=tasks[i // samples],
                sample_index=i % samples,
                order=i,
                batch_id=i,
                batch_size=1,
                seed=i,
                prompt_tokens=50,
                completion_tokens=lengths[i],
                text="x",
                finish_reason="stop",
                latency_s=0.5,
                generation=window,
                generation_energy={"gpu:0": _energy(joules[i], se_j), "cpu:0": _energy(1000.0, None)},
                evaluation=window.model_copy(update={"kind": "score"}),
                evaluation_energy={"gpu:0": _energy(scoring_j, None), "cpu:0": _energy(1000.0, None)},
                verdict=Verdict(status="not_evaluated" if verdict is None else ("pass" if verdict else "fail")),
            ).model_dump_json()
        )
    (folder / "samples.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    asked = Spec(
        model=model, quant=quant, samples=samples, repeat=repeat, batch_size=batch_size,
        **{"max_new_tokens": 512, "meter": "simulated", **(spec or {})},
    )  # fmt: skip
    channels = (
        ChannelInfo(name="gpu:0", provenance=provenance, source="a test", quantity="energy_j"),  # type: ignore[arg-type]
        ChannelInfo(name="cpu:0", provenance=provenance, source="a test", quantity="energy_j", counted=False),  # type: ignore[arg-type]
    )
    session = Session(index=0, started_at="2025-01-01T00:00:00Z", windows=(
        Window(kind="idle_before", session=0, start_ns=-12 * SECOND, end_ns=-2 * SECOND),
        Window(kind="idle_after", session=0, start_ns=(count + 2) * SECOND, end_ns=(count + 12) * SECOND),
    ))  # fmt: skip
    manifest = Manifest(
        run_id=folder.name,
        status="complete" if complete else "running",
        spec=asked,
        model=ModelInfo(
            name=model, adapter="instruct" if chat else "base", chat=chat, checkpoint=model, revision=revision,
            quant=quant, dtype="bfloat16", device="cuda:0", parameters=_size(model),
        ),
        benchmark=BenchmarkInfo(
            **{"name": "bench", "version": "1", "source": "embedded", "tasks": len(tasks),
               "sha256": content_hash(list(tasks)), **(benchmark or {})}
        ),
        host=HostInfo(os="Linux", kernel="6", python="3.11", cpu="cpu", cores=2, memory_bytes=1),
        meter=MeterInfo(
            name="simulated" if provenance == "simulated" else "auto", interval_s=0.02, channels=channels
        ),
        versions=versions or {"torch": "2.11"},
        sessions=(session,),
    )  # fmt: skip
    (folder / "manifest.json").write_text(manifest.model_dump_json(), "utf-8")
    pq.write_table(trace_table(count), folder / "trace.parquet")
    if complete:
        known = [j for j in joules if j is not None]
        total = Energy(gross_j=sum(known), net_j=sum(known), se_j=se_j)
        scoring = _energy(None if scoring_j is None else scoring_j * count, None)
        idle = IdleBaseline(channel="gpu:0", mean_w=1.0)
        summary = Summary(
            run_id=folder.name, model=model, adapter=manifest.model.adapter, quant=quant,
            benchmark=manifest.benchmark.name, tasks=len(tasks), samples=count, solved=None, pass_at_k={},
            gross_energy_j=sum(known) or None, net_energy_j=sum(known) or None,
            energy_kwh=sum(known) / 3.6e6 or None,
            generation_energy_j=sum(known) if len(known) == count else None, evaluation_energy_j=None,
            pass_at_kwh=None, solved_per_kwh=None, generation_s=0.5 * count, evaluation_s=0.5 * count,
            prompt_tokens=50 * count, completion_tokens=sum(lengths), tokens_per_s=None, joules_per_token=None,
            provenance=provenance,  # type: ignore[arg-type]
            channels=(
                ChannelTotal(
                    channel="gpu:0", provenance=provenance, counted=True,  # type: ignore[arg-type]
                    generation=total, evaluation=scoring, idle_before=idle, idle_after=idle,
                ),
            ),
        )  # fmt: skip
        (folder / "summary.json").write_text(summary.model_dump_json(), "utf-8")
    return folder


def trace_table(samples: int) -> pa.Table:
    """Counters read every 10 ms: 20 W idle before, 100 W while working, 30 W idle after; 5 W for the CPU."""
    time_ns = np.arange(-13 * SECOND, (samples + 13) * SECOND, SECOND // 100)
    watts = np.where(time_ns < -SECOND, 20.0, np.where(time_ns < (samples + 1) * SECOND, 100.0, 30.0))
    rows = len(time_ns)
    return pa.table(
        {
            "session": np.zeros(2 * rows, dtype=np.int16),
            "time_ns": np.tile(time_ns, 2),
            "channel": ["gpu:0"] * rows + ["cpu:0"] * rows,
            "quantity": ["energy_j"] * (2 * rows),
            "value": np.concatenate([np.cumsum(watts), np.cumsum(np.full(rows, 5.0))]) / 100,
            "reason": [None] * (2 * rows),
        },
        schema=TRACE_SCHEMA,
    )


def _energy(gross_j: float | None, se_j: float | None) -> Energy:
    if gross_j is None:
        return Energy(gross_j=None, net_j=None, reason="the reading failed")
    return Energy(gross_j=gross_j, net_j=gross_j * 0.75, se_j=se_j)


_SIZES = {"coder": 15_706_484_224, "0.5B": 500_000_000, "1B": 10**9, "3B": 3 * 10**9, "7B": 7 * 10**9}


def _size(model: str) -> int:
    return next((size for text, size in _SIZES.items() if text in model), 1)
