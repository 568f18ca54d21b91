"""Can it have been so? Power within the device's limits, windows long enough, a steady state, times in order."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from passkwh.harness.meter.condition import DRIFT, WARMING_C, drift
from passkwh.harness.meter.series import seconds
from passkwh.harness.run_warnings import BUSY, SHORT_WINDOW_S
from passkwh.harness.runs.folder import MANIFEST, SAMPLES, SUMMARY, TRACE
from passkwh.harness.runs.table import SampleTable
from passkwh.records import ChannelTotal, Manifest, Summary
from passkwh.reports.leaderboard.findings import Finding, error, warning
from passkwh.reports.leaderboard.parse import MAX_ENTRIES, Submission

OVERSHOOT = 1.1
"""A device may draw a tenth more than its power limit on average over a run; more is not possible."""
MOST_POWER_W = 20_000.0
"""No channel of one machine draws more."""
LEAST_POWER_W = 0.01
"""No machine that generates draws less."""
FASTEST_TOKENS_PER_S = 1e6
CLOCK_SLACK_S = 0.05
"""Latency and window are read by the same clock a moment apart."""
FIRST_YEAR, LAST_YEAR = 2015, 2100
"""No run is older than the meters that are read here."""
LONGEST_NS = 366 * 24 * 3600 * 10**9
MOST_RESETS = 3
"""A counter may start again with its driver, so many times a run."""
QUANTITIES = ("energy_j", "power_w", "power_1s_w")
REPEAT_LONGER = "run more tasks (--limit) or more samples (--samples)"


def implausible(submission: Submission) -> list[Finding]:
    """Findings on a run whose figures follow from its marks and trace."""
    manifest, samples, summary = submission.manifest, submission.samples, submission.summary
    return [
        *_machine(manifest),
        *_provenance(manifest),
        *_power(manifest, summary),
        *_readings(manifest, submission.trace_table),
        *_times(manifest, samples, summary),
        *_entries(samples),
        *_state(manifest, summary),
        *_verdicts(samples),
    ]


def _machine(manifest: Manifest) -> Iterator[Finding]:
    """Is there such a machine, and such a day?"""
    host, meter = manifest.host, manifest.meter
    sizes = [
        ("host.cores", host.cores, 1, 2**16), ("host.memory_bytes", host.memory_bytes, 2**20, 2**56),
        ("meter.interval_s", meter.interval_s, 1e-6, 3600.0),
        ("model.parameters", manifest.model.parameters, 0, 10**15),
        ("benchmark.tasks", manifest.benchmark.tasks, 1, 10**7),
        *((f"host.gpus.{i}.memory_bytes", gpu.memory_bytes, 0, 2**50) for i, gpu in enumerate(host.gpus)),
        *((f"host.gpus.{i}.power_limit_w", gpu.power_limit_w, 0, MOST_POWER_W) for i, gpu in enumerate(host.gpus)),
        *((f"sessions.{session.index}.busy", session.busy, 0, 1.5) for session in manifest.sessions),
    ]  # fmt: skip
    for field, value, least, most in sizes:
        if value is not None and not least <= value <= most:
            yield error(MANIFEST, field, f"is {value:.6g}, not between {least:.6g} and {most:.6g}", "run again")
    for session in manifest.sessions:
        try:
            year = datetime.fromisoformat(session.started_at).year
        except ValueError:
            year = 0
        if not FIRST_YEAR <= year <= LAST_YEAR:
            seen = f"is {session.started_at[:40]!r}, no time of these days"
            yield error(MANIFEST, f"sessions.{session.index}.started_at", seen, "set the machine's clock and run again")


def _provenance(manifest: Manifest) -> Iterator[Finding]:
    """Is a figure called what its meter is?"""
    meters = {name.partition(":")[0] for name in (manifest.meter.name, manifest.spec.meter)}
    for channel in manifest.meter.channels:
        text = f"{channel.name} {channel.source} {channel.note or ''}".lower()
        invented = bool(meters & {"simulated", "replay"}) or any(word in text for word in ("simulated", "invented"))
        is_estimate = "estimate" in meters or "estimate" in text
        honest = "simulated" if invented else "estimated" if is_estimate else channel.provenance
        if channel.provenance != honest:
            seen = f"is called {channel.provenance}, and its meter is one of {honest} figures"
            yield error(MANIFEST, f"meter.channels.{channel.name}.provenance", seen, "call it what it is")


def _readings(manifest: Manifest, trace: pa.Table) -> Iterator[Finding]:
    """Does the trace go forward, as a recorder writes it, and do counters rise?"""
    if not trace.num_rows:
        return
    session, time_ns = (trace[name].to_numpy().astype(np.int64) for name in ("session", "time_ns"))
    value = trace["value"].to_numpy().astype(np.float64)
    if session.min() < 0 or session.max() >= len(manifest.sessions):
        yield error(TRACE, "session", "is none of the manifest's", "run again")
    if time_ns.max() - time_ns.min() > LONGEST_NS:
        yield error(TRACE, "time_ns", "goes over more than a year", "look at the clock")
    texts = {name: trace[name].unify_dictionaries().combine_chunks() for name in ("channel", "quantity")}
    channel, quantity = (text.indices.to_numpy().astype(np.int64) for text in texts.values())
    names, quantities = (text.dictionary.to_pylist() for text in texts.values())
    order = np.lexsort((np.arange(len(session)), quantity, channel, session))
    same = np.all([np.diff(codes[order]) == 0 for codes in (session, channel, quantity)], axis=0)
    steps, rises = np.diff(time_ns[order]), np.diff(value[order])
    if (back := np.flatnonzero(same & (steps < 0))).size:
        yield error(TRACE, "time_ns", f"goes back in time {back.size} times", "leave the trace as it was recorded")
    for code, name in enumerate(names):
        for kind, word in enumerate(quantities):
            if word not in QUANTITIES:
                continue
            mine = (channel == code) & (quantity == kind)
            if (value[mine] < 0).any():
                yield error(TRACE, f"{name}, {word}", "is negative", "look at the meter")
            within = same & mine[order][1:]
            falls, rising = (int(np.count_nonzero(within & went)) for went in (rises < 0, rises > 0))
            if word == "energy_j" and falls > MOST_RESETS and falls * 20 > rising:
                seen = f"falls {falls} times and rises {rising} times, as no counter does"
                yield error(TRACE, f"{name}, {word}", seen, "leave the trace as it was recorded")


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
            elif length_s and energy.gross_j / length_s > most_w:
                seen = (
                    f"mean power of {energy.gross_j / length_s:.0f} W, more than the device can draw ({most_w:.0f} W)"
                )
                yield error(SUMMARY, f"{place}.{stage}", seen, "look at the meter's unit and the clock of the windows")
        yield from _idle(total, place, most_w)
    metered_s = summary.metered_s
    gross_j = summary.gross_energy_j
    if gross_j is not None and gross_j < LEAST_POWER_W * metered_s:
        seen = f"is {gross_j:.4g} J over {metered_s:.1f} s, less than any device draws"
        yield error(SUMMARY, "gross_energy_j", seen, "look at the meter")


def _idle(total: ChannelTotal, place: str, most_w: float) -> Iterator[Finding]:
    idle_w = total.idle_before.mean_w
    if idle_w is not None and not 0 <= idle_w <= most_w:
        yield error(SUMMARY, f"{place}.idle_before", f"is {idle_w:.4g} W", "look at the meter")
    if total.counted and idle_w is None:
        reason = total.idle_before.reason or "no reason given"
        yield warning(SUMMARY, f"{place}.idle_before", f"is missing ({reason[:120]})", "run with --idle-s 10")


def _times(manifest: Manifest, samples: SampleTable, summary: Summary) -> Iterator[Finding]:
    metered_s = summary.metered_s
    if manifest.imported is not None:
        seen = f"{manifest.imported.why_no_energy}, so it has no place among energies"
        yield warning(MANIFEST, "imported", seen, "run the model under a meter with `bench run`")
    elif metered_s < SHORT_WINDOW_S:
        seen = f"metered for {metered_s:.1f} s, less than {SHORT_WINDOW_S:.0f} s"
        yield warning(SUMMARY, "generation_s", seen, REPEAT_LONGER)
    speed = summary.tokens_per_s
    if speed is not None and speed > FASTEST_TOKENS_PER_S:
        yield error(SUMMARY, "tokens_per_s", f"is {speed:.4g}, more than any machine's", "look at the clock")
    longest = manifest.spec.max_new_tokens
    spans, tokens, latencies_s = samples.generation, samples.completion_tokens, samples.latency_s
    lengths_s = seconds(spans.end_ns - spans.start_ns, 0)
    late = np.abs(latencies_s - lengths_s) > CLOCK_SLACK_S + 0.01 * lengths_s
    many = tokens > longest if longest is not None else np.zeros(len(samples), dtype=np.bool_)
    at_once = (lengths_s == 0) & (tokens > 0)
    if manifest.imported is not None:  # its windows are empty: what another tool timed is not on this clock
        late = at_once = np.zeros(len(samples), dtype=np.bool_)
    for sample in np.flatnonzero(late | many | at_once)[:1].tolist():
        place = f"batch_id {samples.batch_id[sample]}"
        if late[sample]:
            seen = f"latency of {latencies_s[sample]:.3f} s in a window of {lengths_s[sample]:.3f} s"
            yield error(SAMPLES, place, seen, "both are written by `bench run`: run again")
        elif many[sample]:
            yield error(SAMPLES, place, f"has more completion tokens than the {longest} allowed", "run again")
        else:
            yield error(SAMPLES, place, "generated tokens in no time", "run again")
    yield from _overlap(samples)


def _overlap(samples: SampleTable) -> Iterator[Finding]:
    """Batches, and stretches, come one after the other: those that overlap would count the same joules twice."""
    firsts, spans = samples.firsts, samples.measured
    order = np.lexsort((spans.start_ns, spans.session))
    spans = spans.take(order)
    overlaps = (spans.session[1:] == spans.session[:-1]) & (spans.start_ns[1:] < spans.end_ns[:-1])
    for after in np.flatnonzero(overlaps)[:1].tolist():
        seen = "generation windows overlap, so energy would count twice"
        yield error(SAMPLES, f"batch_id {samples.batch_id[firsts[order[after + 1]]]}", seen, "run again")


def _state(manifest: Manifest, summary: Summary) -> Iterator[Finding]:
    """Was the machine in a steady state, and ours alone?"""
    metered_s = summary.metered_s
    if manifest.imported is None and not any(
        w.kind == "warmup" for session in manifest.sessions for w in session.windows
    ):
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


def _entries(samples: SampleTable) -> Iterator[Finding]:
    """Are there no more scores and reasons than can be looked at?"""
    names = samples.table.schema.field("scores").type.num_fields
    reasons = pc.list_value_length(pc.struct_field(samples.table["verdict"].combine_chunks(), "suspect"))
    for field, count in (("scores", names), ("verdict.suspect", pc.max(reasons).as_py() or 0)):
        if count > MAX_ENTRIES:
            yield error(SAMPLES, field, f"has {count} entries, more than {MAX_ENTRIES}", "run again")


def _verdicts(samples: SampleTable) -> Iterator[Finding]:
    doubted = int(samples.doubted.sum())
    if doubted:
        yield warning(SAMPLES, "verdict.suspect", f"{doubted} passes are under suspicion", "look at their completions")
    silent = int((samples.judged & ~samples.evaluated).sum())
    if silent:
        seen = f"{silent} of {len(samples)} samples were not evaluated and count neither way"
        yield warning(SAMPLES, "verdict.status", seen, "score them with `bench score`")
