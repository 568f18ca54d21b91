"""Does the trace agree with itself? Counter against power, and the parts of a session against its whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from passkwh.harness.meter.energies import Spans
from passkwh.harness.meter.series import Missing
from passkwh.harness.meter.trace import Trace
from passkwh.records import Window

DISAGREEMENT = 0.05
"""Counter and power usually agree within 1 %; above this something is wrong with one of them."""

BALANCE = 0.005
"""Parts of a session must add up to the whole within this share."""

POWERS = ("power_w", "power_1s_w")


@dataclass(frozen=True)
class Disagreement:
    """Energy of one window by a channel's counter and by its power sensor."""

    channel: str
    counter_j: float
    power_j: float
    power_quantity: str

    @property
    def relative(self) -> float:
        """Power's energy over the counter's, less one."""
        return self.power_j / self.counter_j - 1 if self.counter_j else float("inf")

    def warning(self) -> str | None:
        """What to tell the user where they disagree by more than the threshold."""
        if abs(self.relative) <= DISAGREEMENT:
            return None
        return (
            f"{self.channel}: integrated power is {self.relative:+.1%} off the energy counter "
            f"({self.power_j:.1f} J against {self.counter_j:.1f} J, threshold {DISAGREEMENT:.0%}); "
            "one of the two is wrong: look at both with 'bench doctor --meter' and name them when you publish"
        )


def disagreement(trace: Trace, channel: str, session: int, start_ns: int, end_ns: int) -> Disagreement | None:
    """Counter against power over a window, or None where the channel has not both or one is missing there."""
    if trace.channels[channel].quantity != "energy_j":
        return None
    counter = trace.energy(channel, session, start_ns, end_ns)
    for quantity in POWERS:
        curve = trace.curve(channel, session, quantity)
        if counter.gross_j is None or curve is None:
            continue
        window = curve.over(np.array([start_ns]), np.array([end_ns]))
        if not window.reasons:
            return Disagreement(channel, counter.gross_j, float(window.energy_j[0]), quantity)
    return None


@dataclass(frozen=True)
class Balance:
    """Where a channel's energy of one session went, in joules; the parts should add up to the total."""

    channel: str
    total_j: float
    by_kind: dict[str, float]
    """Energy of the windows of each kind (idle_before, warmup, generate, score, idle_after)."""
    unattributed_j: float
    """Energy of the time that lies in no window: loading, between batches."""

    @property
    def relative(self) -> float:
        """What is left over (or counted twice), as a share of the total."""
        return (sum(self.by_kind.values()) + self.unattributed_j) / self.total_j - 1 if self.total_j else 0.0

    def warning(self) -> str | None:
        """What to tell the user where the parts do not add up."""
        if abs(self.relative) <= BALANCE:
            return None
        return (
            f"{self.channel}: windows, idle and the rest add up to {self.relative:+.2%} of the trace's total "
            f"{self.total_j:.1f} J (threshold {BALANCE:.1%}); windows overlap or are lost: report this run"
        )


def balance(trace: Trace, channel: str, session: int, windows: Sequence[Window]) -> Balance | Missing:
    """The books of one channel and session; windows are those of the session, in any order.

    Scoring runs beside itself and beside nothing else: overlapping windows of one kind are joined first. Windows of
    different kinds that overlap are an error that shows as a positive remainder.
    """
    span = trace.span(channel, session)
    if span is None:
        return Missing(f"no readings of {channel} in session {session}")
    # Of a session that was killed, the last reading that reached the disk may lie just before the last window's end.
    start_ns, end_ns = span[0], max([span[1], *(window.end_ns for window in windows)])
    total = trace.energy(channel, session, start_ns, end_ns)
    if total.gross_j is None:
        return Missing(f"{total.reason}")
    by_kind: dict[str, float] = {}
    for kind in sorted({window.kind for window in windows}):
        energy_j = _sum_j(trace, channel, Spans.of(window for window in windows if window.kind == kind).merged())
        if isinstance(energy_j, Missing):
            return Missing(f"{kind}: {energy_j.reason}")
        by_kind[kind] = energy_j
    busy = Spans.of(windows).merged()
    free_ns, taken_ns = np.r_[start_ns, busy.end_ns], np.r_[busy.start_ns, end_ns]
    free = Spans(np.full(len(free_ns), session), free_ns, taken_ns).take(taken_ns > free_ns)
    unattributed_j = _sum_j(trace, channel, free)
    if isinstance(unattributed_j, Missing):
        return Missing(f"between windows: {unattributed_j.reason}")
    return Balance(channel, total.gross_j, by_kind, unattributed_j)


def _sum_j(trace: Trace, channel: str, spans: Spans) -> float | Missing:
    """Energy of stretches together, or why the first of those that have none has none."""
    energies = trace.energies(channel, spans)
    missing = np.flatnonzero(np.isnan(energies.gross_j))
    return Missing(energies.reasons[int(missing[0])]) if len(missing) else sum(energies.gross_j.tolist(), 0.0)
