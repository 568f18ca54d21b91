"""What a format of another program is to us: an export writes runs in it, an import reads samples from it.

A format is a member of :data:`passkwh.registry.EXPORTS` or :data:`passkwh.registry.IMPORTS`; other packages add theirs
through the entry-point groups ``passkwh.exports`` and ``passkwh.imports``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from passkwh.records import FinishReason, Manifest, Sample, Summary

if TYPE_CHECKING:
    from passkwh.analysis.frames import Frames
    from passkwh.exchange.foreign_files import ForeignFile


class Export(Protocol):
    """A format that runs are written in."""

    @property
    def summary(self) -> str:
        """What it writes, in one line, for ``bench list``."""

    def write(self, frames: Frames, path: Path) -> list[Path]:
        """Write the runs; returns the files. ``path`` is a folder, made where it is missing.

        Raises:
            UsageError: it cannot be written.
        """


@dataclass(frozen=True)
class ForeignSample:
    """One completion as another tool stored it."""

    task_id: str
    """As the tool writes it."""
    text: str
    continues: bool = False
    """Of a tool that stores programs: the text continues the task's prompt and is no program yet."""
    reported: Mapping[str, str] = field(default_factory=dict)
    """The tool's own verdicts (``pass``, or in its words why not), by its name for them."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    latency_s: float | None = None
    finish_reason: FinishReason = "stop"


@dataclass(frozen=True)
class OwnRun:
    """A run of ours that was exported in another tool's form, with all of its records."""

    manifest: Manifest
    summary: Summary
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class ForeignRun:
    """What a file of another tool holds."""

    tool: str
    version: str | None
    samples: tuple[ForeignSample, ...]
    benchmark: str | None
    """Our name of the benchmark; None where the file names one that we do not have."""
    benchmark_in_file: str
    """As the file names it."""
    model: str | None = None
    programs: bool = False
    """Texts are programs, judged as they are; otherwise answers, out of which a program is taken."""
    started_at: str | None = None
    """UTC, ISO 8601."""
    temperature: float | None = None
    top_p: float | None = None
    max_new_tokens: int | None = None
    notes: tuple[str, ...] = ()
    """What the user should know of the reading."""
    own: OwnRun | None = None


class Import(Protocol):
    """A format that samples are read from."""

    @property
    def summary(self) -> str:
        """What it reads, in one line, for ``bench list``."""

    def recognises(self, file: ForeignFile) -> bool:
        """Whether a file is of this format; looks at its beginning only, and never raises."""

    def read(self, file: ForeignFile) -> ForeignRun:
        """What is in it.

        Raises:
            UsageError: it is damaged, too large, or not of this format.
        """
