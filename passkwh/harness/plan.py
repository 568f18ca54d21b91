"""What a run would be, found out before anything heavy is done: tasks, checkpoint, memory, folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from passkwh import adapters, benchmarks
from passkwh.adapters import early_exit
from passkwh.adapters.checkpoint import Checkpoint
from passkwh.benchmarks.base import Benchmark
from passkwh.harness.meter.base import meter_channels
from passkwh.records import ChannelInfo, Spec, spec_identity

if TYPE_CHECKING:
    from passkwh.adapters.early_exit.request import ExitRequest

CHARACTERS_PER_TOKEN = 3


@dataclass(frozen=True)
class Plan:
    """A run that can be started."""

    spec: Spec
    """As asked, with the benchmark's completion length filled in."""
    benchmark: Benchmark
    checkpoint: Checkpoint
    exit: ExitRequest | None
    """``spec.exit``, read."""
    folder: Path
    channels: tuple[ChannelInfo, ...]
    tokens_per_row: int
    """Prompt and completion of the longest row, roughly: before there is a tokenizer, a token is three characters."""
    memory_needed_bytes: int
    memory_free_bytes: int

    def missing(self) -> list[str]:
        """What the run will have to get first, or cannot do without, in words."""
        found = list(self.checkpoint.pending)
        if self.memory_needed_bytes > self.memory_free_bytes:
            found.append(f"{(self.memory_needed_bytes - self.memory_free_bytes) / 2**30:.1f} GiB of memory")
        return found


def plan(spec: Spec, out: Path) -> Plan:
    """Check a spec against this machine and say what would run.

    Raises:
        UsageError: an unknown model, quantization, benchmark or meter, bad data, or a checkpoint that is not here.
    """
    exit = early_exit.parse(spec.exit)
    checkpoint = adapters.resolve(spec.model, spec.quant, spec.engine)
    benchmark = benchmarks.open(spec.benchmark, spec.benchmark_options, spec.limit)
    adapters.check(checkpoint, spec.engine, exit, language(benchmark))
    channels = meter_channels(spec.meter)
    if spec.max_new_tokens is None:
        spec = spec.model_copy(update={"max_new_tokens": benchmark.default_max_new_tokens})
    assert spec.max_new_tokens is not None
    tokens_per_row = row_tokens(benchmark, spec.max_new_tokens)
    return Plan(
        spec=spec,
        benchmark=benchmark,
        checkpoint=checkpoint,
        exit=exit,
        folder=out / run_name(spec),
        channels=channels,
        tokens_per_row=tokens_per_row,
        memory_needed_bytes=adapters.memory_needed(checkpoint, spec.batch_size, tokens_per_row, engine=spec.engine),
        memory_free_bytes=adapters.memory_free(),
    )


def language(benchmark: Benchmark) -> str:
    """Programming language that is written: what the benchmark says, otherwise Python."""
    return str(getattr(benchmark, "language", "python"))


def row_tokens(benchmark: Benchmark, max_new_tokens: int) -> int:
    """Prompt and completion of the benchmark's longest row, in tokens of three characters."""
    longest = max(max(len(task.request.text), len(task.request.instruction)) for task in benchmark.tasks)
    return longest // CHARACTERS_PER_TOKEN + max_new_tokens


def run_name(spec: Spec) -> str:
    """Name of the run folder: readable, and the same for the same spec, so that ``--resume`` finds it."""
    identity = spec_identity(spec)[:8]
    model = re.sub(r"[^a-z0-9.]+", "-", Path(spec.model.rpartition("#")[2]).name.lower()).strip("-.") or "model"
    left = "" if spec.exit is None else "-" + re.sub(r"[^a-z0-9.]+", "-", spec.exit.partition(",")[0].lower())
    return f"{model}-{spec.quant}{left}-{spec.benchmark}-{identity}-r{spec.repeat}"
