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
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from passkwh.benchmarks.base import Score
from passkwh.benchmarks.sandbox import default_workers

MESSAGE_PAIRS = 16
"""Most pairs in one message to a process: their scores fit a pipe's buffer, so that it never waits."""

PROCESS_PAIRS = 250
"""So many pairs are worth another process: starting one costs a second of CPU time, a pair one to two milliseconds."""

_Done = queue.SimpleQueue[Score | BaseException]


@dataclass(frozen=True)
class Pair:
    """A completion and what it is compared with."""

    key: str
    reference: str
    prediction: str


def score_pairs(pairs: Sequence[Pair], language: str, workers: int | None = None) -> Iterator[Score]:
    """Score pairs on ``workers`` processes, by default one a core or fewer for few pairs.

    Yields each score as it is known, in any order.

    Raises:
        RuntimeError: a scoring process ended early, with the pair it had and its last words.
    """
    if not pairs:
        return
    count = min(workers or min(default_workers(), 1 + len(pairs) // PROCESS_PAIRS), len(pairs))
    # Several pairs a message, so that no process waits for this one; many messages, so that all end together.
    size = max(1, min(MESSAGE_PAIRS, len(pairs) // (8 * count)))
    messages = deque(pairs[start : start + size] for start in range(0, len(pairs), size))
    done: _Done = queue.SimpleQueue()
    with ThreadPoolExecutor(count) as threads:
        try:
            for _ in range(count):
                threads.submit(_serve, language, messages, done)
            for _ in pairs:
                result = done.get()
                if isinstance(result, BaseException):
                    raise result
                yield result
        finally:
            messages.clear()


def _serve(language: str, messages: deque[Sequence[Pair]], done: _Done) -> None:
    """One scoring process and the conversation with it; whatever goes wrong is handed to the caller."""
    command = [sys.executable, "-m", "passkwh.benchmarks.completion.worker", language]
    environ = os.environ | {"PYTHONHASHSEED": "0", "PYTHONIOENCODING": "utf-8"}
    pipe = subprocess.PIPE
    try:
        with (
            tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors,
            contextlib.suppress(BrokenPipeError),  # closing the pipe to a dead process flushes what it never read
            subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors, encoding="utf-8", env=environ) as process,
        ):
            where = _converse(process, messages, done)
            if where is not None:
                code = process.wait()
                errors.seek(0)
                last = errors.read().strip().splitlines()[-1:] or ["nothing on stderr"]
                done.put(RuntimeError(f"a scoring process ended {where} with code {code}: {last[0]}"))
    except BaseException as error:
        done.put(error)


def _converse(process: subprocess.Popen[str], messages: deque[Sequence[Pair]], done: _Done) -> str | None:
    """Send message after message until there are none; where no score came back, at what point."""
    assert process.stdin is not None
    assert process.stdout is not None
    if not process.stdout.readline():
        return "while starting"
    while messages:
        try:
            pairs = messages.popleft()
        except IndexError:  # another thread has the last one
            break
        with contextlib.suppress(BrokenPipeError):  # it died before: no score comes
            process.stdin.write("".join(map(_line, pairs)))
            process.stdin.flush()
        for pair in pairs:
            answer = process.stdout.readline()
            if not answer:
                return f"on {pair.key!r}"
            done.put(Score(key=pair.key, **json.loads(answer)))
    return None


def _line(pair: Pair) -> str:
    """A pair in JSON; lone surrogates, which no parser takes, become question marks."""
    texts = {"reference": pair.reference, "prediction": pair.prediction}
    return json.dumps({name: text.encode("utf-8", "replace").decode("utf-8") for name, text in texts.items()}) + "\n"
