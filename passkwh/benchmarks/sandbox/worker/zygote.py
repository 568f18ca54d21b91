"""A process that has imported its libraries and forks a fresh process for each sample."""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import signal
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from . import report, tree
from .isolate import Isolation
from .kinds import KINDS
from .lines import Lines

WATCH_S = 0.05
_CPU_GRACE_S = 1.0
_ASLEEP_AFTER_S = 2.0
_ASLEEP_BELOW = 0.2
_STANDARD_STREAMS = {"stdout": 1, "stderr": 2}


@dataclass
class _Stream:
    """What a sample's process writes: its report, or a standard stream that its kind of job captures."""

    name: str
    descriptor: int
    """The reading end of a pipe."""
    most_bytes: int
    data: bytearray = field(default_factory=bytearray)


@dataclass
class _Live:
    """A sample that runs."""

    job: dict[str, Any]
    """What has to be known of it: key, timeout_s, network."""
    pid: int
    pidfd: int
    streams: list[_Stream]
    """The report is the first."""
    key: bytes
    start_ns: int
    deadline: float
    peak_bytes: int = 0
    cpu_s: float = 0.0
    """Of the whole tree, as last looked at: the children that nobody waits for are in no other account."""
    waited_s: float = 0.0
    """For which it was ready to run and had no processor."""
    killed: str = ""
    asleep: bool = False


