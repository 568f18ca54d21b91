"""Scores pairs in parallel, on every core, each pair with its own window and CPU time.

Plain subprocesses rather than ``multiprocessing``: a child re-imports nothing of the caller's program, inherits neither
its threads nor its model, and starts with ``PYTHONHASHSEED=0``, on which CodeBLEU's data-flow part depends.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from passkwh.benchmarks.base import Score

MESSAGE_PAIRS = 16
"""Most pairs in one message to a process: their answers fit a pipe's buffer, so it never waits while it is asked."""

PROCESS_PAIRS = 250
"""So many pairs are worth another process: starting one costs a second of CPU time, a pair one to two milliseconds."""


@dataclass(frozen=True)
class Pair:
    """A completion and what it is compared with."""

    key: str
    reference: str
    prediction: str


def score_pairs(pairs: Sequence[Pair], language: str, workers: int | None = None) -> Iterator[Score]:
    """Score pairs on ``workers`` processes, by default one a core or fewer for few pairs.

    Yields each score as it is found, in any order.

    Raises:
        RuntimeError: a scoring process ended early, with the pair it had and its last words.
    """
    count = min(workers or min(usable_cores(), 1 + len(pairs) // PROCESS_PAIRS), len(pairs))
    # Several pairs a message, so that no process waits for this one; many messages, so that all end together.
    size = max(1, min(MESSAGE_PAIRS, len(pairs) // (8 * max(1, count))))
    todo: queue.SimpleQueue[Sequence[Pair]] = queue.SimpleQueue()
    for start in range(0, len(pairs), size):
        todo.put(pairs[start : start + size])
    for _ in range(count):
        todo.put(())
    done: queue.Queue[Score | BaseException] = queue.Queue(maxsize=256)
    stop = threading.Event()
    threads = [threading.Thread(target=_serve, args=(language, todo, done, stop), daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        for _ in pairs:
            result = done.get()
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        stop.set()
        while any(thread.is_alive() for thread in threads):
            _drain(done)  # a thread may wait for room
            for thread in threads:
                thread.join(timeout=0.02)


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _drain(done: queue.Queue[Score | BaseException]) -> None:
    while True:
        try:
            done.get_nowait()
        except queue.Empty:
            return


def _serve(
    language: str,
    todo: queue.SimpleQueue[Sequence[Pair]],
    done: queue.Queue[Score | BaseException],
    stop: threading.Event,
) -> None:
    """One worker process and the conversation with it; whatever goes wrong is handed to the caller."""
    try:
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
            # Closing the pipe to a process that has died flushes what it never read.
            with contextlib.suppress(BrokenPipeError), _start(language, errors.fileno()) as process:
                unanswered = _converse(process, todo, done, stop)
            if unanswered is not None:
                errors.seek(0)
                last = errors.read().strip().splitlines()[-1:] or ["nothing on stderr"]
                raise RuntimeError(f"a scoring process ended {unanswered} with code {process.returncode}: {last[0]}")
    except BaseException as error:
        done.put(error)


def _converse(
    process: subprocess.Popen[str],
    todo: queue.SimpleQueue[Sequence[Pair]],
    done: queue.Queue[Score | BaseException],
    stop: threading.Event,
) -> str | None:
    """Ask until there is nothing left; where no answer came, at what point."""
    assert process.stdin is not None
    assert process.stdout is not None
    if not process.stdout.readline():
        return "while starting"
    while not stop.is_set() and (pairs := todo.get()):
        with contextlib.suppress(BrokenPipeError):  # it died before: no answer comes
            process.stdin.write("".join(map(_question, pairs)))
            process.stdin.flush()
        for pair in pairs:
            answer = process.stdout.readline()
            if not answer:
                return f"on {pair.key!r}"
            done.put(Score(key=pair.key, **json.loads(answer)))
    return None


def _start(language: str, stderr: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "passkwh.benchmarks.completion.worker", language],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONHASHSEED": "0", "PYTHONIOENCODING": "utf-8"},
    )


def _question(pair: Pair) -> str:
    texts = {"reference": _printable(pair.reference), "prediction": _printable(pair.prediction)}
    return json.dumps(texts) + "\n"


def _printable(text: str) -> str:
    """Lone surrogates, which no parser takes, become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")
