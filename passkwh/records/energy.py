"""Time and energy: windows, what is metered, and what each channel came to."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from passkwh.records.base import ROUNDING_J, Count, Joules, Nanoseconds, Provenance, Record


class Window(Record):
    """Time between two marks on the trace of one session."""

    kind: Literal["idle_before", "warmup", "generate", "score", "idle_after"]
    session: Annotated[Count, Field(description="index into Manifest.sessions; the clock is only valid within it")]
    start_ns: Nanoseconds
    end_ns: Nanoseconds
    batch_id: Annotated[Count | None, Field(description="batch, or stretch of requests, that it belongs to")] = None

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
    steady: Annotated[
        Energy | None, Field(description="part of generation while all requests were in flight; None: there were none")
    ] = None
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
