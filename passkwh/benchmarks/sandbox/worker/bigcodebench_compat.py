"""The surroundings in which the official BigCodeBench evaluator runs a solution, as far as a test can see them.

Tests observe them: a test that patches ``subprocess.run`` or expects ``exit`` to be missing passes or fails by them.
They protect nothing; that is the sandbox's business.
"""

from __future__ import annotations

import builtins
import contextlib
import faulthandler
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

KEPT_OUTPUT_CHARS = 16 << 20


class TimeoutException(Exception):
    """Raised inside the test that runs when the time is up."""


class WriteOnly(io.StringIO):
    """Standard output, error and input of a sample: can be written, fails when read. Keeps a bounded amount."""

    def write(self, text: str) -> int:
        if self.tell() < KEPT_OUTPUT_CHARS:
            return super().write(text[:KEPT_OUTPUT_CHARS])
        return len(text)

    def read(self, *_: Any) -> str:
        raise OSError

    def readline(self, *_: Any) -> str:  # type: ignore[override]
        raise OSError

    def readlines(self, *_: Any) -> list[str]:  # type: ignore[override]
        raise OSError

    def readable(self) -> bool:
        return False


@contextlib.contextmanager
def swallowed_io() -> Iterator[None]:
    """Standard streams go to a :class:`WriteOnly`, output of subprocesses into pipes that nobody reads."""
    stream = WriteOnly()
    stdin = sys.stdin
    sys.stdin = stream
    try:
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream), _piped_subprocesses():
            yield
    finally:
        sys.stdin = stdin


@contextlib.contextmanager
def time_limit(timeout_s: float) -> Iterator[None]:
    """Raise :class:`TimeoutException` in the main thread, once, after ``timeout_s`` seconds."""

    def expired(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutException("Timed out!")

    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    signal.signal(signal.SIGALRM, expired)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextlib.contextmanager
def _piped_subprocesses() -> Iterator[None]:
    popen: Any = subprocess.Popen
    run: Any = subprocess.run

    def with_pipes(function: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if kwargs.get("capture_output"):
                kwargs.pop("stdout", None)
                kwargs.pop("stderr", None)
            else:
                kwargs.setdefault("stdout", subprocess.PIPE)
                kwargs.setdefault("stderr", subprocess.PIPE)
            return function(*args, **kwargs)

        return call

    _set(subprocess, "Popen", with_pipes(popen))
    _set(subprocess, "run", with_pipes(run))
    try:
        yield
    finally:
        _set(subprocess, "Popen", popen)
        _set(subprocess, "run", run)


def install_process_functions() -> None:
    """Replace what starts and kills processes by wrappers that print, shield and answer like the official ones.

    One difference: a program may kill every child of its own. The official wrapper knows only those of ``subprocess``,
    and a ``multiprocessing.Pool`` whose workers cannot be killed hangs now and then, until the official 241 s are up.
    The process ends with the sample, so nothing is restored.
    """
    children: list[int] = []
    own_pid, own_group = os.getpid(), os.getpgrp()
    kill, killpg, system, os_popen = os.kill, os.killpg, os.system, os.popen
    call: Any = subprocess.call
    check_output: Any = subprocess.check_output
    run: Any = subprocess.run

    def safe_kill(pid: int, sig: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.getpgid(pid)
            if pid == own_pid or pid in children or _is_child(pid, own_pid):
                kill(pid, sig)
            else:
                print(f"Prevented attempt to kill PID {pid} with signal {sig}")

    def safe_killpg(group: int, sig: int) -> None:
        if group == own_group or group in {os.getpgid(pid) for pid in children}:
            killpg(group, sig)
        else:
            print(f"Prevented attempt to kill PGID {group} with signal {sig}")

    def safe_system(command: str) -> int:
        print(f"Intercepted system command: {command}")
        return 0 if "kill" in command else system(command)

    def safe_call(command: Any, *args: Any, **kwargs: Any) -> Any:
        print(f"Intercepted subprocess call: {command}")
        return 0 if _names_kill(command) else call(command, *args, **kwargs)

    def safe_check_output(command: Any, *args: Any, **kwargs: Any) -> Any:
        print(f"Intercepted command: {command}")
        return b"" if "ps" in command else check_output(command, *args, **kwargs)

    def safe_run(*args: Any, **kwargs: Any) -> Any:
        print(f"Intercepted subprocess run command: {args}")
        if _names_kill(args[0]):
            return subprocess.CompletedProcess(args, 0, b"", b"")
        return run(*args, **kwargs)

    class SafePopen(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            print(f"Intercepted Popen command: {args}")
            kwargs["preexec_fn"] = os.setsid
            super().__init__(*args, **kwargs)
            children.append(self.pid)

        def communicate(self, *args: Any, **kwargs: Any) -> Any:
            try:
                return super().communicate(*args, **kwargs)
            except subprocess.TimeoutExpired:
                print("Timeout expired, intercepted and returning None")
                return None, None

        def kill(self) -> None:
            print(f"Intercepted kill call for PID {self.pid}")
            safe_kill(self.pid, signal.SIGTERM)

        def terminate(self) -> None:
            print(f"Intercepted terminate call for PID {self.pid}")
            safe_kill(self.pid, signal.SIGTERM)

    def safe_os_popen(command: str) -> Any:
        print(f"Intercepted os.popen command: {command}")
        return os_popen("echo Intercepted") if "kill" in command else os_popen(command)

    def no_exec(*args: Any, **_: Any) -> None:
        print(f"Intercepted exec command: {args}")

    for name, function in (
        ("kill", safe_kill), ("killpg", safe_killpg), ("system", safe_system), ("popen", safe_os_popen),
        ("execv", no_exec), ("execvp", no_exec), ("execvpe", no_exec),
    ):  # fmt: skip
        _set(os, name, function)
    for name, function in (
        ("call", safe_call), ("check_output", safe_check_output), ("run", safe_run), ("Popen", SafePopen),
    ):  # fmt: skip
        _set(subprocess, name, function)


def disable_exits() -> None:
    """Take away what the official evaluator takes away."""
    faulthandler.disable()
    _set(builtins, "exit", None)
    _set(builtins, "quit", None)


def close_figures() -> None:
    """Close matplotlib's figures where it is loaded."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close("all")


def _is_child(pid: int, parent: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return int(stat.read().rpartition(")")[2].split()[1]) == parent
    except (OSError, IndexError, ValueError):
        return False


def _names_kill(command: Any) -> bool:
    return "kill" in command or "killall" in command


def _set(owner: Any, name: str, value: Callable[..., Any] | None) -> None:
    setattr(owner, name, value)
