"""Joules of every sample and channel, from the marks in the samples and the trace: can be redone at any time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from passkwh.harness.meter.attribution import PREFILL_WEIGHT, phases, split_phases, usable
from passkwh.harness.meter.energies import Energies, Spans
from passkwh.harness.meter.series import Bools, Ints
from passkwh.harness.meter.shared_time import Requests, SharedTime, share_time
from passkwh.harness.meter.trace import Trace
from passkwh.harness.runs.table import SampleTable
from passkwh.records import ChannelInfo, ChannelTotal, Energy, IdleBaseline, Manifest, Sample
from passkwh.units import s_to_ns


@dataclass(frozen=True)
class Attribution:
    """Joules by channel: what it drew, and in columns what each sample cost, in the order of the samples."""

    totals: tuple[ChannelTotal, ...]
    generation: dict[str, Energies]
    """Of every sample."""
    phased: Ints
    """Positions of the samples whose batch left a mark at its first token."""
    prefill: dict[str, Energies]
    """Of these."""
    thought: Ints
    """Positions of the samples that have a thinking phase."""
    reasoning: dict[str, Energies]
    """Of these."""
    scored: Ints
    """Positions of the samples that were scored."""
    evaluation: dict[str, Energies]
    """Of these."""


def measure(
    manifest: Manifest, samples: Sequence[Sample], trace: Trace, table: SampleTable | None = None
) -> tuple[list[Sample], tuple[ChannelTotal, ...]]:
    """Samples with their energies (:func:`attribute`), and the energies of every channel.

    ``table`` is that of the same samples, in the same order, where the caller has it.
    """
    attribution = attribute(manifest, SampleTable.of(samples) if table is None else table, trace)

    def by_sample(columns: dict[str, Energies], positions: Sequence[int]) -> list[dict[str, Energy]]:
        entries: list[dict[str, Energy]] = [{} for _ in samples]
        for channel, energies in columns.items():
            for position, energy in zip(positions, energies.records(), strict=True):
                entries[position][channel] = energy
        return entries

    generation = by_sample(attribution.generation, range(len(samples)))
    prefill = by_sample(attribution.prefill, attribution.phased.tolist())
    reasoning = by_sample(attribution.reasoning, attribution.thought.tolist())
    evaluation = by_sample(attribution.evaluation, attribution.scored.tolist())
    names = ("generation_energy", "prefill_energy", "reasoning_energy", "evaluation_energy")
    measured = [
        sample.model_copy(update=dict(zip(names, parts, strict=True)))
        for sample, *parts in zip(samples, generation, prefill, reasoning, evaluation, strict=True)
    ]
    return measured, attribution.totals


def attribute(manifest: Manifest, samples: SampleTable, trace: Trace) -> Attribution:
    """Energies of every sample and of every channel.

    A batch is measured before and after its first token and split over its samples by tokens; time in which requests
    were in flight is cut at their marks and shared by what they emitted (``shared_time``); scoring is measured over
    the time in which at least one sample was being scored and split by each sample's CPU seconds. Samples therefore
    add up to the totals. Thinking, a part of generating, is measured from the first token to its end where a sample has
    a window of its own; elsewhere it is the sample's share by tokens.
    """
    prompt, generated = samples.prompt_tokens, samples.completion_tokens
    batch, windows = samples.batch, samples.measured
    flight = in_flight(manifest, samples)
    by_tokens = usable(PREFILL_WEIGHT * prompt + generated, batch)

    ttft_s = samples.ttft_s[samples.firsts]
    marked = np.isfinite(ttft_s) & (flight is None)  # of requests in flight one decodes while another is read
    cut = windows.take(marked)
    delay_ns = np.array([s_to_ns(delay_s) for delay_s in ttft_s[marked].tolist()], dtype=np.int64)
    first_token_ns = np.minimum(cut.start_ns + delay_ns, cut.end_ns)
    phased = np.flatnonzero(marked[batch])
    marked_batch = (np.cumsum(marked) - 1)[batch[phased]]

    # Sessions in which samples were scored, and the time during which at least one was.
    sessions, session_of = np.unique(samples.evaluation.session, return_inverse=True)
    busy = samples.evaluation.merged()
    busy_of = [busy.take(busy.session == session) for session in sessions.tolist()]
    by_cpu = usable(samples.evaluation_cpu_s, session_of)

    thought = np.flatnonzero(samples.thought)
    by_marks = thought_by_marks(samples)[thought]
    starts = samples.generation.take(thought)
    first_ns = starts.start_ns + np.array([s_to_ns(s) for s in np.nan_to_num(samples.ttft_s[thought])], dtype=np.int64)
    end_ns = np.clip(samples.reasoning_end_ns[thought], first_ns, starts.end_ns)
    thinking = Spans(starts.session, first_ns, end_ns).take(by_marks)
    # Where the first token's moment is known, what came before it is prefill and not part of what is shared.
    decoded = np.where(marked[batch], generated, PREFILL_WEIGHT * prompt + generated)[thought]
    share = samples.reasoning_tokens[thought] / np.where(decoded > 0, decoded, 1.0)

    attribution = Attribution((), {}, phased, {}, thought, {}, samples.scored, {})
    totals = []
    for channel in manifest.meter.channels:
        name = channel.name
        idle = {s.index: _idle(trace, channel, manifest, s.index, "idle_before") for s in manifest.sessions}
        whole = trace.energies(name, windows, idle)
        steady = None
        if flight is None:
            own = whole.shared(batch, by_tokens)
        else:
            intervals = trace.energies(name, flight.spans, idle)
            own = _erring_together(flight.shared(intervals, len(samples)), whole, batch)
            full = np.flatnonzero(flight.steady(manifest.spec.concurrency))
            steady = intervals.take(full).total() if len(full) else None
        decoding = attribution.generation[name] = own
        both = phases(trace, name, cut, first_token_ns, idle)
        if len(phased):
            # Measured apart at the first token, the phases need no assumed weight between their tokens.
            apart = split_phases(both, marked_batch, prompt[phased], generated[phased])
            attribution.generation[name] = attribution.generation[name].replaced(phased, apart.prefill + apart.decode)
            attribution.prefill[name] = apart.prefill
            decoding = decoding.replaced(phased, apart.decode)
        if len(thought):
            shares = decoding.take(thought).scaled(share, "the server does not count tokens of thinking")
            measured = trace.energies(name, thinking, idle)
            attribution.reasoning[name] = shares.replaced(np.flatnonzero(by_marks), measured)
        scoring = Energies.of([trace.energies(name, spans, idle).total() for spans in busy_of])
        if len(samples.scored):
            attribution.evaluation[name] = scoring.shared(session_of, by_cpu)
        last = len(manifest.sessions) - 1
        totals.append(
            ChannelTotal(
                channel=name,
                provenance=channel.provenance,
                counted=channel.counted,
                # Without what requests drew that were lost with a session: they were made again.
                generation=(whole if flight is None else _by_stretch(own, batch)).total(),
                prefill=both.prefill.total() if marked.all() else None,
                steady=steady,
                reasoning=attribution.reasoning[name].total() if len(thought) else None,
                evaluation=scoring.total(),
                idle_before=idle[last],
                idle_after=_idle(trace, channel, manifest, last, "idle_after"),
            )
        )
    return replace(attribution, totals=tuple(totals))


def in_flight(manifest: Manifest, samples: SampleTable) -> SharedTime | None:
    """How the time of a run whose requests were kept in flight is shared; None for one that makes batches.

    A session that is not the last to generate was broken off, with as many requests in flight as were asked for, or as
    were left to be made.
    """
    most = manifest.spec.concurrency
    if most == 1:
        return None
    session = samples.generation.session
    made_later = (session[None, :] > samples.measured.session[:, None]).sum(axis=1)
    requests = Requests(
        samples.batch, samples.generation, samples.arrivals_ns, samples.completion_tokens.astype(np.int64)
    )
    return share_time(requests, most, np.minimum(most, made_later))


def _erring_together(own: Energies, whole: Energies, batch: Ints) -> Energies:
    """With standard errors that are shared like the energy: the shares of one measurement err together."""
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(whole.gross_j > 0, whole.se_j / whole.gross_j, np.nan)
    return replace(own, se_j=np.abs(own.gross_j) * relative[batch])


def _by_stretch(own: Energies, batch: Ints) -> Energies:
    """Sums over the samples of each stretch."""
    gross_j, net_j, se_j = (np.bincount(batch, of).astype(np.float64) for of in (own.gross_j, own.net_j, own.se_j))
    return Energies(gross_j, net_j, se_j, {int(batch[i]): why for i, why in own.reasons.items()})


def thought_by_marks(samples: SampleTable) -> Bools:
    """Samples whose thinking can be measured: alone in their window, with known first token and end of thinking."""
    first_known, end_known = np.isfinite(samples.ttft_s), samples.reasoning_end_ns >= 0
    alone: Bools = samples.thought & (samples.batch_size == 1) & first_known & end_known
    return alone


def _idle(
    trace: Trace, channel: ChannelInfo, manifest: Manifest, session: int, kind: Literal["idle_before", "idle_after"]
) -> IdleBaseline:
    for window in manifest.sessions[session].windows:
        if window.kind == kind:
            return trace.idle(channel.name, window)
    return IdleBaseline(channel=channel.name, mean_w=None, reason=f"no {kind.replace('_', ' ')} window in the session")
