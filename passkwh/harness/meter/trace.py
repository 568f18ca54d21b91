"""The trace of a run, and the energy of any window of it.

The recorder writes what every channel said and when; nothing is integrated while the run is on. Here the rows become
energy: counters through :mod:`~passkwh.harness.meter.counter`, power readings through
:mod:`~passkwh.harness.meter.power`. Times are ``time.monotonic_ns()`` of one session; a run that was resumed has
several sessions, whose clocks have nothing to do with each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from passkwh.harness.meter.counter import CounterCurve
from passkwh.harness.meter.energies import Energies, Spans
from passkwh.harness.meter.power import PowerCurve
from passkwh.harness.meter.series import Series, seconds
from passkwh.records import MOST_J, ROUNDING_J, ChannelInfo, Energy, IdleBaseline, Window
from passkwh.units import ns_to_s

TRACE_SCHEMA = pa.schema(
    [
        pa.field("session", pa.int16(), nullable=False),
        pa.field("time_ns", pa.int64(), nullable=False),
        pa.field("channel", pa.dictionary(pa.int16(), pa.string()), nullable=False),
        pa.field("quantity", pa.dictionary(pa.int16(), pa.string()), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("reason", pa.string()),
    ]
)
"""``trace.parquet``: one row a reading; ``value`` is null, with a ``reason``, where reading failed."""

IDLE_BLOCKS = 10
"""An idle window is cut into so many blocks: their scatter is the standard error of the mean power."""


class Trace:
    """Readings of all channels of a run, and what they come to in joules."""

    def __init__(self, channels: Sequence[ChannelInfo], series: dict[tuple[int, str, str], Series]) -> None:
        self.channels = {info.name: info for info in channels}
        self._series = series
        self._curves: dict[tuple[int, str, str], CounterCurve | PowerCurve] = {}

    @classmethod
    def from_table(cls, table: pa.Table, channels: Sequence[ChannelInfo]) -> Trace:
        """A trace from rows of ``TRACE_SCHEMA`` (dictionary or plain strings), in any order."""
        return cls(channels, _series_of(table))

    def series(self, channel: str, quantity: str, session: int) -> Series | None:
        """Readings of one quantity of one channel in time order, or None where there are none."""
        return self._series.get((session, channel, quantity))

    def sessions(self) -> list[int]:
        """Sessions that have readings."""
        return sorted({session for session, _, _ in self._series})

    def span(self, channel: str, session: int) -> tuple[int, int] | None:
        """First and last moment the channel was read in a session, in ns, or None where it never was."""
        series = self.series(channel, self.channels[channel].quantity, session)
        return None if series is None or not len(series.time_ns) else (int(series.time_ns[0]), int(series.time_ns[-1]))

    def curve(self, channel: str, session: int, quantity: str | None = None) -> CounterCurve | PowerCurve | None:
        """Energy over time as reconstructed from one channel's readings in one session; None without readings.

        ``quantity`` is the one the channel's energy is defined by unless another is asked for (for cross-checks).
        """
        quantity = quantity or self.channels[channel].quantity
        key = (session, channel, quantity)
        if key not in self._curves:
            series = self.series(channel, quantity, session)
            if series is None:
                return None
            self._curves[key] = (
                CounterCurve(series) if quantity == "energy_j" else PowerCurve(series, quantity == "power_1s_w")
            )
        return self._curves[key]

    def energy(
        self, channel: str, session: int, start_ns: int, end_ns: int, idle: IdleBaseline | None = None
    ) -> Energy:
        """Gross energy, net of ``idle``, and the standard error of gross, of one window.

        The standard error of net is that of gross and ``idle.se_w`` times the duration, in quadrature
        (:func:`net_se_j`). A value that cannot be known is None with a reason; net is missing, too, without an idle.
        """
        span = Spans(*(np.array([value], dtype=np.int64) for value in (session, start_ns, end_ns)))
        return self.energies(channel, span, None if idle is None else {session: idle}).records()[0]

    def energies(self, channel: str, spans: Spans, idle: Mapping[int, IdleBaseline] | None = None) -> Energies:
        """``energy`` of many windows, which may be of several sessions; ``idle`` is by session."""
        count = len(spans.session)
        gross_j, net_j, se_j = (np.full(count, np.nan) for _ in range(3))
        reasons: dict[int, str] = {}
        for session in np.unique(spans.session).tolist():
            places = np.flatnonzero(spans.session == session)
            curve = self.curve(channel, session)
            if curve is None:
                reasons |= dict.fromkeys(places.tolist(), f"no readings of {channel} in session {session}")
                continue
            start_ns, end_ns = spans.start_ns[places], spans.end_ns[places]
            energies = curve.over(start_ns, end_ns)
            impossible = (energies.energy_j < -ROUNDING_J) | (energies.energy_j > MOST_J)
            for i in np.flatnonzero(impossible).tolist():
                energies.reasons[i] = f"its readings come to {energies.energy_j[i]:.4g} J, which cannot be"
            energies.energy_j[impossible] = energies.se_j[impossible] = np.nan
            gross_j[places], se_j[places] = energies.energy_j, energies.se_j
            baseline = None if idle is None else idle[session]
            if baseline is None or baseline.mean_w is None:
                why = "no idle baseline" if baseline is None else f"no idle baseline: {baseline.reason}"
                reasons |= dict.fromkeys(places.tolist(), why)
            else:
                net_j[places] = energies.energy_j - baseline.mean_w * seconds(end_ns - start_ns, 0)
            reasons |= {int(places[i]): why for i, why in energies.reasons.items()}
        return Energies(gross_j, net_j, se_j, reasons)

    def idle(self, channel: str, window: Window) -> IdleBaseline:
        """Mean power of ``channel`` over an idle window and the standard error of that mean.

        The error is the larger of what the reconstruction is uncertain of and what the scatter of ten equal blocks of
        the window says (readings that follow each other are not independent, so they are not counted one by one).
        """
        duration_s = ns_to_s(window.end_ns - window.start_ns)
        if duration_s <= 0:
            return IdleBaseline(channel=channel, mean_w=None, reason="the idle window has no length (--idle-s 0)")
        edges = np.linspace(window.start_ns, window.end_ns, IDLE_BLOCKS + 1).astype(np.int64)
        start_ns, end_ns = np.r_[window.start_ns, edges[:-1]], np.r_[window.end_ns, edges[1:]]
        energies = self.energies(channel, Spans(np.full(len(start_ns), window.session), start_ns, end_ns))
        whole, *blocks = energies.records()
        if whole.gross_j is None:
            return IdleBaseline(channel=channel, mean_w=None, duration_s=duration_s, reason=whole.reason)
        powers_w = [block.gross_j * IDLE_BLOCKS / duration_s for block in blocks if block.gross_j is not None]
        scatter_w = float(np.std(powers_w, ddof=1)) / len(powers_w) ** 0.5 if len(powers_w) > 1 else 0.0
        return IdleBaseline(
            channel=channel,
            mean_w=whole.gross_j / duration_s,
            se_w=max(scatter_w, (whole.se_j or 0.0) / duration_s),
            duration_s=duration_s,
        )


def net_se_j(energy: Energy, idle: IdleBaseline, duration_s: float) -> float | None:
    """Standard error of a net energy: that of gross and that of the idle over the duration, in quadrature."""
    if energy.net_j is None or energy.se_j is None or idle.se_w is None:
        return None
    return float(np.hypot(energy.se_j, idle.se_w * duration_s))


def _series_of(table: pa.Table) -> dict[tuple[int, str, str], Series]:
    """Rows grouped by session, channel and quantity, each group in time order."""
    if table.num_rows == 0:
        return {}
    session = table["session"].to_numpy().astype(np.int64)
    time_ns = table["time_ns"].to_numpy().astype(np.int64)
    channel, channels = _codes(table["channel"])
    quantity, quantities = _codes(table["quantity"])
    value = table["value"].to_numpy(zero_copy_only=False).astype(np.float64)
    reason = table["reason"]
    key = (session * len(channels) + channel) * len(quantities) + quantity
    order = np.lexsort((time_ns, key))
    starts = np.flatnonzero(np.r_[True, np.diff(key[order]) != 0])
    series = {}
    for rows in np.split(order, starts[1:]):
        first = rows[0]
        missing = rows[np.isnan(value[rows])]
        series[int(session[first]), channels[channel[first]], quantities[quantity[first]]] = Series(
            time_ns=time_ns[rows],
            value=value[rows],
            reasons={int(time_ns[row]): str(reason[int(row)].as_py() or "no value") for row in missing},
        )
    return series


def _codes(column: pa.ChunkedArray) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], list[str]]:
    """A string column as integer codes and the strings they stand for."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    encoded = column.unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), encoded.dictionary.to_pylist()
