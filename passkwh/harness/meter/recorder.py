"""The recorder: one thread that reads every channel at fixed moments for the whole run and hands the rows on.

Nothing is integrated here, and no device is waited for at a window's edge. The thread keeps absolute deadlines (a late
reading does not delay the next ones), survives whatever a channel does, and costs a few tens of microseconds a round.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType

import numpy as np
import pyarrow as pa

from passkwh.harness.meter.base import ESTIMATE_INTERVAL_S, Channel, Reading
from passkwh.harness.meter.trace import TRACE_SCHEMA
from passkwh.units import s_to_ns

BURST_S = 0.25
"""A recording begins with readings as close as ``BURST_INTERVAL_S``: they show how fast each sensor is refreshed."""

BURST_INTERVAL_S = 0.001

DITHER = 0.5
"""Each reading comes up to this share of the interval late, by a sequence that fills it evenly: a sensor that is
refreshed in step with the polling would otherwise always be read at the same age."""

GOLDEN = (5**0.5 - 1) / 2

CHUNK_ROWS = 50_000
"""Rows that are handed to the sink even when nobody flushes."""

CLOCK_JUMP_NS = 100_000_000
"""The monotonic clock and the boot-time clock, which runs on in suspension, part by more only when one jumps."""

LONGEST_SLEEP_S = 1.0
"""A clock that has jumped back would make the thread sleep until it is again where it was."""

LIVE_SPAN_NS = 1_000_000_000
"""Watts of the progress display are the mean over this long."""


class Recorder:
    """Polls ``channels`` every ``interval_s`` and passes tables of ``TRACE_SCHEMA`` to ``write``, in order.

    Estimated channels are polled every ``ESTIMATE_INTERVAL_S`` at most, and at every :meth:`mark`; without others the
    thread sleeps as long.

    ``write`` is called by one thread at a time: by the caller of :meth:`flush` or :meth:`stop`, or by the recorder's
    own thread when many rows have come together. What it raises is raised by the next ``flush`` or ``stop``, and the
    rows that it did not take are offered again.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        write: Callable[[pa.Table], None],
        session: int,
        interval_s: float = 0.02,
    ) -> None:
        self.channels = tuple(channels)
        self.session = session
        self._interval_ns = s_to_ns(interval_s)
        self._write = write
        self._estimates = [i for i, channel in enumerate(self.channels) if channel.info.provenance == "estimated"]
        seldom = max(1, round(s_to_ns(ESTIMATE_INTERVAL_S) / self._interval_ns))
        # Every how many intervals each channel is read.
        self._strides = [seldom if i in self._estimates else 1 for i in range(len(self.channels))]
        self._reading = [threading.Lock() for _ in self.channels]
        self._names = pa.array([channel.info.name for channel in self.channels], pa.string())
        self._live = [_Live(channel.info.quantity == "energy_j") for channel in self.channels]
        self._lock = threading.Lock()
        self._sink_lock = threading.Lock()
        self._rows = _Rows()
        self._pending: list[_Rows] = []
        self._failure: Exception | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._clock = ClockWatch()
        self._latest_ns = [0] * len(self.channels)

    @property
    def clock_jump(self) -> str | None:
        """Why times of this recording cannot be compared, once a clock has jumped: the machine slept, or was moved."""
        return self._clock.check()

    @property
    def interval_s(self) -> float:
        """Time between two rounds of readings."""
        return self._interval_ns / 1e9

    def __enter__(self) -> Recorder:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to record; returns after the burst of close readings."""
        end_ns = time.monotonic_ns() + s_to_ns(BURST_S)
        for _ in range(round(BURST_S / BURST_INTERVAL_S)):  # and no more, should the clock jump back
            if (now_ns := time.monotonic_ns()) >= end_ns:
                break
            self._round(range(len(self.channels)))
            left_ns = now_ns + s_to_ns(BURST_INTERVAL_S) - time.monotonic_ns()
            time.sleep(min(max(left_ns / 1e9, 0.0), BURST_INTERVAL_S))
        self._thread = threading.Thread(target=self._record, name="passkwh-recorder", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the recording with one more round, hand over every row and end the thread; the channels stay open."""
        if self._thread is not None:
            self._stopping.set()
            self._thread.join()
            self._thread = None
            self._round(range(len(self.channels)))
        self.flush()

    def mark(self) -> int:
        """This moment in ns, where a window begins or ends: estimated channels, exact whenever read, are read at it."""
        now_ns = time.monotonic_ns()
        self._round(self._estimates)
        return now_ns

    def flush(self) -> None:
        """Hand everything that was read so far to ``write``; returns when it has been taken."""
        with self._sink_lock:
            with self._lock:
                self._pending.append(self._rows)
                self._rows = _Rows()
            while self._pending:
                if len(self._pending[0].time_ns):
                    self._write(self._table(self._pending[0]))
                del self._pending[0]
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def live(self) -> dict[str, tuple[float | None, float | None]]:
        """For a progress display, by channel: joules since the start and watts over the last second, or None."""
        return {channel.info.name: live.state() for channel, live in zip(self.channels, self._live, strict=True)}

    def _record(self) -> None:
        start_ns, due = time.monotonic_ns(), list(self._strides)
        while not self._stopping.is_set():
            turn = min(due)
            late = turn * GOLDEN % 1.0 * DITHER
            wait_ns = start_ns + int((turn + late) * self._interval_ns) - time.monotonic_ns()
            if wait_ns > 0:
                time.sleep(min(wait_ns / 1e9, LONGEST_SLEEP_S))
            if time.monotonic_ns() < start_ns:  # jumped back
                start_ns, due = time.monotonic_ns(), list(self._strides)
            self._round([index for index, next_turn in enumerate(due) if next_turn <= turn])
            # The grid stays where it is: what is already over is left out.
            over = (time.monotonic_ns() - start_ns) // self._interval_ns
            due = [
                max(next_turn + stride, over) if next_turn <= turn else next_turn
                for next_turn, stride in zip(due, self._strides, strict=True)
            ]
            if len(self._rows.time_ns) >= CHUNK_ROWS:
                try:
                    self.flush()
                except Exception as error:  # the sink's trouble must not end the recording
                    self._failure = error

    def _round(self, which: Iterable[int]) -> None:
        for index in which:
            with self._reading[index]:
                self._read(index, self.channels[index])

    def _read(self, index: int, channel: Channel) -> None:
        before_ns = time.monotonic_ns()
        try:
            readings = channel.read()
        except Exception as error:  # a channel must never end the recording
            readings = [Reading(channel.info.quantity, None, f"{type(error).__name__}: {error}")]
        # The device answered somewhere between the two moments.
        time_ns = (before_ns + time.monotonic_ns()) // 2
        with self._lock:
            if time_ns < self._latest_ns[index]:  # the clock has jumped back: what was read before stays in order
                return
            self._latest_ns[index] = time_ns
            self._rows.add(index, time_ns, readings)
        for reading in readings:
            if reading.quantity == channel.info.quantity and reading.value is not None:
                self._live[index].add(time_ns, reading.value)

    def _table(self, rows: _Rows) -> pa.Table:
        count = len(rows.time_ns)
        return pa.Table.from_arrays(
            [
                pa.array(np.full(count, self.session, np.int16)),
                pa.array(np.frombuffer(rows.time_ns, np.int64)),
                pa.DictionaryArray.from_arrays(pa.array(np.frombuffer(rows.channel, np.int16)), self._names),
                pa.DictionaryArray.from_arrays(
                    pa.array(np.frombuffer(rows.quantity, np.int16)), pa.array(list(rows.quantities), pa.string())
                ),
                pa.array(rows.value, pa.float64()),
                pa.array(rows.reason, pa.string()),
            ],
            schema=TRACE_SCHEMA,
        )


