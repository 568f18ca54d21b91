"""Scores pairs in parallel, on every core, each pair with its own window and CPU time, and within limits.

Plain subprocesses rather than ``multiprocessing``: a child re-imports nothing of the caller's program, inherits neither
its threads nor its model, and starts with ``PYTHONHASHSEED=0``, on which CodeBLEU's data-flow part depends.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from passkwh.benchmarks.base import Score
from passkwh.benchmarks.limited_worker import Failed, LimitedWorker
from passkwh.benchmarks.sandbox import default_workers
from passkwh.records import Verdict, well_formed

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

    Yields each score as it is known, in any order. A pair that takes too much, or on which its process ends, is
    ``not_evaluated`` with the reason.

    Raises:
        RuntimeError: a scoring process ended while starting, with its last words.
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
    worker = LimitedWorker("passkwh.benchmarks.completion.worker", language, environment={"PYTHONHASHSEED": "0"})
    try:
        while messages:
            try:
                pairs = messages.popleft()
            except IndexError:  # another thread has the last one
                break
            for pair, answer in zip(pairs, worker.ask([_texts(pair) for pair in pairs]), strict=True):
                done.put(_failed(pair.key, answer) if isinstance(answer, Failed) else Score(key=pair.key, **answer))
    except BaseException as error:
        done.put(error)
    finally:
        worker.close()


def _texts(pair: Pair) -> dict[str, str]:
    return {"reference": well_formed(pair.reference), "prediction": well_formed(pair.prediction)}


def _failed(key: str, why: Failed) -> Score:
    now = time.monotonic_ns()
    return Score(key, now, now, verdict=Verdict(status="not_evaluated", detail=f"no metrics could be computed: {why}"))
