"""What a run came to."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from passkwh.records.base import Count, Document, Joules, RunProvenance, Seconds, Share
from passkwh.records.energy import ChannelCheck, ChannelTotal

TimeToFirst = Annotated[
    Seconds | None, Field(description="time to the first token, where known: percentile over samples")
]
TimePerToken = Annotated[
    Seconds | None, Field(description="time per further token, of samples in windows of their own: percentile")
]
Latency = Annotated[Seconds | None, Field(description="from the request, or its batch, to its end: percentile")]


class Summary(Document):
    """``summary.json``: written last; a run that has one is complete and never changes again."""

    run_id: str
    complete: bool = True
    model: str
    adapter: str
    quant: str
    engine: Annotated[str | None, Field(description="program that computed; None: an older program wrote this")] = None
    concurrency: Annotated[Count, Field(ge=1, description="requests in flight, as asked for")] = 1
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
    generation_s: Annotated[
        Seconds | None, Field(description="total length of generation windows; None of an imported run: not timed here")
    ]
    evaluation_s: Annotated[Seconds, Field(description="time during which at least one sample was being scored")]
    prompt_tokens: Annotated[int | None, Field(ge=0, le=2**53, description="None where another tool counted none")]
    completion_tokens: Annotated[int | None, Field(ge=0, le=2**53, description="None where another tool counted none")]
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
    steady_s: Annotated[
        Seconds | None,
        Field(description="time in which all requests asked for were in flight; None: one at a time"),
    ] = None
    steady_tokens_per_s: Annotated[float | None, Field(description="tokens generated in steady_s / steady_s")] = None
    steady_joules_per_token: Annotated[
        float | None, Field(description="gross energy of steady_s / tokens generated in it")
    ] = None
    steady_reason: Annotated[str | None, Field(description="why a figure of the steady state is missing")] = None
    ttft_p50_s: TimeToFirst = None
    ttft_p90_s: TimeToFirst = None
    ttft_p99_s: TimeToFirst = None
    tpot_p50_s: TimePerToken = None
    tpot_p90_s: TimePerToken = None
    tpot_p99_s: TimePerToken = None
    latency_p50_s: Latency = None
    latency_p90_s: Latency = None
    latency_p99_s: Latency = None
    mean_exit_layer: Annotated[
        float | None, Field(description="layers that a generated token ran through on average, where known")
    ] = None
    layers_skipped: Annotated[
        float | None, Field(ge=0, le=1, description="share of the model's layers that generated tokens did not run")
    ] = None
    drafted_per_check: Annotated[
        float | None, Field(ge=0, description="tokens that a pass of the whole model checked on average, of drafts")
    ] = None
    draft_acceptance: Annotated[Share | None, Field(description="share of drafted tokens that were right")] = None
    tokens_per_check: Annotated[
        float | None,
        Field(ge=1, description="tokens that a pass gave on average; its inverse is the ideal share of passes"),
    ] = None
    provenance: RunProvenance
    channels: tuple[ChannelTotal, ...]
    checks: tuple[ChannelCheck, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def metered_s(self) -> float:
        """Time in which energy could be metered: generating, unless another tool did it, and scoring."""
        return (self.generation_s or 0.0) + self.evaluation_s
