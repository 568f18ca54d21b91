"""Joules of every sample and channel, from the marks in the samples and the trace: can be redone at any time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

from passkwh.harness.meter.attribution import phases, split, split_phases, token_weights
from passkwh.harness.meter.trace import Trace
from passkwh.records import ChannelInfo, ChannelTotal, Energy, IdleBaseline, Manifest, Sample, Window
from passkwh.units import s_to_ns


def measure(
    manifest: Manifest, samples: Sequence[Sample], trace: Trace
) -> tuple[list[Sample], tuple[ChannelTotal, ...]]:
    """Energies of every sample and of every channel.

    A batch is measured before and after its first token and split over its samples by tokens; scoring is measured over
    the time in which at least one sample was being scored and split by each sample's CPU seconds. Samples therefore
    add up to the totals.
    """
    generation: dict[str, dict[str, Energy]] = defaultdict(dict)
    prefill: dict[str, dict[str, Energy]] = defaultdict(dict)
    evaluation: dict[str, dict[str, Energy]] = defaultdict(dict)
    totals: list[ChannelTotal] = []
    for channel in manifest.meter.channels:
        idle = [_idle(trace, channel, manifest, session.index, "idle_before") for session in manifest.sessions]

        batch_energies: list[Energy] = []
        prefill_energies: list[Energy] = []
        for batch in batches(samples):
            window, tokens = batch[0].generation, [(s.prompt_tokens, s.completion_tokens) for s in batch]
            energy = _energy(trace, channel, idle, [window])
            batch_energies.append(energy)
            shares = split(energy, token_weights(tokens))
            if batch[0].ttft_s is not None:
                # Measured apart at the first token, the phases need no assumed weight between their tokens.
                first_token_ns = window.start_ns + s_to_ns(batch[0].ttft_s)
                both = phases(trace, channel.name, window, min(first_token_ns, window.end_ns), idle[window.session])
                prefill_energies.append(both.prefill)
                apart = split_phases(both, tokens)
                shares = [add([parts.prefill, parts.decode]) for parts in apart]
                for sample, parts in zip(batch, apart, strict=True):
                    prefill[sample.key][channel.name] = parts.prefill
            for sample, whole in zip(batch, shares, strict=True):
                generation[sample.key][channel.name] = whole

        score_energies: list[Energy] = []
        for scored in scored_by_session(samples).values():
            windows = merge([s.evaluation for s in scored if s.evaluation is not None])
            energy = _energy(trace, channel, idle, windows)
            score_energies.append(energy)
            weights = [s.evaluation_cpu_s or 0.0 for s in scored]
            if not sum(weights) > 0:
                weights = [1.0] * len(scored)
            for sample, share in zip(scored, split(energy, weights), strict=True):
                evaluation[sample.key][channel.name] = share

        last = len(manifest.sessions) - 1
        totals.append(
            ChannelTotal(
                channel=channel.name,
                provenance=channel.provenance,
                counted=channel.counted,
                generation=add(batch_energies),
                prefill=add(prefill_energies) if len(prefill_energies) == len(batch_energies) else None,
                evaluation=add(score_energies),
                idle_before=idle[last],
                idle_after=_idle(trace, channel, manifest, last, "idle_after"),
            )
        )
    measured = [
        sample.model_copy(
            update={
                "generation_energy": generation[sample.key],
                "prefill_energy": prefill[sample.key],
                "evaluation_energy": evaluation[sample.key],
            }
        )
        for sample in samples
    ]
    return measured, tuple(totals)


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
    merged: list[Window] = []
    for window in sorted(windows, key=lambda w: w.start_ns):
        if merged and window.start_ns <= merged[-1].end_ns:
            end_ns = max(merged[-1].end_ns, window.end_ns)
            merged[-1] = merged[-1].model_copy(update={"end_ns": end_ns})
        else:
            merged.append(window)
    return merged


def _energy(trace: Trace, channel: ChannelInfo, idle: Sequence[IdleBaseline], windows: Sequence[Window]) -> Energy:
    return add(trace.energy(channel.name, w.session, w.start_ns, w.end_ns, idle[w.session]) for w in windows)


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
