"""Whose joules are they: time in which several requests are in flight, without a barrier.

What is measured is the *stretch*: the time in which at least one request was in flight. What a single request of it
cost is a matter of rule, and this is the rule. The stretch is cut wherever a request begins, has its first token, or
ends. In each interval between two cuts, in which n requests are in flight,

- a request that has no token yet (it waits, or its prompt is read) takes an equal share, 1/n;
- the rest goes to those past their first token, by the tokens that they emit in the interval. A token that is under way
  at a cut counts on either side by the part of its time there. Where none of them emits any, they share equally.

So requests that run alike cost alike, one that emits twice as fast costs twice as much, and nobody waits for free. The
requests add up to the stretch. A request that was lost (the process was killed, and it was made again) takes 1/n of
each interval, as what it emitted is not known. Its joules are no sample's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from passkwh.harness.meter.energies import Energies, Spans
from passkwh.harness.meter.series import Bools, Floats, Ints


@dataclass(frozen=True)
class Requests:
    """Answered requests, shape (n,)."""

    stretch: Ints
    """Number of the stretch that each is of, from 0."""
    spans: Spans
    arrivals_ns: Sequence[Ints]
    """Of each, when the pieces of its answer came, in order; empty where that is not known."""
    tokens: Ints
    """Generated; they are taken to be spread evenly over the pieces."""


@dataclass(frozen=True)
class SharedTime:
    """The intervals of all stretches, shape (k,), in order, and who shares each: m pairs of interval and request."""

    spans: Spans
    in_flight: Ints
    """Requests, the lost ones too."""
    lost: Ints
    tokens: Floats
    """Emitted by the answered requests."""
    interval: Ints
    """Shape (m,), as are the next two."""
    request: Ints
    share: Floats

    def shared(self, intervals: Energies, count: int) -> Energies:
        """Energies of the ``count`` requests from those of the intervals; their standard errors are left out.

        What is missing of an interval is missing, for the same reason, of each request that was in flight then.
        """

        def parts(values: Floats) -> Floats:
            sums: Floats = np.bincount(self.request, values[self.interval] * self.share, count).astype(np.float64)
            return sums

        reasons: dict[int, str] = {}
        for place, request in zip(self.interval.tolist(), self.request.tolist(), strict=True):
            if place in intervals.reasons and (request not in reasons or np.isnan(intervals.gross_j[place])):
                reasons[request] = intervals.reasons[place]
        return Energies(parts(intervals.gross_j), parts(intervals.net_j), np.full(count, np.nan), reasons)

    def steady(self, most: int) -> Bools:
        """Intervals, shape (k,), in which as many requests were in flight as were asked for, and none was lost."""
        full: Bools = (self.in_flight == most) & (self.lost == 0)
        return full


def share_time(requests: Requests, most: int, lost: Ints) -> SharedTime:
    """Cut the time in which requests were in flight into intervals, and share each.

    Args:
        requests: that have been answered, one at least.
        most: that are in flight at a time, as long as any are left.
        lost: by stretch, how many were in flight when it was broken off.
    """
    starts_ns, ends_ns = requests.spans.start_ns, requests.spans.end_ns
    arrivals_ns = [np.clip(own, *ends) for own, *ends in zip(requests.arrivals_ns, starts_ns, ends_ns, strict=True)]
    first_ns = np.array([own[0] if len(own) else end for own, end in zip(arrivals_ns, ends_ns, strict=True)], np.int64)
    moments = np.stack([np.tile(requests.stretch, 3), np.concatenate([starts_ns, first_ns, ends_ns])], axis=1)
    cuts, place = np.unique(moments, axis=0, return_inverse=True)
    begins, turns, ends = place.reshape(3, -1).tolist()
    stretch, cuts_ns = cuts.T

    interval, request, emitted = [], [], []
    tokens = np.zeros(len(cuts) - 1)
    for i, (begin, turn, end) in enumerate(zip(begins, turns, ends, strict=True)):
        pieces = len(arrivals_ns[i])
        a_piece = int(requests.tokens[i]) / max(pieces, 1)
        own, with_first = np.full(end - begin, np.nan), a_piece  # nothing until the first piece
        if pieces:
            so_far = a_piece * np.interp(cuts_ns[turn : end + 1], arrivals_ns[i], np.arange(1, pieces + 1))
            own[turn - begin :], with_first = np.diff(so_far), so_far[0]
        interval.append(np.arange(begin, end))
        request.append(np.full(end - begin, i))
        emitted.append(own)
        if end > begin:
            tokens[begin:end] += np.nan_to_num(own)
            tokens[max(turn - 1, begin)] += with_first  # the interval ends with it
    at, who, number = np.concatenate(interval), np.concatenate(request), np.concatenate(emitted)
    waits = np.isnan(number)
    number = np.nan_to_num(number)
    answered = np.bincount(at, minlength=len(tokens))
    past_first = np.bincount(at, ~waits, len(tokens))
    missing = np.clip(most - answered, 0, lost[stretch[:-1]])
    sums = np.bincount(at, number, len(tokens))[at]
    by_tokens = np.divide(number * past_first[at], sums, out=np.ones(len(at)), where=sums > 0)
    share = np.where(waits, 1.0, by_tokens) / (answered + missing)[at]

    inside = stretch[1:] == stretch[:-1]  # not from the end of a stretch to the beginning of the next
    session: Ints = np.zeros(len(cuts), dtype=np.int64)
    session[begins] = requests.spans.session
    session = np.asarray(np.maximum.accumulate(session), dtype=np.int64)
    return SharedTime(
        Spans(session[:-1], cuts_ns[:-1], cuts_ns[1:]).take(inside), (answered + missing)[inside], missing[inside],
        tokens[inside], (np.cumsum(inside) - 1)[at], who, share,
    )  # fmt: skip
