"""What a run would be on this host, and everything that stands in its way, before anything heavy is done.

The one place where a spec is checked: ``bench run``, the Python interface and the process of a sweep's run start what
it returns, ``bench run --dry-run`` and the preflight of a sweep show it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from pydantic import Field

from passkwh import adapters, benchmarks
from passkwh.adapters import early_exit
from passkwh.adapters.engines import AUTO
from passkwh.adapters.infill import InfillTokens, infill_tokens
from passkwh.adapters.model_name import short
from passkwh.benchmarks.base import ChecksRequirements
from passkwh.errors import UsageError
from passkwh.harness.meter.base import meter_channels
from passkwh.records import Record, Spec, spec_identity

if TYPE_CHECKING:
    from passkwh.adapters.checkpoint import Checkpoint
    from passkwh.adapters.early_exit.request import ExitRequest
    from passkwh.benchmarks.base import Benchmark

CHARACTERS_PER_TOKEN = 3
"""Before there is a tokenizer, a token is so many characters."""

T = TypeVar("T")


class PlanProblem(Record):
    """Why a spec cannot be run on this host."""

    field: Annotated[str, Field(description="field of the spec that asks for it")]
    text: str


class ModelReading(Record):
    """What a model is, as it was read from its files before the weights are here."""

    revision: str | None
    prompt: Literal["base", "chat"]
    quant: str
    context_tokens: int | None
    end_tokens: tuple[int, ...]
    parameters: int | None
    active_parameters: int | None
    weight_bytes: int | None
    reasoning: Annotated[str | None, Field(description="the template's switch of its thinking phase, or always")]
    read: Annotated[dict[str, str], Field(description="what says so, in words")]
    overridden: dict[str, str]
    guesses: tuple[str, ...]


class PlanReport(Record):
    """What a run would be on this host, in figures. What could not be determined is None, and a problem says why."""

    spec: Annotated[Spec, Field(description="as asked, with the benchmark's completion length filled in")]
    run_id: Annotated[str, Field(description="name of the run folder")]
    checkpoint: Annotated[str | None, Field(description="where the weights come from")] = None
    weights: Annotated[str | None, Field(description="folder or file of the weights, where they are here")] = None
    parameters: int | None = None
    model: Annotated[ModelReading | None, Field(description="what the model's own files say of it")] = None
    tasks: int | None = None
    prompt_tokens: Annotated[int | None, Field(description="of the mean prompt, a token being three characters")] = None
    memory_needed_bytes: int | None = None
    memory_reckoned: Annotated[
        bool, Field(description="of a registered model that is not here: weights alone, by its number of parameters")
    ] = False
    memory_free_bytes: int
    memory_total_bytes: int
    channels: Annotated[dict[str, str], Field(description="what would be metered: channel -> provenance")]
    missing: Annotated[tuple[str, ...], Field(description="what the run will have to get first, in words")] = ()
    problems: tuple[PlanProblem, ...] = ()


@dataclass(frozen=True)
class Plan:
    """A run as planned: its report, and what the runner needs, which is there unless the report has problems."""

    report: PlanReport
    folder: Path
    checkpoint: Checkpoint | None
    benchmark: Benchmark | None
    infill: InfillTokens | None
    """The model's tokens for filling in the middle, where the benchmark asks for that."""
    exit: ExitRequest | None
    """The spec's ``exit``, parsed; None for a run whose tokens go through all layers."""
    tokens_per_row: int
    """Prompt and completion of the longest row, roughly."""

    @property
    def spec(self) -> Spec:
        """As asked, with the benchmark's completion length filled in."""
        return self.report.spec


def refuse_problems(plans: Sequence[Plan]) -> None:
    """Raises UsageError, one line with every problem of these plans, each once."""
    if texts := [problem.text for plan in plans for problem in plan.report.problems]:
        raise UsageError("; and ".join(dict.fromkeys(texts)))


