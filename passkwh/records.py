"""The data contract: what a run is asked, what it ran on, what each sample was and what it all came to.

Every model is frozen and refuses unknown fields, so that a file read back is exactly what was written. What stands in
files of its own is versioned (``schema_version``): a program reads what older ones wrote, and says of what a newer one
wrote which version it takes. A field that is added has a default, so that older files are read and no identity changes
(:func:`spec_identity`), and raises ``SCHEMA_VERSION``. Units stand in the names: ``_j`` joules, ``_kwh``
kilowatt-hours, ``_w`` watts, ``_s`` seconds, ``_ns`` nanoseconds of this boot's monotonic clock. Whatever could not be
read is ``None`` and says why; it is never 0. Imports nothing of ours.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

SCHEMA_VERSION = 2
"""1: the first edition. 2: engines (``Spec.engine``, ``ModelInfo.engine``), thinking (``Spec.thinking``)."""

SchemaVersion = Annotated[int, Field(ge=1, le=SCHEMA_VERSION, description="version of the records it was written as")]

Provenance = Literal["measured", "estimated", "simulated"]
"""measured: read from a counter or sensor. estimated: computed from a model such as TDP x load. simulated: invented."""

RunProvenance = Literal["measured", "estimated", "simulated", "mixed"]
"""The provenance of a total: that of its channels, or ``mixed`` where they differ."""

MOST_J = 1e12
"""No run takes more: a power plant gives it in a quarter of an hour."""
ROUNDING_J = 1e-6
"""Shares of an energy may be off by so much, since they are made to add up."""
Joules = Annotated[float, Field(ge=-MOST_J, le=MOST_J)]
Seconds = Annotated[float, Field(ge=0, le=1e9)]
Count = Annotated[int, Field(ge=0, le=2**31)]
"""Of samples, tokens, places: all that one run can have."""
Nanoseconds = Annotated[int, Field(ge=-(2**62), le=2**62)]
"""Within 146 years of where the clock begins."""
Share = Annotated[float, Field(ge=0, le=1)]

Option = str | int | float | bool
"""A value of a benchmark's own options."""

FinishReason = Literal["stop", "length", "context", "content_filter"]
"""Why a completion ended: the model or a stop string ended it, it reached the length limit or the end of the context,
the prompt alone did not fit the context (there is no completion then), or a server withheld the rest."""


def well_formed(text: str) -> str:
    """Text that every encoding takes: halves of a character that stand alone (lone surrogates) become U+FFFD.

    JSON can spell them and Python's strings hold them; UTF-8, and with it every file, does not. Two halves that belong
    together become their character.

    Example:
        >>> well_formed("a\\ud83d\\ude00b\\ud83d")
        'a😀b�'
    """
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _well_formed(value: Any) -> Any:
    """Of a text or of several; what is neither is for the validation to refuse."""
    if isinstance(value, str):
        return well_formed(value)
    return tuple(map(_well_formed, value)) if isinstance(value, (list, tuple)) else value


WellFormed = BeforeValidator(_well_formed)
"""Of what a model or its program wrote: the one door where it becomes well-formed, so that no file refuses it."""


