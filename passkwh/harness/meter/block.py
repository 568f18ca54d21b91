"""The energy of a block of code: of your own (``passkwh.measure``), a command, quantizing, training."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import pyarrow as pa

from passkwh.adapters.quantization.make import SpentEnergy
from passkwh.errors import UsageError
from passkwh.harness.meter.base import Channel, open_meter
from passkwh.harness.meter.energies import combined_provenance, counted_total
from passkwh.harness.meter.files import save_trace
from passkwh.harness.meter.recorder import Recorder
from passkwh.harness.meter.trace import Trace, net_se_j
from passkwh.records import ChannelInfo, Energy, IdleBaseline, RunProvenance, Window
from passkwh.units import ns_to_s

SETTLE_S = 0.3
"""Recorded after a block, so that the last update of every counter is seen: slow ones step every 0.1 s."""


@dataclass(frozen=True)
class ChannelEnergy:
    """What one channel drew in a metered block."""

    info: ChannelInfo
    """Its name, source, provenance, and whether it is counted in the block's total."""
    energy: Energy
    """Gross, net and the standard error of gross, in joules; what is missing is None, with a reason."""
    idle: IdleBaseline
    """Its idle power before the block, in watts."""
    net_se_j: float | None
    """Standard error of net energy."""


class MeteredBlock:
    """The block that :func:`measure` meters; its figures are complete when the block has ended."""

    def __init__(self, meter: str, idle_s: float) -> None:
        self.meter = meter
        self.idle_s = idle_s
        self.windows: tuple[Window, ...] = ()
        """The idle window and the block, on the trace's clock; empty until the block has ended."""
        self._tables: list[pa.Table] = []
        self._open: list[Channel] = []
        self._infos: tuple[ChannelInfo, ...] = ()
        self._recorder: Recorder | None = None
        self._idle_ns = self._start_ns = self._end_ns = 0
        self._before: Mapping[str, tuple[float | None, float | None]] = {}
        self._channels: dict[str, ChannelEnergy] = {}
        self._total = Energy(gross_j=None, net_j=None, reason="the block has not ended")

    def __enter__(self) -> MeteredBlock:
        if self._start_ns:
            raise UsageError("this metered block has been used: call measure() again for another one")
        self._open = open_meter(self.meter)
        self._infos = tuple(channel.info for channel in self._open)
        self._recorder = Recorder(self._open, self._tables.append, session=0)
        try:
            self._recorder.start()
            self._idle_ns = self._recorder.mark()
            time.sleep(self.idle_s)
            self._start_ns = self._recorder.mark()
        except BaseException:
            self._stop(self._recorder)
            raise
        self._before = self._recorder.live()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        recorder, self._end_ns = self._running(), self._running().mark()
        try:
            time.sleep(SETTLE_S)
        finally:
            self._stop(recorder)
        self._integrate()

    @property
    def energy_j(self) -> float | None:
        """Gross energy of all counted channels in joules, idle power included; None where ``reason`` says why.

        Inside the block it is the energy so far, near enough for a progress display.
        """
        return self._total.gross_j if self.windows else self._live_j()

    @property
    def net_energy_j(self) -> float | None:
        """Gross energy less idle power times duration, in joules; None without ``idle_s``. May be slightly negative."""
        return self._ended()._total.net_j

    @property
    def se_j(self) -> float | None:
        """Standard error of ``energy_j``, in joules."""
        return self._ended()._total.se_j

    @property
    def reason(self) -> str | None:
        """Why ``energy_j`` is None, where it is."""
        total = self._ended()._total
        return total.reason if total.gross_j is None else None

    @property
    def duration_s(self) -> float:
        """Length of the block in seconds, so far inside of it."""
        if not self.windows:
            self._running()
        return ns_to_s((self._end_ns or time.monotonic_ns()) - self._start_ns)

    @property
    def provenance(self) -> RunProvenance | None:
        """Where ``energy_j`` comes from: measured, estimated, simulated or mixed; None where no channel is counted."""
        if not self.windows:
            self._running()
        return combined_provenance(info.provenance for info in self._infos if info.counted)

    @property
    def channels(self) -> Mapping[str, ChannelEnergy]:
        """Every channel's energy, by its name; those that are not counted, too."""
        return self._ended()._channels

    def save(self, path: Path) -> None:
        """Keep the trace, with its channels and windows, in a Parquet file (``harness.meter.files.load_trace``)."""
        save_trace(path, pa.concat_tables(self._ended()._tables), self._infos, self.windows)

    def __repr__(self) -> str:
        if not self._start_ns:
            return f"<metered block, meter {self.meter}: not begun>"
        if not self.windows:
            return f"<metered block: {_joules(self._live_j())} so far ({self.provenance}), {self.duration_s:.3g} s>"
        if self.energy_j is None:
            return f"<metered block: no energy ({self.reason}), {self.duration_s:.3g} s>"
        error = "" if self.se_j is None else f" ± {self.se_j:.2g}"
        return f"<metered block: {self.energy_j:.4g}{error} J ({self.provenance}), {self.duration_s:.3g} s>"

    def _repr_html_(self) -> str:
        text = html.escape(repr(self).strip("<>"))
        if not self.windows:
            return f"<p>{text}</p>"
        cells = [
            (
                channel.info.name,
                channel.info.provenance if channel.info.counted else f"{channel.info.provenance}, not counted",
                _joules(channel.energy.gross_j),
                _joules(channel.energy.se_j),
                _joules(channel.energy.net_j),
                channel.energy.reason or "",
            )
            for channel in self.channels.values()
        ]
        names = ("channel", "provenance", "gross", "standard error", "net of idle", "missing because")
        rows = [f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in cells]
        head = "".join(f"<th>{name}</th>" for name in names)
        return f"<table><caption>{text}</caption><tr>{head}</tr>{''.join(rows)}</table>"

    def _running(self) -> Recorder:
        if self._recorder is None or not self._start_ns:
            raise UsageError("nothing is metered yet: use measure() in a with statement, and read its figures after it")
        return self._recorder

    def _ended(self) -> MeteredBlock:
        if not self.windows:
            self._running()
            raise UsageError("this figure is known when the metered block has ended: read it after the with statement")
        return self

    def _stop(self, recorder: Recorder) -> None:
        recorder.stop()
        for channel in self._open:
            channel.close()

    def _integrate(self) -> None:
        trace = Trace.from_table(pa.concat_tables(self._tables), self._infos)
        self.windows = (
            Window(kind="idle_before", session=0, start_ns=self._idle_ns, end_ns=max(self._idle_ns, self._start_ns)),
            Window(kind="generate", session=0, start_ns=self._start_ns, end_ns=max(self._start_ns, self._end_ns)),
        )
        for info in self._infos:
            idle = trace.idle(info.name, self.windows[0])
            energy = trace.energy(info.name, 0, self._start_ns, self._end_ns, idle)
            if (jump := self._running().clock_jump) is not None:
                energy = Energy(gross_j=None, net_j=None, reason=jump)
            self._channels[info.name] = ChannelEnergy(info, energy, idle, net_se_j(energy, idle, self.duration_s))
        energies = {name: channel.energy for name, channel in self._channels.items()}
        self._total = counted_total(self._infos, energies, "the meter has no channel that counts")

    def _live_j(self) -> float | None:
        self._running().mark()
        now = self._running().live()
        counted = [(now[info.name][0], self._before[info.name][0]) for info in self._infos if info.counted]
        drawn_j = [after_j - (before_j or 0.0) for after_j, before_j in counted if after_j is not None]
        return sum(drawn_j) if drawn_j and len(drawn_j) == len(counted) else None


