"""Work of many packs on all CPUs: processes of our own, started once for a build and only where that pays."""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Self, TypeVar

from passkwh.errors import UsageError

FEW = 4
"""So few jobs are done in this process: starting others takes longer."""
ENVIRONMENT = {
    # A process a CPU: threads of linear algebra in each would only wait for one another.
    **dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    # Every pack takes some megabytes: given back after each, they would come anew from the kernel, page by page.
    "MALLOC_MMAP_THRESHOLD_": str(2**28),
    "MALLOC_TRIM_THRESHOLD_": str(2**29),
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}
"""What libraries in our processes are told; they read it as they start."""

Count = Callable[[str, int, int], None]
"""Is told what is done, how many and of how many."""

T = TypeVar("T")
R = TypeVar("R")


class Workers:
    """A pool of processes; nothing is started before there is enough to do."""

    def __init__(self, count: Count = lambda what, done, of: None) -> None:
        self._count_done = count
        self.count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._pool: ProcessPoolExecutor | None = None
        self._environment = {name: os.environ.get(name) for name in ENVIRONMENT}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            for name, value in self._environment.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value

    def map(self, work: Callable[[T], R], jobs: Sequence[T], what: str = "") -> Iterator[R]:
        """``work`` of every job in order; ``what`` they are is told with how many are done.

        Raises UsageError where a process is killed; what others did by then is done.
        """
        if jobs:
            self._count_done(what, 0, len(jobs))
        return self._counted(self._map(work, jobs), what, len(jobs))

    def _counted(self, results: Iterator[R], what: str, of: int) -> Iterator[R]:
        for done, result in enumerate(results, start=1):
            self._count_done(what, done, of)
            yield result

    def _map(self, work: Callable[[T], R], jobs: Sequence[T]) -> Iterator[R]:
        if self.count == 1 or (len(jobs) <= FEW and self._pool is None):
            return map(work, jobs)
        if self._pool is None:
            os.environ.update(ENVIRONMENT)
            # Spawned and not forked: the libraries here run threads of their own, which a fork would cut in half.
            spawned = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.count, spawned, initializer=_without_collector)
        return _unbroken(self._pool.map(partial(_one, work), jobs))


def _unbroken(results: Iterator[R]) -> Iterator[R]:
    try:
        yield from results
    except BrokenProcessPool as error:
        raise UsageError(
            "a process that was working on packs was killed, perhaps for want of memory: free some and build again, "
            "what was found out by then is kept"
        ) from error


def _without_collector() -> None:
    """Do not look for cycles of objects while a pack is read: records have none, and it took a third of the time."""
    gc.freeze()
    gc.disable()


def _one(work: Callable[[T], R], job: T) -> R:
    result = work(job)
    gc.collect(0)  # what libraries left behind
    return result