class Record(BaseModel):
    """Base of every record: immutable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


RecordT = TypeVar("RecordT", bound=Record)


class Document(Record):
    """A record that is a file of its own."""

    schema_version: SchemaVersion = SCHEMA_VERSION

    @model_validator(mode="before")
    @classmethod
    def _of_a_version_that_can_be_read(cls, content: Any) -> Any:
        if isinstance(content, dict):
            version = content.get("schema_version", 1)
            if isinstance(version, int) and version > SCHEMA_VERSION:
                writers = content.get("versions")
                writer = writers.get("passkwh") if isinstance(writers, dict) else None
                needed = f"passkwh {writer}" if writer else "a newer passkwh"
                raise ValueError(
                    f"it is of schema {version} and this program reads up to {SCHEMA_VERSION}: install {needed}"
                )
        return content


# ---------------------------------------------------------------- what is asked


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
    samples: Annotated[Count, Field(ge=1, description="completions per task (n of pass@k)")] = 1
    batch_size: Annotated[Count, Field(ge=1, description="prompts generated together")] = 1
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


# ---------------------------------------------------------------- time and energy


class Window(Record):
    """Time between two marks on the trace of one session."""

    kind: Literal["idle_before", "warmup", "generate", "score", "idle_after"]
    session: Annotated[Count, Field(description="index into Manifest.sessions; the clock is only valid within it")]
    start_ns: Nanoseconds
    end_ns: Nanoseconds
    batch_id: Annotated[Count | None, Field(description="generation batch the window belongs to")] = None

    @model_validator(mode="after")
    def _ordered(self) -> Window:
        if self.end_ns < self.start_ns:
            raise ValueError(f"window ends before it starts ({self.end_ns} < {self.start_ns})")
        return self


class Energy(Record):
    """Energy of one channel over one window."""

    gross_j: Annotated[Joules | None, Field(ge=-ROUNDING_J, description="what the channel drew")]
    net_j: Annotated[Joules | None, Field(description="gross minus idle power x duration; may be slightly negative")]
    se_j: Annotated[float | None, Field(ge=0, description="standard error of gross_j; of net_j with se_idle_j")] = None
    reason: Annotated[str | None, Field(description="why a value is missing")] = None

    @model_validator(mode="after")
    def _missing_says_why(self) -> Energy:
        if (self.gross_j is None or self.net_j is None) and not self.reason:
            raise ValueError("a missing energy needs a reason")
        return self


class ChannelInfo(Record):
    """One thing that is metered."""

    name: Annotated[str, Field(description="gpu:<uuid>, cpu:<package>, dram:<package>, soc, ...")]
    provenance: Provenance
    source: Annotated[str, Field(description="where readings come from, in words")]
    quantity: Annotated[
        Literal["energy_j", "power_w", "power_1s_w"],
        Field(description="a cumulative counter, instantaneous power, or power averaged over the last second"),
    ]
    counted: Annotated[
        bool,
        Field(
            description="part of the run's total; False for a channel that another one already contains, and for one "
            "that does not see where the model runs"
        ),
    ] = True
    scope: Annotated[
        Literal["processes", "machine", "external"],
        Field(description="what it sees: the run's own processes, this machine, or what the user attached it to"),
    ] = "machine"
    note: Annotated[str | None, Field(description="what a reader must know, for example assumed watts per core")] = None


class IdleBaseline(Record):
    """Idle power of one channel over one idle window, model loaded."""

    channel: str
    mean_w: float | None
    se_w: Annotated[float | None, Field(ge=0, description="standard error of the mean")] = None
    duration_s: float = 0.0
    reason: str | None = None


# ---------------------------------------------------------------- what it ran on


class ModelInfo(Record):
    """The checkpoint that was run and how it was made callable."""

    name: Annotated[str, Field(description="as asked for")]
    adapter: Annotated[str, Field(description="base, instruct, gptq-int8, gptq-int4, awq, openai, openai-chat")]
    engine: Annotated[str, Field(description="name in the registry of engines")]
    chat: Annotated[bool, Field(description="prompts go through the model's chat template")]
    checkpoint: Annotated[str, Field(description="hub id, name of the local folder, or URL#MODEL of an endpoint")]
    revision: Annotated[str, Field(description="hub commit, content hash of a local folder, or unknown (an endpoint)")]
    quant: str = "none"
    quantization: Annotated[
        dict[str, Option], Field(description="bits, group size, method, tool version, kernel; empty when none")
    ] = {}
    early_exit: Annotated[
        dict[str, Option], Field(description="rule, exits, bundle and agent; empty where tokens run through all layers")
    ] = {}
    dtype: str
    device: str
    engine_info: Annotated[
        dict[str, Option],
        Field(description="version, command line and options of a server that the run started; empty without one"),
    ] = {}
    prompting: Annotated[
        dict[str, Option],
        Field(description="how chats are put to it: template date, thinking, the answer's beginning; empty for a base"),
    ] = {}
    parameters: Annotated[
        int | None,
        Field(ge=0, le=2**62, description="number of weights, before quantization packs them; None of an endpoint"),
    ]
    active_parameters: Annotated[
        int | None, Field(ge=0, description="weights that one token goes through, of a mixture of experts")
    ] = None
    context_tokens: Annotated[int | None, Field(ge=1, description="prompt and completion that it was made for")] = None
    end_tokens: Annotated[tuple[int, ...], Field(description="tokens that end a sequence")] = ()
    reasoning: Annotated[
        str | None, Field(description="the template's switch of its thinking phase, or always; None without a phase")
    ] = None
    read: Annotated[
        dict[str, str], Field(description="what says so, in words: of prompt form, quantization, LoRA")
    ] = {}
    overridden: Annotated[dict[str, str], Field(description="what was given instead of what the files say")] = {}
    guesses: Annotated[tuple[str, ...], Field(description="what the files left open")] = ()
    gpus: Annotated[
        tuple[str, ...] | None, Field(description="UUIDs of the GPUs that hold weights; None where that is not known")
    ] = None
    place: Annotated[
        Literal["process", "machine", "elsewhere"],
        Field(
            description="where it computes: in the run's processes, in another program on this machine, or elsewhere"
        ),
    ] = "process"

    @model_validator(mode="before")
    @classmethod
    def _engine_of_the_first_edition(cls, content: Any) -> Any:
        if isinstance(content, dict) and "engine" not in content:
            served = str(content.get("adapter", "")).startswith("openai")
            return {**content, "engine": "endpoint" if served else "transformers"}
        return content


class BenchmarkInfo(Record):
    """Which tasks were run."""

    name: str
    version: str
    options: dict[str, Option] = {}
    source: Annotated[str, Field(description="embedded, hub id and revision, or file name")]
    sha256: Annotated[str, Field(description="hash over the content of the selected tasks")]
    tasks: Annotated[Count, Field(ge=1)]


class GpuInfo(Record):
    """One accelerator."""

    uuid: str
    name: str
    memory_bytes: Annotated[int | None, Field(ge=0, le=2**62)] = None
    power_limit_w: Annotated[float | None, Field(ge=0)] = None
    driver: str | None = None


class HostInfo(Record):
    """The machine."""

    os: str
    kernel: str
    python: str
    cpu: str
    cores: Annotated[Count, Field(ge=1)]
    memory_bytes: Annotated[int, Field(ge=0, le=2**62)]
    gpus: tuple[GpuInfo, ...] = ()


class MeterInfo(Record):
    """What was metered, and how often it was read."""

    name: Annotated[str, Field(description="as asked for")]
    interval_s: Annotated[float, Field(gt=0)]
    channels: tuple[ChannelInfo, ...]

    @model_validator(mode="after")
    def _invented_is_not_measured(self) -> MeterInfo:
        for channel in self.channels:
            if self.name.partition(":")[0] == "simulated" and channel.provenance != "simulated":
                raise ValueError(f"{channel.name} of the simulated meter is said to be {channel.provenance}")
        return self


class Session(Record):
    """One process's share of a run: a run that was killed and resumed has several, each with a clock of its own."""

    index: Count
    started_at: Annotated[str, Field(description="UTC, ISO 8601")]
    windows: Annotated[tuple[Window, ...], Field(description="idle and warm-up; batches stand in the samples")] = ()
    busy: Annotated[float | None, Field(ge=0, description="share of all CPUs in use while idle was measured")] = None
    ended: Annotated[str | None, Field(description="why it ended before the run was complete, where it could say")] = (
        None
    )

    @field_validator("started_at")
    @classmethod
    def _is_a_time(cls, text: str) -> str:
        datetime.fromisoformat(text)
        return text