def measure(meter: str = "auto", idle_s: float = 0.0) -> MeteredBlock:
    """The energy of a block of code.

    Joules belong to the whole machine or device that a channel sees, whatever else runs on it (docs/measurement.md). A
    GPU works on after a call has returned: wait for it (``torch.cuda.synchronize()``) before the block ends. The block
    may end with an exception; what it drew until then is still there. Ending takes 0.3 s that are not counted, in which
    slow counters step past the end.

    Args:
        meter: as ``--meter`` of the command line: auto, estimate, nvidia, rapl, http://..., see ``bench list``.
        idle_s: seconds of idle before the block, from which idle power and so net energy are found; 0 for none.

    Returns:
        A context manager with ``energy_j``, ``net_energy_j``, ``se_j``, ``duration_s``, ``provenance``, ``channels``,
        ``reason``. What is missing is None and never 0.

    Raises:
        UsageError: when the block begins, for a meter that does not exist or cannot be read here.

    Example:
        >>> import time
        >>> import passkwh
        >>> with passkwh.measure("simulated:steady") as m:  # a simulated device that always draws 100 W
        ...     time.sleep(0.5)
        >>> m.provenance
        'simulated'
        >>> 80 < m.energy_j / m.duration_s < 120  # watts
        True
    """
    return MeteredBlock(meter, idle_s)


@contextmanager
def metered_span(meter: str) -> Iterator[Callable[[], SpentEnergy]]:
    """:func:`measure` for quantizing and training: what is yielded gives the energy, once the block has ended."""
    with measure(meter) as block:
        yield lambda: SpentEnergy(
            gross_j=block.energy_j,
            provenance=None if block.energy_j is None else block.provenance,
            reason=block.reason,
        )


def _joules(value_j: float | None) -> str:
    return "—" if value_j is None else f"{value_j:.4g} J"
