"""Joules of every batch while the service runs: recorded all the time, integrated a moment after a batch has ended.

The recorder polls all channels; a batch only leaves its start and end. Some tenths of a second later, when counters
that step have stepped past the end, one thread integrates the recent trace for all batches that are due, and splits
each over its rows by tokens. Nobody waits for that but those who asked for the energy of their answer.
"""

from __future__ import annotations

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
from passkwh.serve.engine import RowEnergy
from passkwh.units import s_to_ns

INTERVAL_S = 0.02
"""Time between readings of every channel."""
SETTLE_S = 0.3
"""After its end a batch waits so long for its energy: slow counters step every 0.1 s, and two steps are wanted."""
CONTEXT_S = 10.0
"""How much of the trace before a batch is integrated with it: a counter's beat is found from many steps."""
TURN_S = 5.0
"""Without batches, the trace is taken over and pruned so often."""


@dataclass(frozen=True)
class _Entry:
    start_ns: int
    end_ns: int
    tokens: Sequence[tuple[int, int]]
    """(prompt, completion) tokens of each row."""
    answer: Future[list[RowEnergy]]


class Ledger:
    """Meters ``model`` from ``start`` to ``stop``.

    ``keep_s`` is the longest a batch can take; ``tell`` hears of every batch's energy on every channel.
    """

    def __init__(
        self, meter: str, model: ModelInfo, keep_s: float, tell: Callable[[ChannelInfo, Energy], None]
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
        self._tell = tell
        self._tables: deque[pa.Table] = deque()
        self._tables_lock = threading.Lock()
        self._recorder = Recorder(self._channels, self._take, session=0, interval_s=INTERVAL_S)
        self._due: deque[_Entry] = deque()
        self._change = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="passkwh-ledger", daemon=True)

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
        with self._change:
            self._stopping = True
            self._change.notify()
        if self._thread.is_alive():
            self._thread.join()
        self._recorder.stop()
        for channel in self._channels:
            channel.close()

    def mark(self) -> int:
        """This moment in ns, as the beginning or the end of a batch."""
        return self._recorder.mark()

    def book(self, start_ns: int, end_ns: int, tokens: Sequence[tuple[int, int]]) -> Future[list[RowEnergy]]:
        """The energy of a batch that has just ended, one entry a row, when it is known."""
        entry = _Entry(start_ns, end_ns, tokens, Future())
        entry.answer.set_running_or_notify_cancel()  # rows share it: one that goes must not cancel it for the others
        with self._change:
            self._due.append(entry)
            self._change.notify()
        return entry.answer

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

    # ------------------------------------------------------------ the ledger's thread

    def _work(self) -> None:
        while True:
            with self._change:
                if not self._due and not self._stopping:
                    self._change.wait(TURN_S)
                if self._stopping and not self._due:
                    return
                last_ns = self._due[-1].end_ns if self._due else None
            if last_ns is not None:
                time.sleep(max(last_ns + s_to_ns(SETTLE_S) - time.monotonic_ns(), 0) / 1e9)
            self._settle()

    def _settle(self) -> None:
        now_ns = time.monotonic_ns()
        due: list[_Entry] = []
        with self._change:
            while self._due and self._due[0].end_ns + s_to_ns(SETTLE_S) <= now_ns:
                due.append(self._due.popleft())
        try:
            self._recorder.flush()
            trace = self._trace(min(entry.start_ns for entry in due) - s_to_ns(CONTEXT_S)) if due else None
            energies = [self._energies(trace, entry) for entry in due if trace is not None]
        except Exception as error:  # a broken meter must not end the service: then there is no energy, and why
            reason = f"the trace could not be integrated ({type(error).__name__}: {error})"
            missing = {info.name: Energy(gross_j=None, net_j=None, reason=reason) for info in self.channels}
            energies = [missing for _ in due]
        for entry, by_channel in zip(due, energies, strict=True):
            for info in self.channels:
                self._tell(info, by_channel[info.name])
            weights = token_weights(entry.tokens)
            shares = {name: split(energy, weights) for name, energy in by_channel.items()}
            entry.answer.set_result(
                [{name: parts[row] for name, parts in shares.items()} for row in range(len(entry.tokens))]
            )

    def _energies(self, trace: Trace, entry: _Entry) -> dict[str, Energy]:
        return {
            info.name: trace.energy(info.name, 0, entry.start_ns, entry.end_ns, self.idle[info.name])
            for info in self.channels
        }
