"""What a run is of and on: its tasks, machine, meter and sessions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from passkwh.records.base import Count, Document, Option, Record, WellFormed
from passkwh.records.energy import ChannelInfo, Window
from passkwh.records.model import ModelInfo
from passkwh.records.spec import Spec


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


class Imported(Record):
    """Where samples come from that another tool made."""

    tool: Annotated[str, Field(description="that wrote the file, as evalplus")]
    version: Annotated[str | None, Field(description="of the tool; None where the file does not say")] = None
    format: Annotated[str, Field(description="name in the registry of imports")]
    file: Annotated[str, Field(description="name of the file that was read")]
    sha256: Annotated[str, Field(description="of that file's content")]
    programs: Annotated[
        bool, Field(description="texts are whole programs, judged as they are; otherwise completions or answers")
    ] = False
    reported: Annotated[
        dict[str, tuple[Count, Count]],
        Field(description="the tool's own verdicts, by its name for them: how many passed, of how many"),
    ] = {}
    energies: Annotated[
        Literal["missing", "stated"],
        Field(description="missing: none were metered; stated: as the file has them, without the trace behind them"),
    ] = "missing"

    @property
    def origin(self) -> str:
        """In words, as ``evalplus 0.3.1``."""
        return f"{self.tool} {self.version or 'of unknown version'}"

    @property
    def why_no_energy(self) -> str:
        """Why a run that was imported has none."""
        return f"imported from {self.origin}: not metered here"


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
    imported: Annotated[Imported | None, Field(description="where the samples come from; None of a run made here")] = (
        None
    )