class Manifest(Document):
    """``manifest.json``: all that is known about a run apart from its samples."""

    run_id: Annotated[str, Field(description="name of the run folder")]
    status: Literal["running", "failed", "complete"]
    failure: Annotated[str | None, WellFormed, Field(description="why status is failed")] = None
    spec: Spec
    model: ModelInfo
    benchmark: BenchmarkInfo
    host: HostInfo
    meter: MeterInfo
    versions: Annotated[dict[str, str], Field(description="packages that shape results, with versions")]
    sessions: tuple[Session, ...] = ()


# ---------------------------------------------------------------- what came out


class Verdict(Record):
    """Outcome of running a completion against its task's tests."""

    status: Literal["pass", "fail", "timeout", "error", "not_evaluated"]
    detail: Annotated[
        str, WellFormed, Field(description="first failing test and its message, or why there is no verdict")
    ] = ""
    suspect: Annotated[
        tuple[str, ...], WellFormed, Field(description="reasons to distrust a pass; empty when none was seen")
    ] = ()


class Reasoning(Record):
    """What a model thought before it answered, up to the end of its last thinking phase: no part of the answer, always
    part of the energy."""

    text: Annotated[str, WellFormed, Field(description="without its markers; empty where a server keeps it to itself")]
    tokens: Annotated[
        Count | None, Field(description="of completion_tokens, markers included; None where a server counts none")
    ]
    end_ns: Annotated[
        Nanoseconds | None,
        Field(description="when it had ended, on the session's clock; None where it did not, or not known"),
    ] = None
    ended_by: Annotated[
        Literal["model", "budget"] | None,
        Field(description="budget: the end marker was inserted; None: it never ended, and finish_reason says why"),
    ]


