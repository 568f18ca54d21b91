"""One run in a process of its own, watched until it ends: how it ended is always known, with a reason.

The supervisor sleeps until a message comes or the run has been silent for too long; it does not poll, since it would be
part of what is metered. All its times are of the monotonic clock: a wall clock that jumps changes nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from passkwh.errors import UsageError
from passkwh.harness.sweep.child import RunJob
from passkwh.harness.sweep.folder import FailureKind
from passkwh.harness.sweep.status import complete_run
from passkwh.records import Spec

MEMORY_EVENTS = Path("/sys/fs/cgroup/memory.events")
EXIT_S = 10.0
"""How long a process that has reported its end may take to exit."""

Message = dict[str, Any]


@dataclass(frozen=True)
class AttemptOutcome:
    """How an attempt ended."""

    event: Literal["complete", "failed", "stopped"]
    elapsed_s: float
    kind: FailureKind | None = None
    reason: str | None = None
    result: dict[str, Any] | None = None
    """Of a complete run: what ``status.complete_run`` read."""


class StopRequests:
    """One request: finish the batch; two: stop at once. Wakes whoever selects on ``wake_r``."""

    def __init__(self) -> None:
        self.requests = 0
        self.wake_r, self._wake_w = os.pipe()
        os.set_blocking(self._wake_w, False)

    def request(self) -> None:
        """Request a stop, once more."""
        self.requests += 1
        with contextlib.suppress(OSError):
            os.write(self._wake_w, b"x")

    def sleep(self, seconds: float) -> None:
        """Sleep that a request ends."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.wake_r, selectors.EVENT_READ)
            selector.select(seconds)

    def close(self) -> None:
        """Close the pipe."""
        os.close(self.wake_r)
        os.close(self._wake_w)


class StopSignals(StopRequests):
    """Stops that Ctrl-C, SIGTERM and a closed terminal request, while it is entered. Only for the main thread.

    Where a closed terminal is ignored, it stays so: that is how ``nohup`` keeps a command going.
    """

    NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __enter__(self) -> StopSignals:
        nohup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        handled = [number for number in self.NUMBERS if not (nohup and number == signal.SIGHUP)]
        self._before = {number: signal.signal(number, self._handle) for number in handled}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self.close()

    def _handle(self, _number: int, _frame: object) -> None:
        self.request()


class Attempt:
    """One process carrying out one run."""

    def __init__(self, spec: Spec, run_id: str, out: Path, log: Path, hang_s: float) -> None:
        self._path = out / run_id
        self._hang_s = hang_s
        self._killed_before = _oom_kills()
        self._start_s = time.monotonic()
        self._stops = 0
        job = RunJob(spec=spec, out=str(out), run_id=run_id, parent=os.getpid())
        with contextlib.ExitStack() as stack:
            try:
                log.parent.mkdir(parents=True, exist_ok=True)
                sink: Any = stack.enter_context(log.open("ab"))
            except OSError:  # a full disk: the reason comes as a message
                sink = subprocess.DEVNULL
            self._process = subprocess.Popen(
                [sys.executable, "-m", "passkwh.harness.sweep.child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=sink,
                start_new_session=True,  # a Ctrl-C in the terminal is for the supervisor alone
            )
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(job.model_dump_json().encode())
            self._process.stdin.close()

    @property
    def pid(self) -> int:
        """Of the run's process."""
        return self._process.pid

    def watch(self, report: Callable[[Message], None], signals: StopRequests | None = None) -> AttemptOutcome:
        """Wait for the end; ``report`` gets every message. Leaves no process behind."""
        assert self._process.stdout is not None
        end: Message | None = None
        silent_since_s = time.monotonic()
        hung = False
        rest = b""
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._process.stdout, selectors.EVENT_READ, "messages")
                if signals is not None:
                    selector.register(signals.wake_r, selectors.EVENT_READ, "signal")
                while True:
                    left_s = self._hang_s - (time.monotonic() - silent_since_s)
                    if left_s <= 0:
                        hung = end is None
                        break
                    ready = {key.data for key, _ in selector.select(left_s)}
                    if "signal" in ready and signals is not None:
                        os.read(signals.wake_r, 64)
                    if signals is not None and signals.requests > self._stops:
                        self._stops = signals.requests
                        if self._stops > 1:
                            break
                        self._process.send_signal(signal.SIGINT)
                    if "messages" in ready:
                        chunk = os.read(self._process.stdout.fileno(), 65536)
                        if not chunk:
                            break
                        *lines, rest = (rest + chunk).split(b"\n")
                        for line in lines:
                            message = json.loads(line)
                            if "end" in message:
                                end = message
                                self._hang_s = min(self._hang_s, EXIT_S)
                            else:
                                report(message)
                            silent_since_s = time.monotonic()
        finally:
            code = self._reap(patient=end is not None)
        return self._outcome(end, hung, code)

    def end(self) -> None:
        """End the process at once."""
        self._stops = 2
        self._reap(patient=False)

    def _reap(self, patient: bool) -> int:
        """End what is left of the process and its group; its exit status."""
        if not patient and self._process.stdout is not None and self._stops <= 1:
            with contextlib.suppress(subprocess.TimeoutExpired):  # the pipe's end came just before the process's
                self._process.wait(0.2)
        if patient:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(EXIT_S)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        code = self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        return code

    def _outcome(self, end: Message | None, hung: bool, code: int) -> AttemptOutcome:
        elapsed_s = time.monotonic() - self._start_s
        if (self._path / "summary.json").is_file():
            try:
                return AttemptOutcome("complete", elapsed_s, result=complete_run(self._path))
            except UsageError as error:
                return AttemptOutcome("failed", elapsed_s, "damaged", str(error))
        if self._stops and not (end and end["end"] == "failed"):
            return AttemptOutcome("stopped", elapsed_s)
        if end is not None and end["end"] == "failed":
            return AttemptOutcome("failed", elapsed_s, end["kind"], end["reason"])
        if hung:
            return AttemptOutcome("failed", elapsed_s, "hang", f"no progress for {self._hang_s:g} s (hang_s)")
        if end is not None and end["end"] == "complete":
            return AttemptOutcome(
                "failed", elapsed_s, "damaged", f"{self._path} has no summary.json, and its process ended well"
            )
        if code == -signal.SIGKILL and _oom_kills() > self._killed_before:
            return AttemptOutcome("failed", elapsed_s, "out of memory", "killed by the kernel for want of memory")
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            return AttemptOutcome("failed", elapsed_s, "crash", f"killed by {name}")
        return AttemptOutcome(
            "failed", elapsed_s, "crash", f"ended with status {code} and without a reason: see its log"
        )


def _oom_kills() -> int:
    """How often the kernel has killed a process of this control group for want of memory."""
    try:
        lines = MEMORY_EVENTS.read_text().split("\n")
        return int(dict(line.split() for line in lines if line)["oom_kill"])
    except (OSError, ValueError, KeyError):
        return 0
