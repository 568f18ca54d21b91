"""Can it have been so? Power within the device's limits, windows long enough, a steady state, times in order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from passkwh.harness.meter.condition import DRIFT, WARMING_C, drift
from passkwh.harness.meter.series import seconds
from passkwh.harness.run_warnings import BUSY, SHORT_WINDOW_S
from passkwh.harness.runs.folder import MANIFEST, SAMPLES, SUMMARY
from passkwh.harness.runs.table import SampleTable
from passkwh.records import ChannelTotal, Manifest, Summary
from passkwh.reports.leaderboard.findings import Finding, error, warning

OVERSHOOT = 1.1
"""A device may draw a tenth more than its power limit on average over a run; more is not possible."""
MOST_POWER_W = 20_000.0
"""No channel of one machine draws more."""
FASTEST_TOKENS_PER_S = 1e6
CLOCK_SLACK_S = 0.05
"""Latency and window are read by the same clock a moment apart."""
REPEAT_LONGER = "run more tasks (--limit) or more samples (--samples)"


def implausible(manifest: Manifest, samples: SampleTable, summary: Summary) -> list[Finding]:
    """Findings on a run whose figures follow from its marks and trace."""
    return [
        *_power(manifest, summary),
        *_times(manifest, samples, summary),
        *_state(manifest, summary),
        *_verdicts(samples),
    ]


def _power(manifest: Manifest, summary: Summary) -> Iterator[Finding]:
    limits_w = {gpu.uuid: gpu.power_limit_w for gpu in manifest.host.gpus}
    for total in summary.channels:
        place = f"channels.{total.channel[:60]}"
        limit_w = limits_w.get(total.channel.partition(":")[2])
        most_w = min(OVERSHOOT * limit_w, MOST_POWER_W) if limit_w is not None and limit_w > 0 else MOST_POWER_W
        for stage, energy, length_s in (
            ("generation", total.generation, summary.generation_s),
            ("evaluation", total.evaluation, summary.evaluation_s),
        ):
            if energy.gross_j is None:
                continue
            if energy.gross_j < 0:
                yield error(SUMMARY, f"{place}.{stage}", f"is negative ({energy.gross_j:.4g} J)", "look at the meter")
            elif length_s > 0 and energy.gross_j / length_s > most_w:
                seen = (
                    f"mean power of {energy.gross_j / length_s:.0f} W, more than the device can draw ({most_w:.0f} W)"
                )
                yield error(SUMMARY, f"{place}.{stage}", seen, "look at the meter's unit and the clock of the windows")
        yield from _idle(total, place, most_w)


def _idle(total: ChannelTotal, place: str, most_w: float) -> Iterator[Finding]:
    idle_w = total.idle_before.mean_w
    if idle_w is not None and not 0 <= idle_w <= most_w:
        yield error(SUMMARY, f"{place}.idle_before", f"is {idle_w:.4g} W", "look at the meter")
    if total.counted and idle_w is None:
        reason = total.idle_before.reason or "no reason given"
        yield warning(SUMMARY, f"{place}.idle_before", f"is missing ({reason[:120]})", "run with --idle-s 10")


def _times(manifest: Manifest, samples: SampleTable, summary: Summary) -> Iterator[Finding]:
    metered_s = summary.generation_s + summary.evaluation_s
    if metered_s < SHORT_WINDOW_S:
        seen = f"metered for {metered_s:.1f} s, less than {SHORT_WINDOW_S:.0f} s"
        yield warning(SUMMARY, "generation_s", seen, REPEAT_LONGER)
    speed = summary.tokens_per_s
    if speed is not None and speed > FASTEST_TOKENS_PER_S:
        yield error(SUMMARY, "tokens_per_s", f"is {speed:.4g}, more than any machine's", "look at the clock")
    longest = manifest.spec.max_new_tokens
    firsts = samples.firsts
    spans = samples.generation.take(firsts)
    lengths_s = seconds(spans.end_ns - spans.start_ns, 0)
    most_tokens = np.zeros(len(firsts), dtype=np.int64)
    np.maximum.at(most_tokens, samples.batch, samples.completion_tokens)
    latencies_s = samples.latency_s[firsts]
    late = np.abs(latencies_s - lengths_s) > CLOCK_SLACK_S + 0.01 * lengths_s
    many = most_tokens > longest if longest is not None else np.zeros(len(firsts), dtype=np.bool_)
    at_once = (lengths_s == 0) & (most_tokens > 0)
    for batch in np.flatnonzero(late | many | at_once)[:1].tolist():
        place = f"batch_id {samples.batch_id[firsts[batch]]}"
        if late[batch]:
            seen = f"latency of {latencies_s[batch]:.3f} s in a window of {lengths_s[batch]:.3f} s"
            yield error(SAMPLES, place, seen, "both are written by `bench run`: run again")
        elif many[batch]:
            yield error(SAMPLES, place, f"has more completion tokens than the {longest} allowed", "run again")
        else:
            yield error(SAMPLES, place, "generated tokens in no time", "run again")
    yield from _overlap(samples)


def _overlap(samples: SampleTable) -> Iterator[Finding]:
    """Batches are generated one after the other: windows that overlap would count the same joules twice."""
    firsts = samples.firsts
    spans = samples.generation.take(firsts)
    order = np.lexsort((spans.start_ns, spans.session))
    spans = spans.take(order)
    overlaps = (spans.session[1:] == spans.session[:-1]) & (spans.start_ns[1:] < spans.end_ns[:-1])
    for after in np.flatnonzero(overlaps)[:1].tolist():
        seen = "generation windows overlap, so energy would count twice"
        yield error(SAMPLES, f"batch_id {samples.batch_id[firsts[order[after + 1]]]}", seen, "run again")


def _state(manifest: Manifest, summary: Summary) -> Iterator[Finding]:
    """Was the machine in a steady state, and ours alone?"""
    metered_s = summary.generation_s + summary.evaluation_s
    if not any(w.kind == "warmup" for session in manifest.sessions for w in session.windows):
        yield warning(MANIFEST, "sessions.windows", "no warm-up is recorded", "run again with this version")
    for check in summary.checks:
        place = f"checks.{check.channel[:60]}"
        if check.start_c is not None and check.end_c is not None and check.end_c - check.start_c > WARMING_C:
            seen = f"warmed by {check.end_c - check.start_c:.0f} °C while measured, more than {WARMING_C:.0f} °C"
            yield warning(SUMMARY, place, seen, "warm up longer, or repeat with --repeats")
        for reason, share in check.throttled.items():
            seen = f"clocks were held back by {reason[:60]} in {share:.0%} of the readings"
            yield warning(SUMMARY, place, seen, "look at cooling and power limit with `bench doctor`")
    for total in summary.channels:
        moved = drift(total.idle_before, total.idle_after)
        gross_j = (total.generation.gross_j or 0.0) + (total.evaluation.gross_j or 0.0)
        if total.counted and moved and gross_j > 0 and moved.warning(metered_s, gross_j):
            seen = f"idle power drifted enough to move net energy by more than {DRIFT:.0%} of gross"
            yield warning(SUMMARY, f"channels.{total.channel[:60]}.idle_after", seen, "warm up longer; repeat")
    busiest = max((session.busy or 0.0 for session in manifest.sessions), default=0.0)
    if busiest > BUSY:
        seen = f"CPUs were {busiest:.0%} busy while idle was measured"
        yield warning(MANIFEST, "sessions.busy", seen, "run on a machine of its own")


def _verdicts(samples: SampleTable) -> Iterator[Finding]:
    doubted = int(samples.doubted.sum())
    if doubted:
        yield warning(SAMPLES, "verdict.suspect", f"{doubted} passes are under suspicion", "look at their completions")
    silent = int((samples.judged & ~samples.evaluated).sum())
    if silent:
        seen = f"{silent} of {len(samples)} samples were not evaluated and count neither way"
        yield warning(SAMPLES, "verdict.status", seen, "score them with `bench score`")
