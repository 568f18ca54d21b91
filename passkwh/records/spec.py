"""What a run is asked, and its identity."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from passkwh.records.base import SCHEMA_VERSION, Count, Option, Record, SchemaVersion, content_hash


class Spec(Record):
    """One run as it was asked for: together with the checkpoint's and the data's content it determines every sample."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    model: Annotated[str, Field(min_length=1, description="registry name, hub id or local folder")]
    quant: Annotated[str, Field(description="name in the registry of quantizations, or none")] = "none"
    engine: Annotated[str, Field(description="name in the registry of engines, or auto")] = "auto"
    engine_options: Annotated[
        dict[str, Option], Field(description="the engine's own options, for example n_threads")
    ] = {}
    quant_options: Annotated[
        dict[str, Option], Field(description="of a quantization that is made here, for example group_size, desc_act")
    ] = {}
    revision: Annotated[
        str | None, Field(description="branch, tag or commit of the hub; its main branch when None")
    ] = None
    prompt: Annotated[
        Literal["base", "chat"] | None, Field(description="how the model is asked; what its files say when None")
    ] = None
    lora: Annotated[str | None, Field(description="LoRA adapter, a folder or hub id, merged into the weights")] = None
    trust_remote_code: Annotated[bool, Field(description="the model's own Python code may run")] = False
    devices: Annotated[str, Field(description="auto, cpu, or GPUs by their CUDA numbers, as 0,1")] = "auto"
    exit: Annotated[str | None, Field(description="early-exit rule with its argument, as fixed:12 or agent:0.9")] = None
    benchmark: Annotated[str, Field(description="name in the benchmark registry")] = "bigcodebench"
    benchmark_options: Annotated[
        dict[str, Option], Field(description="the benchmark's own options, for example style, subset, data")
    ] = {}
    limit: Annotated[Count | None, Field(ge=1, description="only the first so many tasks; all when None")] = None
    task_ids: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...],
        Field(
            description="only these tasks, in the benchmark's order, of which limit then takes the first; all when ()"
        ),
    ] = ()
    samples: Annotated[Count, Field(ge=1, description="completions per task (n of pass@k)")] = 1
    batch_size: Annotated[Count, Field(ge=1, description="prompts generated together")] = 1
    concurrency: Annotated[
        Count, Field(ge=1, description="requests in flight: when one ends, the next begins; not with batch_size")
    ] = 1
    max_new_tokens: Annotated[
        Count | None,
        Field(ge=1, description="completion length limit; the benchmark's own when None, filled in by plan()"),
    ] = None
    system: Annotated[str | None, Field(description="system prompt of chats; the template's own when None")] = None
    thinking: Annotated[
        str,
        Field(
            pattern=r"^(auto|on|off|low|medium|high|[1-9]\d*)$",
            description="auto (as the template does by itself), on, off, an effort, or how many tokens it may take",
        ),
    ] = "auto"
    temperature: Annotated[float, Field(ge=0, description="0 is greedy decoding")] = 0.0
    top_p: Annotated[float, Field(gt=0, le=1, description="nucleus mass when sampling")] = 1.0
    seed: Annotated[int, Field(ge=0, lt=2**32, description="seed of sampling and of order")] = 0
    repeat: Annotated[Count, Field(description="which repetition of the same configuration this is")] = 0
    meter: Annotated[str, Field(description="auto, or a meter of the registry with its arguments")] = "auto"
    idle_s: Annotated[float, Field(ge=0, description="length of the idle baseline before and after, in seconds")] = 10.0

    @field_validator("task_ids")
    @classmethod
    def _in_one_order(cls, task_ids: tuple[str, ...]) -> tuple[str, ...]:
        """The same tasks are the same run, however they were written."""
        return tuple(sorted(set(task_ids)))

    @property
    def at_once(self) -> int:
        """Prompts that are in the model at a time: rows of a batch, or requests in flight."""
        return max(self.batch_size, self.concurrency)


_IDENTIFYING = frozenset(
    {
        "model", "quant", "exit", "benchmark", "benchmark_options", "limit", "samples", "batch_size", "max_new_tokens",
        "temperature", "top_p", "seed", "meter", "idle_s",
    }
)  # fmt: skip
"""Fields of a schema-1 spec: they are part of its identity whatever their value, so that runs of the first edition keep
their names. Never changed."""


def spec_identity(spec: Spec) -> str:
    """Equal for specs that ask for the same but for the repetition: a hash of the first edition's fields, and of newer
    ones where they differ from their defaults.

    A field that is added with a default therefore changes no identity.
    """
    defaults = {name: field.default for name, field in Spec.model_fields.items()}
    values = spec.model_dump(exclude={"repeat", "schema_version"})
    kept = {name: v for name, v in values.items() if name in _IDENTIFYING or v != defaults[name]}
    return content_hash({**kept, "schema_version": 1})
