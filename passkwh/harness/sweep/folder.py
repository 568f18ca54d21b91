"""A study on disk: what is to be run, what has happened, and a lock that only one driver can hold.

==================  ==================================================================================
``study.toml``      the study file as it was when the study was begun
``study.json``      its runs in their order, each with the spec that is run; written once
``events.jsonl``    the ledger: one line for each start, end and failure of a run; appended, never changed
``live.json``       what is running now, for ``bench sweep status``; true only while a driver holds the lock
``logs/RUN.log``    everything that the processes of a run wrote to stdout and stderr
``RUN/``            the run folders
==================  ==================================================================================

A run is complete when its folder says so (``summary.json``), whatever the ledger says: the ledger may miss the last
line when a driver was killed. Its reasons for failures are nowhere else.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import platform
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, ValidationError

from passkwh.errors import UsageError
from passkwh.harness.runs.files import write_atomic
from passkwh.harness.sweep.study import Study, StudySettings
from passkwh.records import Document, Record, Spec

STUDY = "study.json"
FILE = "study.toml"
EVENTS = "events.jsonl"
LIVE = "live.json"
LOGS = "logs"
RESERVE = ".reserve"
RESERVE_BYTES = 64 * 1024
"""Kept free for the ledger: given up page by page when the disk is full, so that the reason can still be written."""
PAGE_BYTES = 4096

FailureKind = Literal[
    "usage", "out of memory", "disk full", "lost device", "hang", "crash", "lost node", "damaged", "error"
]


class PlannedRun(Record):
    """One run of a study."""

    run_id: Annotated[str, Field(description="name of its folder")]
    requested: Annotated[
        Spec,
        Field(validation_alias=AliasChoices("requested", "asked"), description="as the study file has it"),
    ]  # the first edition calls it asked
    spec: Annotated[Spec, Field(description="with the benchmark's own completion length filled in")]


class StudyRecord(Document):
    """``study.json``."""

    settings: StudySettings
    runs: Annotated[tuple[PlannedRun, ...], Field(description="in the order they are carried out")]


class Event(Record):
    """One line of ``events.jsonl``."""

    event: Literal["driver", "started", "complete", "failed", "stopped"]
    run: Annotated[str | None, Field(description="run_id; None for what concerns the whole study")] = None
    at: Annotated[str, Field(description="UTC by the wall clock, for people only: nothing is computed from it")]
    host: str
    node: Annotated[str | None, Field(description="Ray's node id, on a cluster")] = None
    pid: Annotated[int | None, Field(description="of the driver, or of the run's process")] = None
    elapsed_s: Annotated[float | None, Field(ge=0, description="by the monotonic clock, since the run's start")] = None
    kind: FailureKind | None = None
    reason: str | None = None
    gross_energy_j: Annotated[float | None, Field(description="of a complete run; None with energy_reason")] = None
    energy_reason: str | None = None
    provenance: str | None = None
    samples: int | None = None
    pass_at_1: float | None = None
    files: Annotated[
        dict[str, int], Field(default_factory=dict, description="bytes of a complete run's files, to notice damage")
    ]
    sha256: Annotated[
        dict[str, str], Field(default_factory=dict, description="of the same files: damage that keeps the length")
    ]


class StudyFolder:
    """A study's folder: the holder of its lock writes, anyone may read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock_fd: int | None = None

    @classmethod
    def open(cls, path: Path) -> StudyFolder:
        """Raises UsageError when there is no study at ``path``."""
        if not is_study(path):
            raise UsageError(
                f"{path} is not a study folder: it has no {STUDY}; give a folder that `bench sweep run` made"
            )
        return cls(path)

    # ------------------------------------------------------------ the plan

    def record(self) -> StudyRecord:
        """``study.json``. Raises UsageError when it is damaged."""
        try:
            return StudyRecord.model_validate_json((self.path / STUDY).read_bytes())
        except (OSError, ValidationError) as error:
            problem = error.strerror if isinstance(error, OSError) else error.errors()[0]["msg"]
            raise UsageError(
                f"{self.path / STUDY} cannot be read: {problem}; begin the study anew in another --out"
            ) from error

    def write(self, study: Study, record: StudyRecord) -> None:
        """Write the plan of a new study; ``study.json`` last, since it makes the folder a study."""
        write_atomic(self.path / FILE, study.text)
        write_atomic(self.path / STUDY, record.model_dump_json(indent=1))

    # ------------------------------------------------------------ the lock

    def lock(self) -> None:
        """Become the only driver. Raises UsageError naming the one that is there.

        The kernel frees the lock when its holder dies, however it dies: it cannot be stale.
        """
        fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(fd, 200).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            raise UsageError(f"{self.path} is being carried out by another `bench sweep run` ({holder})") from error
        self._lock_fd = fd
        (self.path / LIVE).unlink(missing_ok=True)  # what the driver before had running
        os.ftruncate(fd, 0)
        with contextlib.suppress(OSError):  # on a full disk the lock holds all the same, only nameless
            os.write(fd, f"process {os.getpid()} on {platform.node()}".encode())

    def unlock(self) -> None:
        """Release the lock."""
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def driven(self) -> bool:
        """Whether a driver is at work now."""
        try:
            fd = os.open(self.path / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(fd)
        return False

    # ------------------------------------------------------------ the ledger

    def append(self, event: str, run: str | None = None, **values: Any) -> Event:
        """Write a line to the ledger and see it on disk; on a full disk by giving up the reserve.

        Raises:
            UsageError: if it cannot be written, or there is no room even so.
        """
        moment = datetime.now(UTC).isoformat(timespec="seconds")
        values = {"event": event, "run": run, "at": moment, "host": platform.node(), **values}
        written = Event.model_validate(values)
        line = written.model_dump_json(exclude_defaults=True).encode() + b"\n"
        try:
            self._append(line)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                why = f"{self.path / EVENTS} cannot be written ({error.strerror})"
                raise UsageError(f"{why}: make it writable, or choose another --out") from error
            self._append_from_reserve(line, error)
        return written

    def _append_from_reserve(self, line: bytes, error: OSError) -> None:
        reserve = self.path / RESERVE
        while reserve.exists() and (size := reserve.stat().st_size) > 0:
            os.truncate(reserve, max(0, size - PAGE_BYTES))
            with contextlib.suppress(OSError):
                self._append(line)
                return
        raise UsageError(f"{self.path / EVENTS} cannot be written ({error.strerror}): free some space") from error

    def _append(self, line: bytes) -> None:
        fd = os.open(self.path / EVENTS, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            size = os.fstat(fd).st_size
            if size and os.pread(fd, 1, size - 1) != b"\n":
                line = b"\n" + line  # a kill or a full disk left half a line: it stays alone
            while line:
                line = line[os.write(fd, line) :]
            os.fsync(fd)
        finally:
            os.close(fd)

    def reserve(self) -> None:
        """Keep some space for the ledger's last words."""
        with contextlib.suppress(OSError):  # none to keep
            (self.path / RESERVE).write_bytes(bytes(RESERVE_BYTES))

    def close(self) -> None:
        """Give the reserve back and release the lock."""
        (self.path / RESERVE).unlink(missing_ok=True)
        self.unlock()

    def events(self) -> Iterator[Event]:
        """The ledger's lines; halves that a kill or a full disk left are passed over."""
        try:
            content = (self.path / EVENTS).read_bytes()
        except OSError:
            return
        for line in content.splitlines():
            try:
                yield Event.model_validate_json(line)
            except ValidationError:
                continue

    # ------------------------------------------------------------ what is running

    def show_live(self, running: Sequence[dict[str, Any]]) -> None:
        """Replace what ``bench sweep status`` shows as running. Nothing depends on it."""
        partial = self.path / f".{LIVE}.partial"
        with contextlib.suppress(OSError):
            partial.write_text(json.dumps(list(running)), "utf-8")
            partial.replace(self.path / LIVE)

    def live(self) -> list[dict[str, Any]]:
        """What is running now; nothing when no driver is at work."""
        if not self.driven():
            return []
        try:
            running: list[dict[str, Any]] = json.loads((self.path / LIVE).read_bytes())
        except (OSError, ValueError):
            return []
        return running


def is_study(path: Path) -> bool:
    """Whether ``path`` is a folder that ``bench sweep run`` made."""
    return (path / STUDY).is_file()
