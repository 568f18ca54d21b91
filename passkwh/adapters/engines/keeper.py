"""Keeps a server: starts it, and ends it and all that it started as soon as whoever started this program is gone.

``python keeper.py COMMAND...``, with a pipe as stdin: the pipe closes when its other end is closed or its process ends,
however that ends, kill -9 included. Then the server gets SIGTERM, ``GRACE_S`` later SIGKILL, and so does every process
that it started. When the server ends by itself this program does too, with its exit code. Imports nothing of ours, so
that it costs a few milliseconds and no memory.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

GRACE_S = 10.0
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
LOOK_S = 1.0
"""Between two looks at whether the parent is still the same: a fork of it may hold the pipe open after its end."""


def _prctl(option: int, value: int) -> None:
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _descendants(pid: int) -> set[int]:
    """Every live descendant, by the kernel's lists of children; empty where there are none to read."""
    pids: set[int] = set()
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                for child in map(int, file.read().split()):
                    pids |= {child} | _descendants(child)
    return pids


def _reap(server: int) -> int | None:
    """Wait for all children that have ended; the server's exit status where it is among them."""
    ended = None
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == server:
                ended = status
    return ended


def _end(server: int, *, alive: bool) -> None:
    """SIGTERM to the server's group; when it has ended, or ``GRACE_S`` later, SIGKILL to all that is left of it."""
    if alive:
        _signal_group(server, signal.SIGTERM)
        until_s = time.monotonic() + GRACE_S
        while time.monotonic() < until_s and _reap(server) is None:
            time.sleep(0.05)
    _signal_group(server, signal.SIGKILL)
    until_s = time.monotonic() + GRACE_S
    while (left := _descendants(os.getpid())) and time.monotonic() < until_s:
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        _reap(server)
        time.sleep(0.02)


def _signal_group(leader: int, sign: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, sign)


def main(command: list[str]) -> int:
    """Run the command until it ends or nobody is left who wants it; returns its exit code (128 + signal)."""
    parent = os.getppid()
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    for sign in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda *_: None)
    # The server has a group of its own, and dies with this process should that be killed.
    server = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: _prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
    ).pid
    while True:
        readable, _, _ = select.select([0, woken], [], [], LOOK_S)
        signals = os.read(woken, 64) if woken in readable else b""
        status = _reap(server)
        if status is not None:
            _end(server, alive=False)
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        if 0 in readable or os.getppid() != parent or signal.SIGTERM in signals:
            _end(server, alive=True)
            return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
