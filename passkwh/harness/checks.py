"""Does a run's trace agree with itself, and in what state was the machine? Checked in every run, kept with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from passkwh.harness.meter.condition import thermal
from passkwh.harness.meter.crosscheck import balance, disagreement
from passkwh.harness.meter.series import Missing
from passkwh.harness.meter.trace import Trace
from passkwh.records import ChannelCheck, Manifest, Sample, Window


def check(manifest: Manifest, samples: Sequence[Sample], trace: Trace) -> tuple[list[ChannelCheck], list[str]]:
    """One check of every channel in every session that was metered, and what a reader must be warned of."""
    checks: list[ChannelCheck] = []
    warnings: list[str] = []
    windows = [*(w for session in manifest.sessions for w in session.windows), *_sample_windows(samples)]
    for session in manifest.sessions:
        mine = [window for window in windows if window.session == session.index]
        for channel in manifest.meter.channels:
            span = trace.span(channel.name, session.index)
            if mine and span is not None:
                entry, notes = _check(trace, channel.name, session.index, span, mine)
                checks.append(entry)
                warnings += notes
    return checks, warnings


def _sample_windows(samples: Sequence[Sample]) -> Iterator[Window]:
    yield from {sample.generation for sample in samples}
    yield from (sample.evaluation for sample in samples if sample.evaluation is not None)


def _check(
    trace: Trace, channel: str, session: int, span: tuple[int, int], windows: Sequence[Window]
) -> tuple[ChannelCheck, list[str]]:
    start_ns, end_ns = min(w.start_ns for w in windows), max(w.end_ns for w in windows)
    books = balance(trace, channel, session, windows)
    apart = disagreement(trace, channel, session, max(start_ns, span[0]), min(end_ns, span[1]))
    heat = thermal(trace, channel, session, start_ns, end_ns)
    entry = ChannelCheck(
        channel=channel,
        session=session,
        total_j=None if isinstance(books, Missing) else books.total_j,
        unattributed_j=None if isinstance(books, Missing) else books.unattributed_j,
        balance_error=None if isinstance(books, Missing) else books.relative,
        reason=books.reason if isinstance(books, Missing) else None,
        power_disagreement=None if apart is None else apart.relative,
        start_c=None if heat is None else heat.start_c,
        end_c=None if heat is None else heat.end_c,
        throttled={} if heat is None else heat.throttled,
    )
    notes = [] if isinstance(books, Missing) else [books.warning()]
    notes += [] if apart is None else [apart.warning()]
    notes += [] if heat is None else list(heat.notes())
    return entry, [warning for warning in notes if warning]