class Sample(Record):
    """One line of ``samples.jsonl``: one completion of one task.

    Written when generated, written again when scored (the later line of a key holds), and once more, with energies,
    when the run is finished; from then on each key stands exactly once.
    """

    schema_version: SchemaVersion = SCHEMA_VERSION
    key: Annotated[str, Field(description="sample_key(): hash of all that determines the completion")]
    task_id: str
    sample_index: Annotated[Count, Field(description="0 ... n-1 within the task")]
    order: Annotated[Count, Field(description="place in time within the run")]
    batch_id: Count
    batch_size: Annotated[Count, Field(ge=1, description="rows that were generated together with this one, itself too")]
    seed: Annotated[int, Field(ge=0, le=2**32)]
    prompt_tokens: Annotated[Count, Field(description="that the model read: none where the prompt did not fit")]
    cached_tokens: Annotated[
        Count | None, Field(description="prompt tokens that a server had from an earlier request, where known")
    ] = None
    retries: Annotated[
        Count, Field(description="how often a server was asked again; what that drew is in generation_energy")
    ] = 0
    completion_tokens: Annotated[Count, Field(description="generated, those of thinking, too")]
    text: Annotated[str, WellFormed, Field(description="the answer; what was thought before it stands in reasoning")]
    reasoning: Annotated[Reasoning | None, Field(description="the thinking phase; None where there was none")] = None
    finish_reason: FinishReason
    failure: Annotated[str, WellFormed, Field(description="why there is no completion; empty where there is one")] = ""
    latency_s: Annotated[Seconds, Field(description="duration of the batch the sample was generated in")]
    ttft_s: Annotated[Seconds | None, Field(description="time to first token, where known")] = None
    exit_layers: Annotated[
        tuple[int, ...] | None,
        Field(description="layers that each generated token ran through (by hindsight: needed), where known"),
    ] = None
    generation: Window
    generation_energy: Annotated[
        dict[str, Energy], Field(description="this sample's share of its batch, per channel; filled at the end")
    ] = {}
    prefill_energy: Annotated[
        dict[str, Energy], Field(description="the part of generation_energy up to the batch's first token, where known")
    ] = {}
    reasoning_energy: Annotated[
        dict[str, Energy],
        Field(
            description="the part of generation_energy spent on thinking: measured between its marks where the sample "
            "has a window of its own, else its share by tokens"
        ),
    ] = {}
    evaluation: Window | None = None
    evaluation_cpu_s: Annotated[Seconds | None, Field(description="CPU time of scoring this sample")] = None
    evaluation_energy: dict[str, Energy] = {}
    verdict: Verdict | None = None
    scores: Annotated[dict[str, float], Field(description="per-sample metrics of benchmarks without verdicts")] = {}