class Zygote:
    """Serves one preload group: jobs come in on ``lines``, outcomes go out on it."""

    def __init__(self, lines: Lines, isolation: Isolation, limits: dict[str, Any]) -> None:
        self._lines = lines
        self._isolation = isolation
        self._limits = limits
        self._live: dict[int, _Live] = {}
        self._received: deque[dict[str, Any]] = deque()
        self._selector = selectors.DefaultSelector()
        self._selector.register(lines, selectors.EVENT_READ)
        self._base_bytes = self._own_bytes = 0

    def serve(self, greeting: dict[str, Any]) -> None:
        """Work until the controller hangs up; then nothing of it is left."""
        gc.collect()
        gc.freeze()
        self._base_bytes, self._own_bytes = tree.address_space(), tree.own_memory()
        self._lines.send({"event": "ready", **greeting})
        try:
            while self._step():
                pass
        finally:
            for live in list(self._live.values()):
                self._finish(live, "the evaluator stopped", answer=False)

    def _step(self) -> bool:
        timeout = None
        if self._live:
            timeout = min(WATCH_S, max(0.0, min(live.deadline for live in self._live.values()) - time.monotonic()))
        ended: list[_Live] = []
        for key, _ in self._selector.select(timeout):
            if key.data is None:
                jobs = self._lines.receive()
                if jobs is None:
                    return False
                self._received.extend(jobs)
                del jobs
                while self._received:
                    self._start(self._received.popleft())
                continue
            live, stream = key.data
            if stream is None:
                ended.append(live)
            else:
                self._read(live, stream)
        for live in ended:
            self._finish(live, live.killed)
        self._watch()
        return True

    def _start(self, job: dict[str, Any]) -> None:
        kind = KINDS[job["kind"]]
        pipes = {name: os.pipe() for name in ("report", *kind.CAPTURED)}
        key = report.new_key()
        start_ns = time.monotonic_ns()
        self._isolation.before_fork(job)
        pid = os.fork()
        if pid == 0:
            self._run(job, {name: write_end for name, (_, write_end) in pipes.items()}, key)
        self._isolation.after_fork()
        streams = []
        for name, (read_end, write_end) in pipes.items():
            os.close(write_end)
            os.set_blocking(read_end, False)
            most_bytes = report.MAX_REPORT_BYTES if name == "report" else self._limits["output_bytes"]
            streams.append(_Stream(name, read_end, most_bytes))
        deadline = time.monotonic() + job["timeout_s"] + kind.GRACE_S
        # Neither its code nor its test: what this process still holds when it forks, the next program can read.
        kept = {name: job[name] for name in ("key", "timeout_s", "network")}
        live = _Live(kept, pid, os.pidfd_open(pid), streams, key, start_ns, deadline)
        self._live[pid] = live
        for stream in streams:
            self._selector.register(stream.descriptor, selectors.EVENT_READ, (live, stream))
        self._selector.register(live.pidfd, selectors.EVENT_READ, (live, None))

    def _run(self, job: dict[str, Any], write_ends: dict[str, int], key: bytes) -> None:
        """The forked process; never returns."""
        code = 1
        try:
            os.setsid()
            self._forget_others()
            self._isolation.join_group(job)
            _keep_only(write_ends)
            send = report.sender(report.DESCRIPTOR, key)
            try:
                reserved_bytes = getattr(KINDS[job["kind"]], "ADDRESS_SPACE_BYTES", 0)
                self._isolation.enter(job, {**self._limits, "base_bytes": self._base_bytes + reserved_bytes})
            except BaseException as error:
                send("error", f"the sandbox could not be entered: {error!r}")
                os._exit(1)
            KINDS[job["kind"]].run(job, send)
            code = 0
        finally:
            os._exit(code)

    def _forget_others(self) -> None:
        """In the forked process: it has no business with other jobs, which may have the same test."""
        self._received.clear()
        self._live.clear()
        self._lines.forget()

    def _read(self, live: _Live, stream: _Stream) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                data = os.read(stream.descriptor, 1 << 16)
                if not data:
                    with contextlib.suppress(KeyError):
                        self._selector.unregister(stream.descriptor)
                    return
                stream.data += data
                if len(stream.data) > stream.most_bytes:
                    self._kill(live, f"it wrote more than {stream.most_bytes >> 20} MiB to its {stream.name}")
                    return

    def _watch(self) -> None:
        now = time.monotonic()
        for live in self._live.values():
            if live.killed:
                continue
            if now > live.deadline:
                self._kill(live, "time")
                continue
            self._look(live)
            elapsed_s = (time.monotonic_ns() - live.start_ns) / 1e9
            if not live.asleep and elapsed_s > _ASLEEP_AFTER_S and live.cpu_s < _ASLEEP_BELOW * elapsed_s:
                live.asleep = True
                self._lines.send({"event": "asleep", "key": live.job["key"]})
            allowed = self._limits["memory_bytes"]
            if live.peak_bytes > allowed:
                self._kill(live, f"it used {live.peak_bytes >> 20} MiB of memory, {allowed >> 20} allowed")
            elif live.cpu_s > live.job["timeout_s"] * self._limits["cpu_factor"] + _CPU_GRACE_S:
                self._kill(live, f"it used {live.cpu_s:.0f} s of CPU time")

    def _look(self, live: _Live) -> None:
        """Take note of what a sample's processes hold and used."""
        own_network = not (live.job["network"] or "network" in self._isolation.missing)
        allowed = self._limits["memory_bytes"]
        used = tree.usage(live.pid, self._own_bytes, self._base_bytes, allowed, own_network)
        live.peak_bytes = max(live.peak_bytes, used.memory_bytes)
        live.cpu_s = max(live.cpu_s, used.cpu_s)

    def _kill(self, live: _Live, why: str) -> None:
        live.killed = why
        self._look(live)
        live.waited_s = max(live.waited_s, tree.waited_s(live.pid))
        for process in tree.descendants(live.pid):  # the first is process 1 of its namespace: the others end with it
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def _finish(self, live: _Live, killed: str, answer: bool = True) -> None:
        if not killed:
            for stream in live.streams:
                self._read(live, stream)
            killed = live.killed
        self._kill(live, killed)
        _, exit_status, used = os.wait4(live.pid, 0)
        self._isolation.clean(live.job)
        end_ns = time.monotonic_ns()
        del self._live[live.pid]
        for stream in live.streams:
            self._read(live, stream)
        for descriptor in (live.pidfd, *(stream.descriptor for stream in live.streams)):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(descriptor)
            os.close(descriptor)
        if not answer:
            return
        lines, whole = report.read(bytes(live.streams[0].data), live.key)
        self._lines.send(
            {
                "event": "done",
                "key": live.job["key"],
                "report": lines,
                "whole": whole,
                "output": {stream.name: stream.data.decode("utf-8", "replace") for stream in live.streams[1:]},
                "killed": live.killed,
                "exit": os.waitstatus_to_exitcode(exit_status),
                "start_ns": live.start_ns,
                "end_ns": end_ns,
                "cpu_s": max(live.cpu_s, used.ru_utime + used.ru_stime),
                "waited_s": live.waited_s,
                "peak_bytes": live.peak_bytes,
            }
        )


def _keep_only(write_ends: dict[str, int]) -> None:
    """Standard streams on /dev/null or captured, the report, and no other descriptor."""
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    for name, descriptor in _STANDARD_STREAMS.items():
        os.dup2(write_ends.get(name, null), descriptor)
    if write_ends["report"] != report.DESCRIPTOR:
        os.dup2(write_ends["report"], report.DESCRIPTOR, inheritable=False)
    os.closerange(report.DESCRIPTOR + 1, max(int(name) for name in os.listdir("/proc/self/fd")) + 1)
