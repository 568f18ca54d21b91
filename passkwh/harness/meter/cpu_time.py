"""CPU seconds of this process and all it started: monotone, and nothing counted twice.

Linux keeps three sums: a process's own time (all threads, read in nanoseconds through its CPU clock), the time of
children it has waited for (which includes what *they* had waited for), and the same two of every live descendant.
Their total is what the tree has used, except for processes whose parent never waits (reaped by init, or by a parent
that ignores SIGCHLD): what those had used when last seen is kept.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass

FILES_PER_LOOK = 8
"""Looking for new descendants is spread over readings: at most so many small files in one."""

LOOK_EVERY_NS = 100_000_000
"""... and not in every reading. Until a descendant is found, its time is missing; then all of it is there."""

UNREAD_NS = 1_000_000_000
"""After such a time without a reading, as before the first one, all descendants are looked for at once: what a server
of many threads used while it started would otherwise turn up within the first windows."""

PAGE = 1 << 16
"""Room for a process with nine thousand children."""

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass
class _Process:
    """A live descendant as last seen."""

    pid: int
    started: int
    parent: int
    own_s: float
    waited_s: float


class ProcessTreeTime:
    """CPU seconds of the calling process's tree since it began; ``read_s`` costs some tens of microseconds."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._known: dict[int, _Process] = {}
        self._unwaited_s = 0.0
        self._waited_s = 0.0
        self._highest_s = 0.0
        self._next_look_ns = 0
        self._scan = self._scanning()

    def read_s(self) -> float:
        """CPU seconds so far; never less than what an earlier call returned."""
        now_ns = time.monotonic_ns()
        if now_ns >= self._next_look_ns:
            unread = now_ns - self._next_look_ns > UNREAD_NS
            self._next_look_ns = now_ns + LOOK_EVERY_NS
            if self._known or _has_children():
                if unread:
                    self._scan_all()
                for _, _ in zip(range(FILES_PER_LOOK), self._scan, strict=False):
                    pass
        own_s = time.process_time_ns() / 1e9
        live_s = self._refresh()
        self._highest_s = max(self._highest_s, own_s + self._waited_s + live_s + self._unwaited_s)
        return self._highest_s

    def _refresh(self) -> float:
        """Read every known descendant and the waited-for sums again; returns the descendants' sum, and settles those
        that have ended.

        Waited-for sums are read before the processes that may go into them, so what is in one is not counted alive as
        well. Where a process was gone, all is read again: only sums read after its end can be known to hold it.
        """
        before, waited_before_s = dict(self._known), self._waited_s
        ended: list[_Process] = []
        while True:
            children = resource.getrusage(resource.RUSAGE_CHILDREN)
            self._waited_s = children.ru_utime + children.ru_stime
            gone = [process for process in list(self._known.values()) if not self._still(process)]
            if not gone:
                break
            ended += gone
        if ended:
            gains = {pid: now.waited_s - before[pid].waited_s for pid, now in self._known.items()}
            self._settle(ended, gains | {self._pid: self._waited_s - waited_before_s})
        return sum(process.own_s + process.waited_s for process in self._known.values())

    def _still(self, process: _Process) -> bool:
        """Read a known process again; forgets it when it is gone."""
        now = _look(process.pid)
        if now is None or now.started != process.started:
            del self._known[process.pid]
            return False
        self._known[process.pid] = now
        return True

    def _settle(self, ended: list[_Process], gains: dict[int, float]) -> None:
        """Keep the time of ended processes that turned up in no surviving ancestor's waited-for sum."""
        parents = {process.pid: process.parent for process in ended}
        owed: dict[int | None, float] = {}
        for process in ended:
            ancestor: int | None = process.parent
            while ancestor in parents:
                ancestor = parents[ancestor]
            if ancestor not in gains:
                ancestor = None
            owed[ancestor] = owed.get(ancestor, 0.0) + process.own_s + process.waited_s
        for ancestor, owed_s in owed.items():
            shortfall_s = owed_s - (gains[ancestor] if ancestor is not None else 0.0)
            # Waited-for sums of other processes are kept in clock ticks.
            if shortfall_s > TICK_S * (1 + len(ended)):
                self._unwaited_s += shortfall_s

    def _scan_all(self) -> None:
        """Find every descendant now."""
        scanned: set[int] = set()
        while pids := [pid for pid in (self._pid, *self._known) if pid not in scanned]:
            for pid in pids:
                scanned.add(pid)
                for _ in self._scan_children(pid):
                    pass

    def _scanning(self) -> Iterator[None]:
        """Endlessly walk the tree for new descendants, one small file a step."""
        while True:
            yield
            for pid in [self._pid, *list(self._known)]:
                yield from self._scan_children(pid)

    def _scan_children(self, pid: int) -> Iterator[None]:
        try:
            threads = os.listdir(f"/proc/{pid}/task")
        except OSError:
            return
        for thread in threads:
            yield
            try:
                children = _content(f"/proc/{pid}/task/{thread}/children").split()
            except OSError:
                continue
            for child in children:
                if int(child) not in self._known and (process := _look(int(child))):
                    self._known[process.pid] = process


def _has_children() -> bool:
    """One question to the kernel that saves looking through a file for each thread of a process that has none."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _content(path: str) -> bytes:
    """A small file of the kernel's, without the file objects that ``open`` would build fifty times a second."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, PAGE)
    finally:
        os.close(descriptor)


def _look(pid: int) -> _Process | None:
    """One process now, or None when it is gone."""
    try:
        # Fields after the command's closing parenthesis, which itself may hold anything.
        fields = _content(f"/proc/{pid}/stat").rpartition(b")")[2].split()
        # The clock id of another process's CPU clock, as clock_getcpuclockid(3) makes it.
        own_s = time.clock_gettime_ns((~pid << 3) | 2) / 1e9
    except OSError:
        return None
    return _Process(
        pid=pid,
        started=int(fields[19]),
        parent=int(fields[1]),
        own_s=own_s,
        waited_s=(int(fields[13]) + int(fields[14])) * TICK_S,
    )
