"""One completion of one task, and its key."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from passkwh.records.base import (
    SCHEMA_VERSION,
    Count,
    Nanoseconds,
    Record,
    SchemaVersion,
    Seconds,
    WellFormed,
    content_hash,
)
from passkwh.records.energy import Energy, Window
from passkwh.records.model import ModelInfo
from passkwh.records.spec import Spec

FinishReason = Literal["stop", "length", "context", "content_filter"]
"""Why a completion ended: the model or a stop string ended it, it reached the length limit or the end of the context,
the prompt alone did not fit the context (there is no completion then), or a server withheld the rest."""


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


class Drafts(Record):
    """What became of a completion's drafts: a number for each pass of the whole model after the prompt's.

    A pass gives one token more than it accepts, except where the completion ended before.
    """

    drafted: Annotated[tuple[int, ...], Field(description="tokens that the pass checked")]
    accepted: Annotated[tuple[int, ...], Field(description="of those, the ones that the model would have written")]


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
    batch_id: Annotated[
        Count, Field(description="what was measured at once: a batch; of requests in flight the stretch of time")
    ]
    batch_size: Annotated[
        Count, Field(ge=1, description="rows, or requests, that were generated together with this one, itself too")
    ]
    seed: Annotated[int, Field(ge=0, le=2**32)]
    prompt_tokens: Annotated[
        Count | None,
        Field(
            description="that the model read: none where the prompt did not fit; None where another tool counted none"
        ),
    ]
    cached_tokens: Annotated[
        Count | None, Field(description="prompt tokens that a server had from an earlier request, where known")
    ] = None
    retries: Annotated[
        Count, Field(description="how often a server was asked again; what that drew is in generation_energy")
    ] = 0
    completion_tokens: Annotated[
        Count | None, Field(description="generated, those of thinking, too; None where another tool counted none")
    ]
    text: Annotated[str, WellFormed, Field(description="the answer; what was thought before it stands in reasoning")]
    reasoning: Annotated[Reasoning | None, Field(description="the thinking phase; None where there was none")] = None
    finish_reason: FinishReason
    failure: Annotated[str, WellFormed, Field(description="why there is no completion; empty where there is one")] = ""
    latency_s: Annotated[
        Seconds | None,
        Field(description="length of the window, the batch's or the request's own; None where another tool timed none"),
    ]
    ttft_s: Annotated[Seconds | None, Field(description="time to first token, where known")] = None
    arrivals_ms: Annotated[
        tuple[Count, ...] | None,
        Field(
            description="of a request in flight with others: from the window's start to the first piece of the answer, "
            "and from each piece to the next; they share completion_tokens evenly"
        ),
    ] = None
    exit_layers: Annotated[
        tuple[int, ...] | None,
        Field(description="layers that each generated token ran through (by hindsight: needed), where known"),
    ] = None
    drafts: Annotated[
        Drafts | None, Field(description="of a completion whose tokens were drafted and checked; None without drafts")
    ] = None
    generation: Window
    generation_energy: Annotated[
        dict[str, Energy],
        Field(description="this sample's share of its batch, or of the time in flight, per channel; filled at the end"),
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
    scores: Annotated[
        dict[str, float], Field(description="per-sample metrics, in place of a verdict or beside it")
    ] = {}


def sample_key(spec: Spec, model: ModelInfo, task_id: str, prompt: str, sample_index: int) -> str:
    """Key of a sample: hash of the checkpoint, the decoding, the prompt as the model reads it and the index.

    ``batch_size`` and ``concurrency`` are part of it because what is computed together changes scores; the meter and
    the host are not, because they change what a completion costs but not what it is.
    """
    return content_hash(
        [model.checkpoint, model.revision, model.adapter, model.quantization, model.dtype, model.device.split(":")[0]],
        [spec.batch_size, spec.max_new_tokens, spec.temperature, spec.top_p, spec.seed, spec.repeat, spec.exit],
        [spec.benchmark, task_id, prompt, sample_index],
        *([model.early_exit] if model.early_exit else []),
        *([model.engine] if model.engine not in ("transformers", "endpoint") else []),  # keys of the first edition hold
        *([{"engine_options": spec.engine_options}] if spec.engine_options else []),
        *([{"thinking": spec.thinking}] if spec.thinking != "auto" else []),
        *([{"concurrency": spec.concurrency}] if spec.concurrency != 1 else []),
    )[:32]
