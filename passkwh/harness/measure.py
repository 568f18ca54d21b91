"""Joules of every sample and channel, from the marks in the samples and the trace: can be redone at any time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from passkwh.harness.meter.attribution import PREFILL_WEIGHT, phases, split_phases, usable
from passkwh.harness.meter.energies import Energies, Spans
from passkwh.harness.meter.series import Ints
from passkwh.harness.meter.trace import Trace
from passkwh.records import ChannelInfo, ChannelTotal, Energy, IdleBaseline, Manifest, Sample, Window
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
    scored: Ints
    """Positions of the samples that were scored."""
    evaluation: dict[str, Energies]
    """Of these."""


def measure(
    manifest: Manifest, samples: Sequence[Sample], trace: Trace
) -> tuple[list[Sample], tuple[ChannelTotal, ...]]:
    """Samples with their energies (:func:`attribute`), and the energies of every channel."""
    found = attribute(manifest, samples, trace)

    def by_sample(columns: dict[str, Energies], positions: Sequence[int]) -> list[dict[str, Energy]]:
        entries: list[dict[str, Energy]] = [{} for _ in samples]
        for channel, energies in columns.items():
            for position, energy in zip(positions, energies.records(), strict=True):
                entries[position][channel] = energy
        return entries

    generation = by_sample(found.generation, range(len(samples)))
    prefill = by_sample(found.prefill, found.phased.tolist())
    evaluation = by_sample(found.evaluation, found.scored.tolist())
    measured = [
        sample.model_copy(update={"generation_energy": whole, "prefill_energy": before, "evaluation_energy": scoring})
        for sample, whole, before, scoring in zip(samples, generation, prefill, evaluation, strict=True)
    ]
    return measured, found.totals


def attribute(manifest: Manifest, samples: Sequence[Sample], trace: Trace) -> Attribution:
    """Energies of every sample and of every channel.

    A batch is measured before and after its first token and split over its samples by tokens; scoring is measured over
    the time in which at least one sample was being scored and split by each sample's CPU seconds. Samples therefore
    add up to the totals.
    """
    prompt = np.array([sample.prompt_tokens for sample in samples], dtype=np.float64)
    generated = np.array([sample.completion_tokens for sample in samples], dtype=np.float64)
    numbers: dict[int, int] = {}
    batch = np.array([numbers.setdefault(sample.batch_id, len(numbers)) for sample in samples], dtype=np.int64)
    first_of = dict(zip(batch[::-1].tolist(), reversed(samples), strict=True))
    firsts = [first_of[number] for number in range(len(numbers))]
    windows = Spans.of(first.generation for first in firsts)
    by_tokens = usable(PREFILL_WEIGHT * prompt + generated, batch)

    marked = np.array([first.ttft_s is not None for first in firsts], dtype=np.bool_)
    cut = Spans(*(column[marked] for column in (windows.session, windows.start_ns, windows.end_ns)))
    delay_ns = np.array([s_to_ns(first.ttft_s) for first in firsts if first.ttft_s is not None], dtype=np.int64)
    first_token_ns = np.minimum(cut.start_ns + delay_ns, cut.end_ns)
    phased = np.flatnonzero(marked[batch])
    marked_batch = (np.cumsum(marked) - 1)[batch[phased]]

    scored_by = scored_by_session(samples)
    merged = [merge([s.evaluation for s in scored if s.evaluation is not None]) for scored in scored_by.values()]
    scored = np.array([i for i, sample in enumerate(samples) if sample.evaluation is not None], dtype=np.int64)
    place = {session: number for number, session in enumerate(scored_by)}
    session_of = np.array([place[s.evaluation.session] for s in samples if s.evaluation is not None], dtype=np.int64)
    cpu_s = np.array([s.evaluation_cpu_s or 0.0 for s in samples if s.evaluation is not None], dtype=np.float64)
    by_cpu = usable(cpu_s, session_of)

    found = Attribution((), {}, phased, {}, scored, {})
    totals = []
    for channel in manifest.meter.channels:
        name = channel.name
        idle = {s.index: _idle(trace, channel, manifest, s.index, "idle_before") for s in manifest.sessions}
        whole = trace.energies(name, windows, idle)
        found.generation[name] = whole.shared(batch, by_tokens)
        both = phases(trace, name, cut, first_token_ns, idle)
        if len(phased):
            # Measured apart at the first token, the phases need no assumed weight between their tokens.
            apart = split_phases(both, marked_batch, prompt[phased], generated[phased])
            found.generation[name] = found.generation[name].replaced(phased, apart.prefill + apart.decode)
            found.prefill[name] = apart.prefill
        scoring = Energies.of([trace.energies(name, Spans.of(busy), idle).total() for busy in merged])
        if len(scored):
            found.evaluation[name] = scoring.shared(session_of, by_cpu)
        last = len(manifest.sessions) - 1
        totals.append(
            ChannelTotal(
                channel=name,
                provenance=channel.provenance,
                counted=channel.counted,
                generation=whole.total(),
                prefill=both.prefill.total() if marked.all() else None,
                evaluation=scoring.total(),
                idle_before=idle[last],
                idle_after=_idle(trace, channel, manifest, last, "idle_after"),
            )
        )
    return replace(found, totals=tuple(totals))


def add(energies: Iterable[Energy]) -> Energy:
    """Sum of energies of one channel; missing, with the first reason, as soon as one part is missing."""
    parts = list(energies)
    gross = [part.gross_j for part in parts if part.gross_j is not None]
    net = [part.net_j for part in parts if part.net_j is not None]
    variances = [part.se_j**2 for part in parts if part.se_j is not None]
    reason = next((part.reason for part in parts if part.reason), None)
    return Energy(
        gross_j=sum(gross) if len(gross) == len(parts) else None,
        net_j=sum(net) if len(net) == len(parts) else None,
        se_j=sum(variances) ** 0.5 if len(variances) == len(parts) else None,
        reason=reason,
    )


def merge(windows: Sequence[Window]) -> list[Window]:
    """Windows of one session joined where they overlap, so that time in which several were open counts once."""
    merged: list[tuple[Window, int]] = []
    for window in sorted(windows, key=lambda w: w.start_ns):
        if merged and window.start_ns <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], window.end_ns))
        else:
            merged.append((window, window.end_ns))
    return [window.model_copy(update={"end_ns": end_ns}) for window, end_ns in merged]


def _idle(
    trace: Trace, channel: ChannelInfo, manifest: Manifest, session: int, kind: Literal["idle_before", "idle_after"]
) -> IdleBaseline:
    for window in manifest.sessions[session].windows:
        if window.kind == kind:
            return trace.idle(channel.name, window)
    return IdleBaseline(channel=channel.name, mean_w=None, reason=f"no {kind.replace('_', ' ')} window in the session")


def batches(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Samples that were generated together."""
    groups: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.batch_id].append(sample)
    return list(groups.values())


def scored_by_session(samples: Sequence[Sample]) -> dict[int, list[Sample]]:
    """Scored samples by the session whose clock their evaluation windows are on."""
    groups: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.evaluation is not None:
            groups[sample.evaluation.session].append(sample)
    return groups
