"""Does the trace agree with itself? Counter against power, and the parts of a session against its whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

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
        found = None if curve is None else curve.between(start_ns, end_ns)
        if counter.gross_j is not None and found is not None and not isinstance(found, Missing):
            return Disagreement(channel, counter.gross_j, found.energy_j, quantity)
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
    start_ns, end_ns = span
    # Of a session that was killed, the last reading that reached the disk may lie just before the last window's end.
    end_ns = max([end_ns, *(window.end_ns for window in windows)])
    total = trace.energy(channel, session, start_ns, end_ns)
    if total.gross_j is None:
        return Missing(f"{total.reason}")
    by_kind: dict[str, float] = {}
    busy: list[tuple[int, int]] = []
    for kind in sorted({window.kind for window in windows}):
        for first_ns, last_ns in _joined([(w.start_ns, w.end_ns) for w in windows if w.kind == kind]):
            energy = trace.energy(channel, session, first_ns, last_ns)
            if energy.gross_j is None:
                return Missing(f"{kind}: {energy.reason}")
            by_kind[kind] = by_kind.get(kind, 0.0) + energy.gross_j
            busy.append((first_ns, last_ns))
    unattributed_j = 0.0
    edges = [(start_ns, start_ns), *_joined(busy), (end_ns, end_ns)]
    for (_, free_ns), (taken_ns, _) in pairwise(edges):
        if taken_ns > free_ns:
            energy = trace.energy(channel, session, free_ns, taken_ns)
            if energy.gross_j is None:
                return Missing(f"between windows: {energy.reason}")
            unattributed_j += energy.gross_j
    return Balance(channel, total.gross_j, by_kind, unattributed_j)


def _joined(stretches: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Stretches of time in order, overlapping ones made one."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(stretches):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined
