"""Energies in columns: of many windows, or of the many samples that share them, worked out at once.

A run has thousands of windows and samples; one record each is made only where one is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from passkwh.harness.meter.series import Bools, Floats, Ints, seconds
from passkwh.records import ChannelInfo, Energy, RunProvenance, Window


@dataclass(frozen=True)
class Spans:
    """Stretches of time, each on the clock of its session; arrays of shape (n,)."""

    session: Ints
    start_ns: Ints
    end_ns: Ints

    @classmethod
    def of(cls, windows: Iterable[Window]) -> Spans:
        """Those of windows, in their order."""
        marks = [(window.session, window.start_ns, window.end_ns) for window in windows]
        return cls(*np.array(marks, dtype=np.int64).reshape(-1, 3).T)

    def take(self, positions: Ints | Bools) -> Spans:
        """Only those at these positions."""
        return Spans(self.session[positions], self.start_ns[positions], self.end_ns[positions])

    def merged(self) -> Spans:
        """Joined where those of a session overlap or touch, so that time in which several were open counts once."""
        order = np.lexsort((self.start_ns, self.session))
        session, start_ns, end_ns = self.session[order], self.start_ns[order], self.end_ns[order]
        first = np.zeros(len(order), dtype=np.bool_)
        for number in np.unique(session).tolist():
            mine = np.flatnonzero(session == number)
            latest_ns = np.maximum.accumulate(end_ns[mine])
            first[mine] = np.r_[True, start_ns[mine][1:] > latest_ns[:-1]]
        starts = np.flatnonzero(first)
        last_ns = np.maximum.reduceat(end_ns, starts) if len(starts) else end_ns
        return Spans(session[starts], start_ns[starts], last_ns)

    def length_s(self) -> float:
        """Sum of their lengths."""
        return float(seconds(self.end_ns - self.start_ns, 0).sum())


@dataclass(frozen=True)
class Energies:
    """Gross and net energy of one channel and the standard error of gross, shape (n,), NaN where missing."""

    gross_j: Floats
    net_j: Floats
    se_j: Floats
    reasons: dict[int, str] = field(default_factory=dict)
    """By position, why something is missing."""

    @classmethod
    def of(cls, energies: Sequence[Energy]) -> Energies:
        """From records."""
        gross_j, net_j, se_j = (
            np.array(values, dtype=np.float64)
            for values in ([e.gross_j for e in energies], [e.net_j for e in energies], [e.se_j for e in energies])
        )
        return cls(gross_j, net_j, se_j, {i: e.reason for i, e in enumerate(energies) if e.reason})

    def __len__(self) -> int:
        return len(self.gross_j)

    def __add__(self, other: Energies) -> Energies:
        """Parts of the same things, one after the other; what is missing of either is missing of the sum."""
        return Energies(
            self.gross_j + other.gross_j,
            self.net_j + other.net_j,
            (self.se_j**2 + other.se_j**2) ** 0.5,
            {**other.reasons, **self.reasons},
        )

    def take(self, positions: Ints) -> Energies:
        """Only those at these positions."""
        reasons = {i: self.reasons[p] for i, p in enumerate(positions.tolist()) if p in self.reasons}
        return Energies(self.gross_j[positions], self.net_j[positions], self.se_j[positions], reasons)

    def scaled(self, factors: Floats, why_missing: str) -> Energies:
        """Parts of each in proportion to ``factors``; where a factor is NaN the part is missing, saying why."""
        unknown = dict.fromkeys(np.flatnonzero(np.isnan(factors)).tolist(), why_missing)
        return Energies(self.gross_j * factors, self.net_j * factors, self.se_j * factors, {**unknown, **self.reasons})

    def records(self) -> list[Energy]:
        """One record each."""
        columns = zip(_known(self.gross_j), _known(self.net_j), _known(self.se_j), strict=True)
        return [
            Energy(gross_j=gross_j, net_j=net_j, se_j=se_j, reason=self.reasons.get(i))
            for i, (gross_j, net_j, se_j) in enumerate(columns)
        ]

    def total(self) -> Energy:
        """Their sum; missing, with the first reason, as soon as one part is missing."""
        gross_j, net_j, variance = _known(
            np.array([self.gross_j.sum(), self.net_j.sum(), (self.se_j**2).sum()], dtype=np.float64)
        )
        reason = self.reasons[min(self.reasons)] if self.reasons else None
        se_j = None if variance is None else variance**0.5
        return Energy(gross_j=gross_j, net_j=net_j, se_j=se_j, reason=reason)

    def shared(self, owner: Ints, weights: Floats) -> Energies:
        """Shares of each energy among members: ``owner`` says whose share a member has, in proportion to its weight.

        The shares add up to the energy. The standard error is shared like the energy: the shares of one measurement err
        together. What is missing of the whole is missing, for the same reason, of every share.

        Raises ValueError for weights that are negative, not finite, or all zero for one owner.
        """
        totals = np.bincount(owner, weights, len(self))
        if not np.all(weights >= 0) or not np.all(totals[owner] > 0) or not np.all(np.isfinite(totals)):
            raise ValueError(f"weights must not be negative and not all zero: {weights[:10].tolist()}")
        # The heaviest member of each takes the rounding.
        order = np.lexsort((-weights, owner))
        heaviest = order[np.r_[True, np.diff(owner[order]) != 0]] if len(owner) else order

        def parts(value: Floats) -> Floats:
            share: Floats = value[owner] * weights / totals[owner]
            share[heaviest] += (value - np.bincount(owner, share, len(self)))[owner[heaviest]]
            return share

        reasons = (
            {i: self.reasons[o] for i, o in enumerate(owner.tolist()) if o in self.reasons} if self.reasons else {}
        )
        return Energies(parts(self.gross_j), parts(self.net_j), parts(self.se_j), reasons)

    def replaced(self, positions: Ints, others: Energies) -> Energies:
        """A copy with ``others`` at these positions."""
        gross_j, net_j, se_j = self.gross_j.copy(), self.net_j.copy(), self.se_j.copy()
        gross_j[positions], net_j[positions], se_j[positions] = others.gross_j, others.net_j, others.se_j
        places = positions.tolist()
        gone = set(places)
        reasons = {i: why for i, why in self.reasons.items() if i not in gone}
        reasons |= {places[i]: why for i, why in others.reasons.items()}
        return Energies(gross_j, net_j, se_j, reasons)


def add(energies: Iterable[Energy]) -> Energy:
    """``Energies.total`` of records of one channel, or of several channels."""
    return Energies.of(list(energies)).total()


def counted_total(channels: Iterable[ChannelInfo], energies: Mapping[str, Energy], none_counted: str) -> Energy:
    """Sum of the counted channels' energies (by channel name); missing, saying ``none_counted``, where none is."""
    counted = [energies[info.name] for info in channels if info.counted]
    return add(counted) if counted else Energy(gross_j=None, net_j=None, reason=none_counted)


def combined_provenance(parts: Iterable[RunProvenance]) -> RunProvenance | None:
    """Provenance of a sum of parts; None where there is none of them."""
    kinds = set(parts)
    return None if not kinds else kinds.pop() if len(kinds) == 1 else "mixed"


def _known(values: Floats) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]
