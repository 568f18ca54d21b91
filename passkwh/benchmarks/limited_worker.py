"""A process that works on untrusted text within limits: CPU time of each request, memory of all.

Nothing ends a regular expression, a parser or a metric that has lost itself in a text but the end of its process. So
such work is done in one: requests and answers are JSON lines, the timer of CPU time that each request starts ends the
process wherever it is, and the one who asked learns why, starts another and goes on with the next request. CPU time and
not the clock is limited, so that a busy machine changes nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

CPU_S = 10.0
"""CPU time of one request. What is not degenerate takes milliseconds."""
MEMORY_BYTES = 2 << 30
"""Address space on top of what the libraries take."""


class Failed(Exception):
    """A request without an answer; the message says why."""


class LimitedWorker:
    """A process of ``python -m MODULE ARGUMENTS``, whose main function calls :func:`serve`; not for several threads.

    It starts with the first request.

    Raises RuntimeError where it ends before it takes requests.
    """

    def __init__(self, module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        self._command = [sys.executable, "-m", module, *arguments]
        self._environment = {**os.environ, **(environment or {}), "PYTHONIOENCODING": "utf-8"}
        self._process: subprocess.Popen[bytes] | None = None
        self._cpu_s = 0.0

    def ask(self, requests: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any] | Failed]:
        """The answers to some requests in order, each as it is there.

        All are sent ahead, so answers to as many must fit a pipe's buffer (64 KiB), unless it is a single one.
        """
        left = deque(requests)
        while left:
            process = self._running()
            assert process.stdin is not None
            assert process.stdout is not None
            with contextlib.suppress(BrokenPipeError):  # it died on the way: no answer comes
                process.stdin.write(b"".join(json.dumps(request).encode() + b"\n" for request in left))
                process.stdin.flush()
            while left:
                answer = process.stdout.readline()
                left.popleft()
                if not answer:
                    yield Failed(f"the process ended with {self._ended()}")
                    break
                content = json.loads(answer)
                yield Failed(content["failed"]) if "failed" in content else content["answer"]

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            with process, contextlib.suppress(BrokenPipeError):
                process.kill()
            self._errors.close()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the process
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(
                self._command, stdin=pipe, stdout=pipe, stderr=self._errors, env=self._environment
            )
            assert self._process.stdout is not None
            started = self._process.stdout.readline()
            if not started:
                raise RuntimeError(f"{' '.join(self._command[1:])} ended while starting with {self._ended()}")
            self._cpu_s = json.loads(started)["cpu_s"]
        return self._process

    def _ended(self) -> str:
        """Why the process is gone."""
        assert self._process is not None
        code = self._process.wait()
        self._errors.seek(0)
        last = self._errors.read().decode("utf-8", "replace").strip().splitlines()[-1:]
        self.close()
        if code == -signal.SIGPROF:
            return f"more than {self._cpu_s:g} s of CPU time"
        how = f"signal {-code}" if code < 0 else f"code {code}"
        return f"{how}{f': {last[0]}' if last else ''}"


def serve(answer: Callable[[dict[str, Any]], dict[str, Any]], cpu_s: float = CPU_S) -> None:
    """The process's side: answer requests until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asks
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    wanted = _address_space() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most))
    print(json.dumps({"cpu_s": cpu_s}), flush=True)
    for line in sys.stdin.buffer:
        signal.setitimer(signal.ITIMER_PROF, cpu_s)  # its signal ends the process, in the midst of C code, too
        result: dict[str, Any]
        try:
            result = {"answer": answer(json.loads(line))}
        except MemoryError:
            result = {"failed": f"it took more than {MEMORY_BYTES >> 20} MiB of memory"}
        except Exception as error:
            result = {"failed": f"{type(error).__name__}: {error}"}
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(result), flush=True)


def _address_space() -> int:
    import psutil

    return int(psutil.Process().memory_info().vms)
