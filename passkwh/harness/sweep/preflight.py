"""What each configuration of a study would be on this host, and what it lacks, found out before anything starts.

Runs in a process of its own, ``python -m passkwh.harness.sweep.preflight``, with specs as JSON on stdin and checks as
JSON on stdout: asking a GPU for its memory makes a CUDA context, which draws tens of watts for as long as it lives and
must not stay beside metered runs.
"""

from __future__ import annotations

import functools
import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, TypeAdapter

from passkwh.errors import UsageError
from passkwh.records import HostInfo, Option, Record, Spec
from passkwh.registry import QUANTIZATIONS

if TYPE_CHECKING:
    from passkwh.benchmarks.base import Benchmark


class Problem(Record):
    """Why a configuration cannot run here."""

    key: Annotated[str, Field(description="key of the study file that asks for it")]
    text: str


class Check(Record):
    """One configuration on this host. What could not be found out is None, and a problem says why."""

    spec: Annotated[Spec, Field(description="as asked, with the benchmark's completion length filled in")]
    run_id: Annotated[str, Field(description="name of the run folder")]
    checkpoint: str | None = None
    folder: Annotated[str | None, Field(description="where the weights are, if they are here")] = None
    parameters: int | None = None
    tasks: int | None = None
    prompt_tokens: Annotated[int | None, Field(description="of the mean prompt, a token being three characters")] = None
    memory_needed_bytes: int | None = None
    memory_free_bytes: int
    memory_total_bytes: int
    channels: Annotated[
        dict[str, str], Field(default_factory=dict, description="what would be metered: channel -> provenance")
    ]
    missing: Annotated[tuple[str, ...], Field(description="what the run will have to get first, in words")] = ()
    problems: tuple[Problem, ...] = ()


class Preflight(Record):
    """All configurations on one host."""

    host: HostInfo
    checks: tuple[Check, ...]


def preflight(specs: Sequence[Spec]) -> Preflight:
    """``inspect`` in a process of its own, which has ended when this returns."""
    request = TypeAdapter(list[Spec]).dump_json(list(specs))
    done = subprocess.run(
        [sys.executable, "-m", "passkwh.harness.sweep.preflight"], input=request, stdout=subprocess.PIPE, check=False
    )
    if done.returncode != 0:
        raise UsageError(f"this host could not be looked at (exit status {done.returncode}): see the lines above")
    return Preflight.model_validate_json(done.stdout)


def inspect(specs: Sequence[Spec]) -> Preflight:
    """Look at this host for every spec."""
    from passkwh.harness.host import host_info

    return Preflight(host=host_info(), checks=tuple(_check(spec) for spec in specs))


def _check(spec: Spec) -> Check:
    from passkwh import adapters
    from passkwh.adapters import early_exit
    from passkwh.benchmarks.base import ChecksRequirements
    from passkwh.harness.meter.base import meter_channels
    from passkwh.harness.plan import CHARACTERS_PER_TOKEN, language, row_tokens, run_name

    problems: list[Problem] = []
    missing: list[str] = []
    checkpoint = benchmark = needed = None
    channels: dict[str, str] = {}
    key = "model"
    try:
        adapters.resolve(spec.model, engine=spec.engine)
        key = "quant"
        checkpoint = adapters.resolve(spec.model, spec.quant, spec.engine)
        missing += checkpoint.pending
    except UsageError as error:
        problems.append(Problem(key=key, text=str(error)))
    if spec.quant in QUANTIZATIONS and (lacking := QUANTIZATIONS.get(spec.quant).missing()):
        problems.append(Problem(key="quant", text=lacking))
    try:
        benchmark = _benchmark(spec.benchmark, tuple(sorted(spec.benchmark_options.items())), spec.limit)
    except UsageError as error:
        problems.append(Problem(key="benchmark", text=str(error)))
    if spec.exit is not None and checkpoint is not None and benchmark is not None:
        try:
            exit = early_exit.parse(spec.exit)
            assert exit is not None
            early_exit.check(exit, checkpoint, language(benchmark))
        except UsageError as error:
            problems.append(Problem(key="exit", text=str(error)))
    try:
        channels = {channel.name: channel.provenance for channel in meter_channels(spec.meter)}
    except UsageError as error:
        problems.append(Problem(key="meter", text=str(error)))
    if benchmark is not None:
        if spec.max_new_tokens is None:
            spec = spec.model_copy(update={"max_new_tokens": benchmark.default_max_new_tokens})
        if isinstance(benchmark, ChecksRequirements):
            missing += benchmark.missing()
    total, free = memory_total(), adapters.memory_free()
    if checkpoint is not None:
        tokens = spec.max_new_tokens or 0
        try:
            row = row_tokens(benchmark, tokens) if benchmark is not None else tokens
            needed = adapters.memory_needed(checkpoint, spec.batch_size, row, engine=spec.engine)
        except UsageError as error:
            problems.append(Problem(key="model", text=str(error)))
    # A quantized checkpoint that is not here yet is reckoned at 16 bits: too much to say that it cannot be held.
    exact = checkpoint is not None and (checkpoint.path is not None or checkpoint.quant == "none")
    if needed is not None and needed > total and exact:
        problems.append(
            Problem(
                key="model",
                text=f"{spec.model} needs about {needed / 2**30:.1f} GiB with batch_size {spec.batch_size} and "
                f"{total / 2**30:.1f} GiB is all there is: leave it out, or choose a smaller model or a quant",
            )
        )
    elif needed is not None and needed > free:
        missing.append(f"{(needed - free) / 2**30:.1f} GiB of free memory")
    lengths = [] if benchmark is None else [len(task.request.text) for task in benchmark.tasks]
    return Check(
        spec=spec,
        run_id=run_name(spec),
        checkpoint=checkpoint.location if checkpoint else None,
        folder=str(checkpoint.path) if checkpoint and checkpoint.path else None,
        parameters=checkpoint.parameters if checkpoint else None,
        tasks=len(lengths) or None,
        prompt_tokens=math.ceil(sum(lengths) / len(lengths) / CHARACTERS_PER_TOKEN) if lengths else None,
        memory_needed_bytes=needed,
        memory_free_bytes=free,
        memory_total_bytes=total,
        channels=channels,
        missing=tuple(missing),
        problems=tuple(problems),
    )


@functools.cache
def _benchmark(name: str, options: tuple[tuple[str, Option], ...], limit: int | None) -> Benchmark:
    from passkwh import benchmarks

    return benchmarks.open(name, dict(options), limit)


@functools.cache
def memory_total() -> int:
    """Bytes of the device that models run on: of the largest accelerator, else of this host or its control group."""
    from passkwh.adapters.device import pick

    if pick("auto").startswith("cuda"):
        import torch

        return max(torch.cuda.get_device_properties(i).total_memory for i in range(torch.cuda.device_count()))
    import psutil

    total = int(psutil.virtual_memory().total)
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no control group, or "max": no limit
        return total


def main() -> None:
    """The process: specs on stdin, a Preflight on stdout."""
    answer = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints must not come between
    specs = TypeAdapter(list[Spec]).validate_python(json.load(sys.stdin))
    with os.fdopen(answer, "w", encoding="utf-8") as file:
        file.write(inspect(specs).model_dump_json())


if __name__ == "__main__":
    main()