class ClockWatch:
    """Compares the monotonic clock, which all marks are of, with the boot-time clock, which also runs in suspension.

    A machine that slept, or was moved while it ran, sets them apart; both are slewed alike.
    """

    def __init__(self) -> None:
        self._least_ns, self._most_ns = _clock_difference_ns()
        self._jump: str | None = None

    def check(self) -> str | None:
        """What happened since it was made, in words; None where the clocks agree, or there is only one."""
        if self._jump is None:
            least_ns, most_ns = _clock_difference_ns()
            if least_ns - self._most_ns > CLOCK_JUMP_NS or self._least_ns - most_ns > CLOCK_JUMP_NS:
                self._jump = (
                    f"the monotonic and the boot-time clock moved {abs(least_ns - self._least_ns) / 1e9:.1f} s apart: "
                    "the machine was suspended or moved, or a clock jumped"
                )
        return self._jump


def _clock_difference_ns() -> tuple[int, int]:
    """Boot-time less monotonic clock, at least and at most: this thread may wait between two readings."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return 0, 0
    before_ns, boot_ns, after_ns = time.monotonic_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.monotonic_ns()
    return boot_ns - after_ns, boot_ns - before_ns


class _Rows:
    """Readings that wait to be handed over, column by column."""

    def __init__(self) -> None:
        self.time_ns = array("q")
        self.channel = array("h")
        self.quantity = array("h")
        self.quantities: dict[str, int] = {}
        self.value: list[float | None] = []
        self.reason: list[str | None] = []

    def add(self, channel: int, time_ns: int, readings: Sequence[Reading]) -> None:
        for reading in readings:
            self.time_ns.append(time_ns)
            self.channel.append(channel)
            self.quantity.append(self.quantities.setdefault(reading.quantity, len(self.quantities)))
            self.value.append(reading.value)
            self.reason.append(None if reading.value is not None else reading.reason or "no value")


class _Live:
    """What one channel has drawn since the start and draws now, near enough for a progress display."""

    def __init__(self, counter: bool) -> None:
        self._counter = counter
        self._recent: deque[tuple[int, float]] = deque()
        self._energy_j = 0.0
        self._previous: tuple[int, float] | None = None

    def add(self, time_ns: int, value: float) -> None:
        if self._previous is not None:
            before_ns, before = self._previous
            step_j = value - before if self._counter else (value + before) / 2 * (time_ns - before_ns) / 1e9
            self._energy_j += max(step_j, 0.0)
        self._previous = (time_ns, value)
        self._recent.append((time_ns, self._energy_j))
        while time_ns - self._recent[0][0] > LIVE_SPAN_NS:
            self._recent.popleft()

    def state(self) -> tuple[float | None, float | None]:
        recent = list(self._recent)
        if not recent:
            return None, None
        (start_ns, start_j), (end_ns, end_j) = recent[0], recent[-1]
        return end_j, (end_j - start_j) / (end_ns - start_ns) * 1e9 if end_ns > start_ns else None