class ChannelTotal(Record):
    """A channel's share of the run's energy."""

    channel: str
    provenance: Provenance
    counted: bool
    generation: Energy
    prefill: Annotated[Energy | None, Field(description="part of generation up to first tokens, where known")] = None
    reasoning: Annotated[Energy | None, Field(description="part of generation spent on thinking; None: none was")] = (
        None
    )
    evaluation: Energy
    idle_before: IdleBaseline
    idle_after: IdleBaseline


class ChannelCheck(Record):
    """What one channel's trace of one session says of itself."""

    channel: str
    session: int
    total_j: Annotated[float | None, Field(description="energy of the whole session, from first to last reading")]
    unattributed_j: Annotated[float | None, Field(description="the part in no window: loading, between batches")]
    balance_error: Annotated[float | None, Field(description="(windows + unattributed) / total - 1")]
    reason: Annotated[str | None, Field(description="why the books could not be made")] = None
    power_disagreement: Annotated[
        float | None, Field(description="energy by power sensor / by counter - 1; None where there are not both")
    ] = None
    start_c: Annotated[float | None, Field(description="device temperature when measuring began, where known")] = None
    end_c: float | None = None
    throttled: Annotated[dict[str, float], Field(description="share of readings with clocks held back, by reason")] = {}


class Summary(Document):
    """``summary.json``: written last; a run that has one is complete and never changes again."""

    run_id: str
    complete: bool = True
    model: str
    adapter: str
    quant: str
    benchmark: str
    tasks: Annotated[Count, Field(gt=0)]
    samples: Annotated[Count, Field(gt=0)]
    solved: Annotated[float | None, Field(ge=0, description="expected number of tasks solved by one sample")]
    pass_at_k: Annotated[dict[str, Share], Field(description="by k; empty for a benchmark without verdicts")]
    pass_at_k_trusted: Annotated[
        dict[str, Share], Field(description="as pass_at_k, but a pass under suspicion counts as a failure")
    ] = {}
    metrics: Annotated[dict[str, float], Field(description="the benchmark's corpus-level metrics")] = {}
    metrics_per_kwh: Annotated[
        dict[str, float], Field(description="metric / energy_kwh, of those metrics of which more is better")
    ] = {}
    not_evaluated: Annotated[int, Field(ge=0, description="samples without a verdict; not counted as failed")] = 0
    gross_energy_j: Annotated[Joules | None, Field(gt=0, description="generation plus evaluation, counted channels")]
    net_energy_j: Joules | None
    energy_kwh: Annotated[float | None, Field(description="gross_energy_j in kilowatt-hours")]
    generation_energy_j: Joules | None
    evaluation_energy_j: Joules | None
    energy_reason: Annotated[str | None, Field(description="why an energy is missing")] = None
    pass_at_kwh: Annotated[float | None, Field(description="pass@1 / energy_kwh (thesis, eq. 3.37)")]
    solved_per_kwh: Annotated[float | None, Field(description="solved / energy_kwh")]
    generation_s: Annotated[Seconds, Field(description="total length of generation windows")]
    evaluation_s: Annotated[Seconds, Field(description="time during which at least one sample was being scored")]
    prompt_tokens: Annotated[int, Field(ge=0, le=2**53)]
    completion_tokens: Annotated[int, Field(ge=0, le=2**53)]
    reasoning_tokens: Annotated[
        int | None,
        Field(ge=0, le=2**53, description="generated tokens of thinking; None where there was none, or none counted"),
    ] = None
    reasoning_energy_j: Annotated[float | None, Field(description="part of generation_energy_j, thinking")] = None
    reasoning_energy_by: Annotated[
        Literal["marks", "tokens", "both"] | None,
        Field(description="measured between the marks of thinking, shared by tokens, or some samples so and some so"),
    ] = None
    reasoning_share: Annotated[float | None, Field(description="reasoning_energy_j / generation_energy_j")] = None
    reasoning_s: Annotated[
        Seconds | None, Field(description="time spent thinking, where every sample has a window of its own")
    ] = None
    cut_while_thinking: Annotated[
        Count | None, Field(description="samples that ended before their thinking did; None: no sample thought")
    ] = None
    tokens_per_s: Annotated[float | None, Field(description="generated tokens / generation_s")]
    joules_per_token: Annotated[float | None, Field(description="gross generation energy / generated tokens")]
    joules_per_prompt_token: Annotated[
        float | None, Field(description="gross energy up to each batch's first token / prompt tokens, where known")
    ] = None
    joules_per_decoded_token: Annotated[
        float | None, Field(description="gross energy after each batch's first token / generated tokens, where known")
    ] = None
    mean_exit_layer: Annotated[
        float | None, Field(description="layers that a generated token ran through on average, where known")
    ] = None
    layers_skipped: Annotated[
        float | None, Field(ge=0, le=1, description="share of the model's layers that generated tokens did not run")
    ] = None
    provenance: RunProvenance
    channels: tuple[ChannelTotal, ...]
    checks: tuple[ChannelCheck, ...] = ()
    warnings: tuple[str, ...] = ()


