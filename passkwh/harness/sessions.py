"""One process's work on a run: its clock, its marks, its place among the manifest's sessions, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from passkwh.adapters.engines.base import Model
from passkwh.benchmarks.base import Benchmark
from passkwh.errors import UsageError
from passkwh.harness.meter.recorder import Recorder
from passkwh.harness.progress import Progress, Status, Stop
from passkwh.harness.runs.folder import RunFolder
from passkwh.records import Manifest, Session, Spec, Window


class ClockJumpError(Exception):
    """Moments before and after cannot be compared: the session ends, and what was under way is made again."""


@dataclass
class RunSession:
    """One process's work on a run."""

    spec: Spec
    benchmark: Benchmark
    model: Model
    folder: RunFolder
    manifest: Manifest
    recorder: Recorder
    progress: Progress
    windows: list[Window] = field(default_factory=list)
    busy: float = 0.0

    @property
    def index(self) -> int:
        """Place among the manifest's sessions."""
        return len(self.manifest.sessions) - 1

    def mark(self) -> int:
        """This moment in ns. Raises ClockJumpError where it cannot be compared with earlier ones."""
        now_ns = self.recorder.mark()
        if (jump := self.recorder.clock_jump) is not None:
            raise ClockJumpError(jump)
        return now_ns

    def window(self, kind: str, start_ns: int) -> Window:
        """A window of this session from ``start_ns`` to now."""
        return Window.model_validate({"kind": kind, "session": self.index, "start_ns": start_ns, "end_ns": self.mark()})

    def note(self, window: Window) -> None:
        """Keep an idle or warm-up window in the manifest, on disk at once."""
        self.windows.append(window)
        *others, mine = self.manifest.sessions
        mine = mine.model_copy(update={"windows": tuple(self.windows), "busy": self.busy})
        self.manifest = self.manifest.model_copy(update={"sessions": (*others, mine)})
        self.folder.write_manifest(self.manifest)

    def report_progress(self, stage: str, done: int, total: int, passes: int | None = None) -> None:
        """Hand on the progress, with the live figures of the counted channels."""
        counted = {channel.name for channel in self.manifest.meter.channels if channel.counted}
        live = [value for name, value in self.recorder.live().items() if name in counted]
        energies = [energy_j for energy_j, _ in live if energy_j is not None]
        powers = [power_w for _, power_w in live if power_w is not None]
        self.progress.update(
            Status(stage, done, total, passes, sum(energies) if energies else None, sum(powers) if powers else None)
        )


def begin_session(folder: RunFolder, manifest: Manifest) -> Manifest:
    """The manifest with one more session, on disk."""
    session = Session(index=len(manifest.sessions), started_at=datetime.now(UTC).isoformat(timespec="seconds"))
    manifest = manifest.model_copy(
        update={"sessions": (*manifest.sessions, session), "status": "running", "failure": None}
    )
    folder.write_manifest(manifest)
    return manifest


def end_session(folder: RunFolder, why: str) -> Manifest:
    """Note why the session that goes on ended before the run was complete."""
    manifest = folder.manifest()
    *others, mine = manifest.sessions
    sessions = (*others, mine.model_copy(update={"ended": why}))
    manifest = manifest.model_copy(update={"sessions": sessions, "status": "failed", "failure": why})
    folder.write_manifest(manifest)
    return manifest


def why_ended(error: BaseException) -> str:
    """Why a session ended, in a line for the manifest."""
    if isinstance(error, KeyboardInterrupt | Stop):
        return "interrupted"
    text = str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:300]
