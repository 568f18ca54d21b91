"""The process of one run: ``python -m passkwh.harness.sweep.child``, a RunJob as JSON on stdin, messages on stdout.

A message is one JSON object a line: ``{"stage", "done", "total", "energy_j", "power_w"}`` while it goes on, and at the
end ``{"end": "complete" | "stopped" | "failed", "kind", "reason"}``. A process that ends without an ``end`` was killed.
Whatever libraries print goes to stderr.

SIGINT ends the run after the batch it is in. The process dies with the one that started it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated, Any

from pydantic import Field

from passkwh.errors import UsageError
from passkwh.harness.progress import Status, Stop
from passkwh.harness.sweep.folder import FailureKind
from passkwh.harness.sweep.machine_lock import hold_machine
from passkwh.records import Record, Spec

PR_SET_PDEATHSIG = 1
INTERVAL_S = 1.0
"""Between two messages about the same stage."""

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "std::bad_alloc")
_LOST_DEVICE = (
    "gpu is lost", "fallen off the bus", "no longer available", "unspecified launch failure", "uncorrectable ecc",
    "device-side assert", "cuda error", "hip error", "device lost", "unknown error",
)  # fmt: skip


class RunJob(Record):
    """What a child process is to do."""

    spec: Spec
    out: Annotated[str, Field(description="folder in which the run folder is made")]
    run_id: str
    parent: Annotated[int, Field(description="process id of the supervisor")]


class Messages:
    """Reports to the supervisor how the run goes, and stops it between two batches on request."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._stage = ""
        self._last_s = 0.0
        self.stop = False

    def update(self, status: Status) -> None:
        """Pass ``status`` on, not more than once a second; raises Stop when the run is to end here."""
        if self.stop:
            raise Stop
        now_s = time.monotonic()
        if status.stage == self._stage and now_s - self._last_s < INTERVAL_S and status.done < status.total:
            return
        self._stage, self._last_s = status.stage, now_s
        self.send(
            stage=status.stage, done=status.done, total=status.total, energy_j=status.energy_j, power_w=status.power_w
        )

    def waiting(self, holder: str) -> None:
        """Report that another metered run holds the machine."""
        self.update(Status(f"waiting for {holder}", 0, 0))

    def send(self, **message: Any) -> None:
        """One message."""
        self._stream.write(json.dumps(message) + "\n")
        self._stream.flush()


def main() -> None:
    """Carry out one job."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # only messages may come out of stdout
    job = RunJob.model_validate_json(sys.stdin.buffer.read())
    _die_with(job.parent)
    messages = Messages(stream)

    def stop(_signal: int, _frame: object) -> None:
        messages.stop = True

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    try:
        messages.send(stage="starting", done=0, total=0)
        _carry_out(job, messages)
        messages.send(end="complete")
    except Stop:
        messages.send(end="stopped")
    except BaseException as error:
        kind, reason = classify(error)
        messages.send(end="failed", kind=kind, reason=reason)
        if kind != "usage":
            with contextlib.suppress(OSError):  # the log may be on the disk that is full
                traceback.print_exc()
        sys.exit(1)


def _carry_out(job: RunJob, messages: Messages) -> None:
    from dataclasses import replace

    from passkwh.harness.plan import plan
    from passkwh.harness.runner import run

    out = Path(job.out)
    with hold_machine(job.spec.meter, job.run_id, messages.waiting):
        planned = replace(plan(job.spec, out), folder=out / job.run_id)
        run(planned, resume=True, progress=messages)


def _die_with(parent: int) -> None:
    """End when the supervisor does, however it ends: a run that nobody watches would hold the machine."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before this took effect
        os._exit(1)


def classify(error: BaseException) -> tuple[FailureKind, str]:
    """What kind of failure an exception is, by its whole chain of causes, and the reason in one line."""
    chain = list(_chain(error))
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:500]
    for cause in chain:
        text = str(cause).lower()
        if (isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)) or "no space left" in text:
            return "disk full", reason
        if isinstance(cause, MemoryError) or any(words in text for words in _OUT_OF_MEMORY):
            return "out of memory", reason
        if not isinstance(cause, UsageError) and any(words in text for words in _LOST_DEVICE):
            return "lost device", reason
    if isinstance(error, UsageError):
        return "usage", " ".join(str(error).split())
    return "error", reason


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


if __name__ == "__main__":
    main()