# ---------------------------------------------------------------- storing


def storable(record: RecordT) -> RecordT:
    """The record as a file can hold it: half of a surrogate pair, which is no character, is written out as ``\\udXXX``.

    Such halves come from names of files; those in texts of models and their programs are replaced before (WellFormed).
    """
    try:
        record.model_dump_json()
    except ValueError:
        return type(record).model_validate(_escaped(record.model_dump()))
    return record


def _escaped(content: Any) -> Any:
    if isinstance(content, str):
        return content.encode("utf-8", "backslashreplace").decode()
    if isinstance(content, dict):
        return {_escaped(name): _escaped(value) for name, value in content.items()}
    return [_escaped(value) for value in content] if isinstance(content, (list, tuple)) else content


# ---------------------------------------------------------------- identity


def content_hash(*parts: object) -> str:
    """SHA-256 over the canonical JSON of ``parts`` (sorted keys, no spaces): equal content, equal hash."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


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


def sample_key(spec: Spec, model: ModelInfo, task_id: str, prompt: str, sample_index: int) -> str:
    """Key of a sample: hash of the checkpoint, the decoding, the prompt as the model reads it and the index.

    ``batch_size`` is part of it because scores change with padding; the meter and the host are not, because they
    change what a completion costs but not what it is.
    """
    return content_hash(
        [model.checkpoint, model.revision, model.adapter, model.quantization, model.dtype, model.device.split(":")[0]],
        [spec.batch_size, spec.max_new_tokens, spec.temperature, spec.top_p, spec.seed, spec.repeat, spec.exit],
        [spec.benchmark, task_id, prompt, sample_index],
        *([model.early_exit] if model.early_exit else []),
        *([model.engine] if model.engine not in ("transformers", "endpoint") else []),  # keys of the first edition hold
        *([{"engine_options": spec.engine_options}] if spec.engine_options else []),
        *([{"thinking": spec.thinking}] if spec.thinking != "auto" else []),
    )[:32]