def plan(spec: Spec, out: Path, open_benchmark: Callable[[Spec], Benchmark] | None = None) -> Plan:
    """Check a spec against this host: every problem is collected, none is raised.

    Args:
        spec: what is asked.
        out: folder in which the run folder would be made; nothing is written.
        open_benchmark: how the benchmark is opened, for callers that plan many specs of one benchmark.
    """
    problems: list[PlanProblem] = []

    def check(field: str, step: Callable[[], T]) -> T | None:
        try:
            return step()
        except UsageError as error:
            problems.append(PlanProblem(field=field, text=str(error)))
            return None

    asked = adapters.Overrides(spec.revision, spec.prompt, spec.lora, spec.trust_remote_code)
    checkpoint = check("model", lambda: adapters.resolve(spec.model, engine=spec.engine, overrides=asked))
    if checkpoint is not None and (spec.quant != "none" or spec.quant_options):
        asked = replace(asked, quant_options=spec.quant_options)
        checkpoint = check("quant", lambda: adapters.resolve(spec.model, spec.quant, spec.engine, asked))
    if checkpoint is not None:
        refused = "engine" if spec.engine != AUTO else "quant" if spec.quant != "none" else "model"
        chosen = check(refused, lambda: adapters.choose(checkpoint, spec.engine))
        if chosen is not None:
            check("engine_options", lambda: adapters.check_options(checkpoint, spec.engine, spec.engine_options))
            if spec.batch_size == 1:
                check("concurrency", lambda: adapters.check_concurrency(checkpoint, spec.engine, spec.concurrency))
    if spec.batch_size > 1 and spec.concurrency > 1:
        text = (
            f"--batch-size {spec.batch_size} waits for the longest row of each batch, --concurrency {spec.concurrency} "
            "for none: give one of them"
        )
        problems.append(PlanProblem(field="concurrency", text=text))
    benchmark = check("benchmark", lambda: (open_benchmark or _open_benchmark)(spec))
    channels = check("meter", lambda: meter_channels(spec.meter))
    exit = None if spec.exit is None else check("exit", lambda: early_exit.parse(spec.exit))
    if exit is not None and checkpoint is not None and benchmark is not None:
        check("exit", lambda: adapters.check(checkpoint, spec.engine, exit, language(benchmark)))
    if checkpoint is not None:
        check("thinking", lambda: adapters.check_thinking(checkpoint, spec.thinking, spec.engine))
        if spec.system is not None and not checkpoint.chat:
            text = f"--system: {spec.model} is run as a base model, which takes no system prompt: leave it out"
            problems.append(PlanProblem(field="system", text=text))
    infill = None
    if checkpoint is not None and benchmark is not None and _fills_gaps(benchmark):
        infill = check("benchmark", lambda: infill_tokens(checkpoint))
    missing = list(checkpoint.pending) if checkpoint is not None else []
    if isinstance(benchmark, ChecksRequirements):
        missing += benchmark.missing()
    if spec.max_new_tokens is None and benchmark is not None:
        spec = spec.model_copy(update={"max_new_tokens": benchmark.default_max_new_tokens})

    tokens_per_row = (spec.max_new_tokens or 0) + (0 if benchmark is None else _longest_prompt_tokens(benchmark))
    on = check("devices", lambda: adapters.check_devices(spec.devices)) or "auto"
    needed, free, total = None, adapters.memory_free(on), adapters.memory_total(on)
    if checkpoint is not None:
        needed = check(
            "model",
            lambda: adapters.memory_needed(checkpoint, spec.at_once, tokens_per_row, on, spec.engine),
        )
    is_reckoned = checkpoint is None and spec.engine == AUTO
    if is_reckoned:
        needed = adapters.reckoned_memory(spec.model, spec.quant)
    if checkpoint is not None or is_reckoned:
        if needed is not None and needed > total:
            text = (
                f"{spec.model} needs about {needed / 2**30:.1f} GiB with {_at_once(spec)} and "
                f"{total / 2**30:.1f} GiB is all there is ({free / 2**30:.1f} GiB free): leave it out, lower "
                f"--{'concurrency' if spec.concurrency > 1 else 'batch-size'} or --max-new-tokens, or choose a smaller "
                "model or a quantization"
            )
            problems.append(PlanProblem(field="model", text=text))
        elif needed is not None and needed > free:
            missing.append(f"{(needed - free) / 2**30:.1f} GiB of free memory")
    lengths = [] if benchmark is None else [task.request.characters for task in benchmark.tasks]
    report = PlanReport(
        spec=spec,
        run_id=run_name(spec),
        checkpoint=checkpoint.location if checkpoint else None,
        weights=str(place) if checkpoint and (place := checkpoint.path or checkpoint.file) else None,
        parameters=checkpoint.parameters if checkpoint else None,
        model=_reading(checkpoint) if checkpoint else None,
        tasks=len(lengths) or None,
        prompt_tokens=math.ceil(sum(lengths) / len(lengths) / CHARACTERS_PER_TOKEN) if lengths else None,
        memory_needed_bytes=needed,
        memory_reckoned=is_reckoned and needed is not None,
        memory_free_bytes=free,
        memory_total_bytes=total,
        channels={channel.name: channel.provenance for channel in channels or ()},
        missing=tuple(missing),
        problems=tuple(problems),
    )
    return Plan(report, out / report.run_id, checkpoint, benchmark, infill, exit, tokens_per_row)


def _reading(checkpoint: Checkpoint) -> ModelReading:
    thinking = checkpoint.reasoning
    return ModelReading(
        revision=checkpoint.revision,
        prompt="chat" if checkpoint.chat else "base",
        quant=checkpoint.quant,
        context_tokens=checkpoint.context_tokens,
        end_tokens=checkpoint.end_tokens,
        parameters=checkpoint.parameters,
        active_parameters=checkpoint.active_parameters,
        weight_bytes=checkpoint.weight_bytes,
        reasoning=None if thinking is None else thinking.switch or "always",
        read=dict(checkpoint.read),
        overridden=checkpoint.overrides.given(),
        guesses=checkpoint.guesses,
    )


def _open_benchmark(spec: Spec) -> Benchmark:
    return benchmarks.open(spec.benchmark, spec.benchmark_options, spec.limit, spec.task_ids)


def _at_once(spec: Spec) -> str:
    return f"concurrency {spec.concurrency}" if spec.concurrency > 1 else f"batch_size {spec.batch_size}"


def language(benchmark: Benchmark) -> str:
    """Programming language that is written: what the benchmark says, otherwise Python."""
    return str(getattr(benchmark, "language", "python"))


def _fills_gaps(benchmark: Benchmark) -> bool:
    return any(task.request.suffix is not None for task in benchmark.tasks)


def _longest_prompt_tokens(benchmark: Benchmark) -> int:
    longest = max(max(task.request.characters, len(task.request.instruction)) for task in benchmark.tasks)
    return longest // CHARACTERS_PER_TOKEN


def run_name(spec: Spec) -> str:
    """Name of the run folder: readable, and the same for the same spec, so that ``--resume`` finds it."""
    identity = spec_identity(spec)[:8]
    model = re.sub(r"[^a-z0-9.]+", "-", short(spec.model).lower()).strip("-.") or "model"
    rule = "" if spec.exit is None else "-" + re.sub(r"[^a-z0-9.]+", "-", spec.exit.partition(",")[0].lower())
    rule += "" if spec.thinking == AUTO else f"-thinking-{spec.thinking}"
    return f"{model}-{spec.quant}{rule}-{spec.benchmark}-{identity}-r{spec.repeat}"
