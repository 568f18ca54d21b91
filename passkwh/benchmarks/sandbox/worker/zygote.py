"""A process that has imported its libraries and forks a fresh process for each sample."""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import signal
import time
from dataclasses import dataclass, field
from typing import Any

from . import report, sample, tree
from .isolate import Isolation
from .lines import Lines

GRACE_S = 1.0
"""How long after a sample's own deadline its process is killed."""
WATCH_S = 0.05
_ASLEEP_AFTER_S = 2.0
_ASLEEP_BELOW = 0.2
_REPORT_FD = 3


@dataclass
class _Live:
    """A sample that runs."""

    job: dict[str, Any]
    pid: int
    pidfd: int
    pipe: int
    key: bytes
    start_ns: int
    deadline: float
    report: bytearray = field(default_factory=bytearray)
    peak_bytes: int = 0
    killed: str = ""
    asleep: bool = False


class Zygote:
    """Serves one tier: jobs come in on ``lines``, outcomes go out on it."""

    def __init__(self, lines: Lines, isolation: Isolation, limits: dict[str, Any]) -> None:
        self._lines = lines
        self._isolation = isolation
        self._limits = limits
        self._live: dict[int, _Live] = {}
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
                self._finish(live, "the evaluator stopped", tell=False)

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
                for job in jobs:
                    self._start(job)
                continue
            kind, live = key.data
            if kind == "exit":
                ended.append(live)
            else:
                self._read(live)
        for live in ended:
            self._finish(live, live.killed)
        self._watch()
        return True

    def _start(self, job: dict[str, Any]) -> None:
        read_end, write_end = os.pipe()
        key = report.new_key()
        start_ns = time.monotonic_ns()
        self._isolation.before_fork(job)
        pid = os.fork()
        if pid == 0:
            self._run(job, write_end, key)
        self._isolation.after_fork()
        os.close(write_end)
        os.set_blocking(read_end, False)
        live = _Live(
            job, pid, os.pidfd_open(pid), read_end, key, start_ns, time.monotonic() + job["timeout_s"] + GRACE_S
        )
        self._live[pid] = live
        self._selector.register(live.pipe, selectors.EVENT_READ, ("report", live))
        self._selector.register(live.pidfd, selectors.EVENT_READ, ("exit", live))

    def _run(self, job: dict[str, Any], write_end: int, key: bytes) -> None:
        """The forked process; never returns."""
        code = 1
        try:
            os.setsid()
            self._isolation.join_group(job)
            _keep_only(write_end)
            send = report.sender(_REPORT_FD, key)
            try:
                self._isolation.enter(job, {**self._limits, "base_bytes": self._base_bytes})
            except BaseException as error:
                send("error", f"the sandbox could not be entered: {error!r}")
                os._exit(1)
            sample.judge(job, send)
            code = 0
        finally:
            os._exit(code)

    def _read(self, live: _Live) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                data = os.read(live.pipe, 1 << 16)
                if not data:
                    with contextlib.suppress(KeyError):
                        self._selector.unregister(live.pipe)
                    return
                live.report += data
                if len(live.report) > report.MAX_REPORT_BYTES:
                    self._kill(live, "it flooded the report channel")
                    return

    def _watch(self) -> None:
        now = time.monotonic()
        for live in self._live.values():
            if live.killed:
                continue
            if now > live.deadline:
                self._kill(live, "time")
                continue
            resident, cpu_s = tree.usage(live.pid, self._own_bytes)
            live.peak_bytes = max(live.peak_bytes, resident)
            elapsed_s = (time.monotonic_ns() - live.start_ns) / 1e9
            if not live.asleep and elapsed_s > _ASLEEP_AFTER_S and cpu_s < _ASLEEP_BELOW * elapsed_s:
                live.asleep = True
                self._lines.send({"event": "asleep", "key": live.job["key"]})
            allowed = self._limits["memory_bytes"]
            if resident > allowed:
                self._kill(live, f"it used {resident >> 20} MiB of memory, {allowed >> 20} allowed")
            elif cpu_s > live.job["timeout_s"] * self._limits["cpu_factor"] + GRACE_S:
                self._kill(live, f"it used {cpu_s:.0f} s of CPU time")

    def _kill(self, live: _Live, why: str) -> None:
        live.killed = why
        for process in tree.descendants(live.pid):  # the first is process 1 of its namespace: the others end with it
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def _finish(self, live: _Live, killed: str, tell: bool = True) -> None:
        if not killed:
            self._read(live)
        self._kill(live, killed)
        _, exit_status, used = os.wait4(live.pid, 0)
        self._isolation.clean(live.job)
        end_ns = time.monotonic_ns()
        self._read(live)
        del self._live[live.pid]
        for descriptor in (live.pipe, live.pidfd):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(descriptor)
            os.close(descriptor)
        if not tell:
            return
        lines, whole = report.read(bytes(live.report), live.key)
        self._lines.send(
            {
                "event": "done",
                "key": live.job["key"],
                "report": lines,
                "whole": whole,
                "killed": killed,
                "exit": os.waitstatus_to_exitcode(exit_status),
                "start_ns": live.start_ns,
                "end_ns": end_ns,
                "cpu_s": used.ru_utime + used.ru_stime,
                "peak_bytes": max(live.peak_bytes, 0),
            }
        )


def _keep_only(report_end: int) -> None:
    """Standard streams on /dev/null, the report channel, and no other descriptor."""
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    if report_end != _REPORT_FD:
        os.dup2(report_end, _REPORT_FD)
    os.closerange(_REPORT_FD + 1, max(int(name) for name in os.listdir("/proc/self/fd")) + 1)
