"""Joules of every batch while the service runs: recorded all the time, integrated a moment after a batch has ended.

The recorder polls all channels; a batch only leaves its start and end. Some tenths of a second later, when counters
that step have stepped past the end, one thread integrates the recent trace for all batches that are due, and splits
each over its rows by tokens. Only answers that carry their energy wait for that.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from passkwh.harness.meter.attribution import split, token_weights
from passkwh.harness.meter.base import open_meter
from passkwh.harness.meter.recorder import Recorder
from passkwh.harness.meter.trace import Trace
from passkwh.harness.meter.visibility import visible_channels, why_no_energy
from passkwh.records import ChannelInfo, Energy, IdleBaseline, MeterInfo, ModelInfo, Window
from passkwh.serve.batcher import RowEnergy
from passkwh.units import s_to_ns

INTERVAL_S = 0.02
"""Time between readings of every channel."""
SETTLE_S = 0.3
"""After its end a batch waits so long for its energy: slow counters step every 0.1 s, and two steps are wanted."""
CONTEXT_S = 10.0
"""How much of the trace before a batch is integrated with it: a counter's beat is found from many steps."""
PRUNE_S = 5.0
"""Without batches, the trace is taken over and pruned so often."""


@dataclass(frozen=True)
class _Batch:
    start_ns: int
    end_ns: int
    tokens: Sequence[tuple[int, int]]
    """(prompt, completion) tokens of each row."""
    energies: Future[list[RowEnergy]]


class EnergyAttribution:
    """Meters ``model`` from ``start`` to ``stop``.

    ``keep_s`` is the longest a batch can take; ``report`` is called with every batch's energy on every channel.
    """

    def __init__(
        self, meter: str, model: ModelInfo, keep_s: float, report: Callable[[ChannelInfo, Energy], None]
    ) -> None:
        self._channels = open_meter(meter)
        self.channels = visible_channels([channel.info for channel in self._channels], model)
        self.no_energy = why_no_energy(MeterInfo(name=meter, interval_s=INTERVAL_S, channels=self.channels), model)
        """Why there is none, where no channel counts."""
        self.idle: dict[str, IdleBaseline] = {
            info.name: IdleBaseline(channel=info.name, mean_w=None, reason="no idle baseline (--idle-s 0)")
            for info in self.channels
        }
        self._keep_ns = s_to_ns(keep_s + CONTEXT_S)
        self._report = report
        self._tables: deque[pa.Table] = deque()
        self._tables_lock = threading.Lock()
        self._recorder = Recorder(self._channels, self._take, session=0, interval_s=INTERVAL_S)
        self._ended: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        """Batches whose energy is due; None ends the thread."""
        self._thread = threading.Thread(target=self._work, name="passkwh-attribution", daemon=True)

    def start(self, idle_s: float) -> None:
        """Begin to record, and take the idle baseline: returns a moment after ``idle_s``."""
        self._recorder.start()
        if idle_s > 0:
            start_ns = self.mark()
            time.sleep(idle_s)
            window = Window(kind="idle_before", session=0, start_ns=start_ns, end_ns=self.mark())
            time.sleep(SETTLE_S)  # as for a batch: without readings past its end, its last part would be a guess
            self._recorder.flush()
            trace = self._trace(start_ns)
            self.idle = {info.name: trace.idle(info.name, window) for info in self.channels}
        self._thread.start()

    def stop(self) -> None:
        """Settle what is due, end the recording and release the devices."""
        self._ended.put(None)
        if self._thread.is_alive():
            self._thread.join()
        self._recorder.stop()
        for channel in self._channels:
            channel.close()

    def mark(self) -> int:
        """This moment in ns, as the beginning or the end of a batch."""
        return self._recorder.mark()

    def attribute(self, start_ns: int, end_ns: int, tokens: Sequence[tuple[int, int]]) -> Future[list[RowEnergy]]:
        """The energy of a batch that has just ended, one batch a row, when it is known."""
        batch = _Batch(start_ns, end_ns, tokens, Future())
        batch.energies.set_running_or_notify_cancel()  # rows share it: one that goes must not cancel it for the others
        self._ended.put(batch)
        return batch.energies

    # ------------------------------------------------------------ the trace

    def _take(self, table: pa.Table) -> None:
        oldest_ns = time.monotonic_ns() - self._keep_ns
        with self._tables_lock:
            self._tables.append(table)
            while len(self._tables) > 1 and self._tables[0]["time_ns"][-1].as_py() < oldest_ns:
                self._tables.popleft()

    def _trace(self, from_ns: int) -> Trace:
        with self._tables_lock:
            table = pa.concat_tables(list(self._tables))
        return Trace.from_table(table.filter(pc.greater_equal(table["time_ns"], from_ns)), self.channels)

    # ------------------------------------------------------------ the thread that attributes

    def _work(self) -> None:
        stopping = False
        while not stopping:
            ended: list[_Batch | None] = []
            with contextlib.suppress(queue.Empty):
                ended.append(self._ended.get(timeout=PRUNE_S))
                while True:
                    ended.append(self._ended.get_nowait())
            stopping = None in ended
            batches = [batch for batch in ended if batch is not None]
            if batches:
                time.sleep(max(batches[-1].end_ns + s_to_ns(SETTLE_S) - time.monotonic_ns(), 0) / 1e9)
            self._settle(batches)

    def _settle(self, batches: Sequence[_Batch]) -> None:
        try:
            self._recorder.flush()
            trace = self._trace(min(batch.start_ns for batch in batches) - s_to_ns(CONTEXT_S)) if batches else None
            energies = [self._energies(trace, batch) for batch in batches if trace is not None]
        except Exception as error:  # a broken meter must not end the service: then there is no energy, and why
            reason = f"the trace could not be integrated ({type(error).__name__}: {error})"
            missing = {info.name: Energy(gross_j=None, net_j=None, reason=reason) for info in self.channels}
            energies = [missing for _ in batches]
        for batch, by_channel in zip(batches, energies, strict=True):
            for info in self.channels:
                self._report(info, by_channel[info.name])
            weights = token_weights(batch.tokens)
            shares = {name: split(energy, weights) for name, energy in by_channel.items()}
            batch.energies.set_result(
                [{name: parts[row] for name, parts in shares.items()} for row in range(len(batch.tokens))]
            )

    def _energies(self, trace: Trace, batch: _Batch) -> dict[str, Energy]:
        return {
            info.name: trace.energy(info.name, 0, batch.start_ns, batch.end_ns, self.idle[info.name])
            for info in self.channels
        }
