"""Completions of a run without a barrier: so many requests are kept in flight, and when one ends the next begins.

Each request has a window of its own, and one begins at the very moment at which the one before it in its place ended.
So a session's requests make one stretch of time without a gap, which is what the meter measures; whose joules these are
is a matter of rule (``passkwh.harness.meter.shared_time``).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

from passkwh.adapters.engines.base import Completion, Decoding, TakesRequests
from passkwh.harness.generating import sample_of, warm_up
from passkwh.harness.items import Item
from passkwh.harness.sessions import ClockJumpError, RunSession
from passkwh.records import Sample, Window
from passkwh.units import NS_PER_MS


class _Ended(NamedTuple):
    """A request that has been answered, and the moments at which it began and ended."""

    item: Item
    completion: Completion
    start_ns: int
    end_ns: int


class _Requests:
    """So many threads, each with one request at a time, until nothing is left or one fails."""

    def __init__(self, session: RunSession, model: TakesRequests, items: Sequence[Item], decoding: Decoding) -> None:
        self.ended: queue.SimpleQueue[_Ended | BaseException] = queue.SimpleQueue()
        self._session, self._model, self._decoding = session, model, decoding
        self._waiting = iter(items)
        self._lock = threading.Lock()
        self._stopped = False
        self._start_ns = session.mark()
        # Each has its first request from here: a thread that gets going late would find those of quick ones taken.
        # Nobody waits for them when the run ends early: an endpoint may take minutes to answer.
        self._threads = [
            threading.Thread(target=self._work, args=(item,), name=f"request-{item.order}", daemon=True)
            for item in islice(self._waiting, session.spec.concurrency)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self, *, wait: bool) -> None:
        """Begin no more; ``wait`` until what is in flight has ended."""
        with self._lock:
            self._stopped = True
        for thread in self._threads if wait else ():
            thread.join()

    def _next(self) -> Item | None:
        with self._lock:
            return None if self._stopped else next(self._waiting, None)

    def _work(self, first: Item) -> None:
        item: Item | None = first
        start_ns = self._start_ns
        try:
            while item is not None:
                completion = self._model.complete(item.prompt, self._decoding, item.seed)
                end_ns = self._session.recorder.mark()
                self.ended.put(_Ended(item, completion, start_ns, end_ns))
                item, start_ns = self._next(), end_ns
        except BaseException as error:
            self.ended.put(error)


def generate_in_flight(
    session: RunSession, items: Sequence[Item], done: Collection[str], decoding: Decoding
) -> Iterator[Sample]:
    """Samples of the items that are not in ``done`` (keys), as they are stored, after warming up.

    What is in flight when the run is ended, or a clock jumps, is dropped and made again by the next session.
    """
    model, concurrency = session.model, session.spec.concurrency
    assert isinstance(model, TakesRequests)  # as its engine says, which was asked when the run was planned
    pending = [item for item in items if item.key not in done]
    if not pending:
        return
    warm_up(session, pending[:concurrency], decoding)
    requests = _Requests(session, model, pending, decoding)
    left = len(pending)
    wait = False
    try:
        while left:
            session.report_progress("generating", len(items) - left, len(items))
            answered = _those_of(requests.ended)
            session.mark()  # before and after a jump of the clock nothing can be compared
            samples = [_sample(session, one, min(concurrency, len(pending))) for one in answered]
            session.recorder.flush()  # the trace reaches the disk before the samples whose energy is in it
            yield from session.folder.append(samples)
            left -= len(samples)
    except ClockJumpError:
        wait = True  # the next session finds the model idle
        raise
    finally:
        requests.stop(wait=wait)


def _those_of(ended: queue.SimpleQueue[_Ended | BaseException]) -> list[_Ended]:
    """What has ended since, one at least. Raises what a request has raised, once all before it have been returned."""
    answered: list[_Ended] = []
    one: _Ended | BaseException = ended.get()
    with suppress(queue.Empty):
        while isinstance(one, _Ended):
            answered.append(one)
            one = ended.get_nowait()
        if not answered:
            raise one
        ended.put(one)
    return answered


def _sample(session: RunSession, ended: _Ended, together: int) -> Sample:
    """The sample of a request; its stretch has the number of the session, which has only one."""
    item, completion, start_ns, end_ns = ended
    window = Window(kind="generate", session=session.index, start_ns=start_ns, end_ns=end_ns, batch_id=session.index)
    arrivals_ms = [round((arrival_ns - start_ns) / NS_PER_MS) for arrival_ns in completion.arrivals_ns]
    steps = [after - before for before, after in zip([0, *arrivals_ms], arrivals_ms, strict=False)]
    return sample_of(item, completion, window, together).model_copy(update={"arrivals_ms": tuple(steps)})
