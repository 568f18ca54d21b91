"""Is a submission what it says? Schema, checksums, pass@k from the verdicts, energy from the trace, plausibility.

Everything a summary states is worked out again by the code that wrote it: the trace is integrated anew, verdicts are
counted anew, and every figure that comes out otherwise is named. What cannot be known from a pack is whether the
verdicts are true (the completions are in it: score them again) and whether the machine was what it is said to be.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from passkwh.harness.measure import Attribution, attribute
from passkwh.harness.meter.series import Bools, Floats
from passkwh.harness.runs.consistency import mismatch
from passkwh.harness.runs.folder import MANIFEST, SAMPLES, SUMMARY, TRACE
from passkwh.harness.runs.table import SampleTable
from passkwh.harness.summarise import summarise
from passkwh.records import Energy, Summary
from passkwh.reports.leaderboard.duplicates import NO_FINGERPRINT, Fingerprint, fingerprint_of
from passkwh.reports.leaderboard.findings import Finding, error, refuses, warning
from passkwh.reports.leaderboard.pack import Problem, read_pack
from passkwh.reports.leaderboard.parse import Submission, parse, short
from passkwh.reports.leaderboard.plausible import implausible

CLOSE = 1e-6
"""Figures worked out again agree within this share, or this much where they are about 0."""
ANOTHER_VERSION = 0.01
"""Energies within this share of the run's may come from an earlier way of integrating the trace: a warning."""
SHORT_WINDOWS = 0.05
"""... and within this share of a sample's, whose window may be shorter than a counter's period."""
FROM_ENERGY = {
    "gross_energy_j", "net_energy_j", "energy_kwh", "generation_energy_j", "evaluation_energy_j", "pass_at_kwh",
    "solved_per_kwh", "joules_per_token", "joules_per_prompt_token", "joules_per_decoded_token",
    "reasoning_energy_j", "reasoning_share", "steady_joules_per_token",
}  # fmt: skip
TAKEN_AS_STATED = {
    "warnings", "checks", "metrics", "metrics_per_kwh", "schema_version", "complete", "channels", "mean_exit_layer",
    "layers_skipped", "tokens_per_check", "draft_acceptance", "drafted_per_check", "energy_reason", "steady_reason",
}  # fmt: skip
"""Of a summary: words, what needs the benchmark's data or the model to redo, and channels, compared one by one."""
OLDER = "run again with this version for the better figure"
RERUN = "run `bench run` again; a summary is never written by hand"


@dataclass(frozen=True)
class Checked:
    """A pack that was looked at. ``submission`` is None where it could not be read, or was refused."""

    path: Path
    sha256: str
    findings: tuple[Finding, ...]
    submission: Submission | None
    fingerprint: Fingerprint = NO_FINGERPRINT

    @property
    def valid(self) -> bool:
        """Whether the submission may stand on a board."""
        return self.submission is not None and not refuses(self.findings)


def validate(path: Path) -> Checked:
    """Check one pack.

    Raises:
        UsageError: when the file cannot be read at all.
    """
    try:
        sha256, members = read_pack(path)
    except Problem as problem:
        return Checked(path, "", (problem.finding,), None)
    return check_members(path, sha256, members)


def check_members(path: Path, sha256: str, members: Mapping[str, bytes]) -> Checked:
    """Check the parts of a pack, or of a run that is to be packed."""
    try:
        submission = parse(members)
    except Problem as problem:
        return Checked(path, sha256, (problem.finding,), None)
    findings = list(_inconsistent(submission))
    if not refuses(findings):
        findings += _derived(submission)
        findings += implausible(submission)
    if not refuses(findings) and (seen := mismatch(submission.manifest, submission.summary, submission.samples)):
        findings.append(error(SUMMARY, "", f"contradicts the other parts: {seen}", RERUN))  # as every reader refuses it
    fingerprint = fingerprint_of(members, submission.samples)
    return Checked(path, sha256, tuple(findings), None if refuses(findings) else submission, fingerprint)


# ---------------------------------------------------------------- the parts fit together


def _inconsistent(submission: Submission) -> Iterator[Finding]:
    """What must hold before anything can be worked out from marks and trace."""
    manifest, summary, samples = submission.manifest, submission.summary, submission.samples
    if manifest.status != "complete" or not summary.complete:
        yield error(MANIFEST, "status", f"is {manifest.status!r}, not complete", "finish the run with --resume")
    if manifest.run_id != summary.run_id:
        yield error(SUMMARY, "run_id", f"is not the manifest's {manifest.run_id[:60]!r}", RERUN)
    if [session.index for session in manifest.sessions] != list(range(len(manifest.sessions))) or not manifest.sessions:
        yield error(MANIFEST, "sessions", "are not numbered 0, 1, ... in order", RERUN)
        return
    names = [channel.name for channel in manifest.meter.channels]
    if len(set(names)) != len(names):
        yield error(MANIFEST, "meter.channels", "names a channel more than once", RERUN)
    sessions = [w.session for session in manifest.sessions for w in session.windows]
    sessions += [*np.unique(samples.generation.session).tolist(), *np.unique(samples.evaluation.session).tolist()]
    last = len(manifest.sessions) - 1
    if any(not 0 <= session <= last for session in sessions):
        yield error(SAMPLES, "session", f"is not one of the manifest's {last + 1} sessions", RERUN)
    for what, values in (("key", samples.keys), ("order", samples.order.tolist())):
        if len(set(values)) != len(values):
            yield error(SAMPLES, what, "stands more than once", "finish the run properly with --resume")
    if len({*zip(samples.task.tolist(), samples.sample_index.tolist(), strict=True)}) != len(samples):
        yield error(SAMPLES, "sample_index", "the same sample of a task stands more than once", RERUN)
    if (samples.reasoning_tokens > samples.completion_tokens).any():
        yield error(SAMPLES, "reasoning", "has more tokens than were generated", RERUN)
    tasks = int(samples.task.max()) + 1
    if tasks != manifest.benchmark.tasks:
        yield error(SAMPLES, "task_id", f"{tasks} tasks; the manifest says {manifest.benchmark.tasks}", RERUN)
    elif len(samples) != tasks * manifest.spec.samples or samples.sample_index.max() >= manifest.spec.samples:
        yield error(
            SAMPLES,
            "",
            f"{len(samples)} samples of {tasks} tasks; the manifest asks {manifest.spec.samples} each",
            RERUN,
        )
    if manifest.spec.concurrency > 1:
        yield from _stretches(samples)
        return
    first = samples.firsts[samples.batch]
    ttft_s, spans = samples.ttft_s, samples.generation
    same = (ttft_s == ttft_s[first]) | (np.isnan(ttft_s) & np.isnan(ttft_s[first]))
    for mark in (samples.generation_kind, samples.generation_batch, spans.session, spans.start_ns, spans.end_ns):
        same &= mark == mark[first]
    if not same.all():
        batch = samples.batch_id[samples.firsts][samples.batch[~same].min()]
        yield error(SAMPLES, f"batch_id {batch}", "samples of one batch have different windows", RERUN)


def _stretches(samples: SampleTable) -> Iterator[Finding]:
    """Requests that were kept in flight have windows of their own, which make one stretch without a gap a session."""
    merged, measured = samples.generation.merged(), samples.measured
    same = samples.generation.session == measured.session[samples.batch]
    if len(merged.session) != len(measured.session) or not same.all():
        yield error(SAMPLES, "generation", "windows of requests in flight leave gaps between them", RERUN)


# ---------------------------------------------------------------- worked out again


def _derived(submission: Submission) -> Iterator[Finding]:
    manifest, summary = submission.manifest, submission.summary
    try:
        attributed = attribute(manifest, submission.samples, submission.trace)
        again = summarise(manifest, submission.samples, attributed.totals, summary.metrics)
    except (ArithmeticError, ValueError, LookupError) as problem:
        yield error(TRACE, "", f"energy cannot be worked out from it ({short(problem)})", RERUN)
        return
    yield from _summary_differs(summary, again)
    yield from _samples_differ(submission.samples, attributed)


def _summary_differs(stated: Summary, again: Summary) -> Iterator[Finding]:
    # What an older program did not write is not compared.
    written = stated.model_fields_set - TAKEN_AS_STATED
    ours, theirs = (s.model_dump(include=written) for s in (again, stated))
    gross_j = again.gross_energy_j or 0.0
    for name, value in ours.items():
        if _close(value, theirs[name]):
            continue
        seen = f"is {_shown(theirs[name])}; verdicts and trace give {_shown(value)}"
        if name in FROM_ENERGY and _nearly(
            value, theirs[name], gross_j if name.endswith("_j") else 0.0, ANOTHER_VERSION
        ):
            yield warning(SUMMARY, name, seen, OLDER)
        else:
            yield error(SUMMARY, name, seen, RERUN)
    channels = {total.channel: total for total in stated.channels}
    if set(channels) != {total.channel for total in again.channels}:
        yield error(SUMMARY, "channels", "are not those of the manifest's meter", RERUN)
        return
    for total in again.channels:
        other, place = channels[total.channel], f"channels.{total.channel[:60]}"
        if (total.provenance, total.counted) != (other.provenance, other.counted):
            yield error(SUMMARY, place, "is not the channel that the manifest describes", RERUN)
        for stage in ("generation", "evaluation"):
            a, b = getattr(total, stage), getattr(other, stage)
            if not _energy_within(a, b, ANOTHER_VERSION, gross_j):
                seen = f"is {_shown(b.gross_j)} J; the trace gives {_shown(a.gross_j)} J"
                yield error(SUMMARY, f"{place}.{stage}", seen, RERUN)
        if not _nearly(total.idle_before.mean_w, other.idle_before.mean_w, 0.0, ANOTHER_VERSION):
            yield error(SUMMARY, f"{place}.idle_before", "does not follow from the trace", RERUN)


def _samples_differ(stated: SampleTable, again: Attribution) -> Iterator[Finding]:
    """The first sample whose energies are not those that the trace gives."""
    differs: dict[int, str] = {}
    for part, ours, positions in (
        ("evaluation_energy", again.evaluation, again.scored),
        ("generation_energy", again.generation, np.arange(len(stated))),
        ("reasoning_energy", again.reasoning, again.thought),
    ):
        expected = np.zeros(len(stated), dtype=np.int64)
        expected[positions] = len(ours)
        wrong = expected != stated.channels_stated(part)
        for channel, energies in ours.items():
            theirs = stated.energy(part, channel)
            if theirs is None:
                wrong[positions] = True
                continue
            wrong[positions] |= ~theirs.is_stated[positions]
            scale_j = np.nan_to_num(np.abs(energies.gross_j))
            for a, b in ((energies.gross_j, theirs.gross_j), (energies.net_j, theirs.net_j)):
                wrong[positions] |= ~_all_nearly(a, b[positions], scale_j, SHORT_WINDOWS)
        differs |= dict.fromkeys(np.flatnonzero(wrong).tolist(), part)
    if differs:
        first = min(differs)
        place = f"{stated.tasks[first][:60]}, {differs[first]}"
        yield error(SAMPLES, place, "does not follow from the trace and the sample's windows", RERUN)


def _all_nearly(a: Floats, b: Floats, scale: Floats, share: float) -> Bools:
    """``_nearly`` of columns, NaN where missing."""
    near = np.abs(a - b) <= np.maximum(share * np.maximum(np.abs(a), np.maximum(np.abs(b), scale)), CLOSE)
    return np.asarray(np.isnan(b) | near, np.bool_)


def _energy_within(a: Energy, b: Energy, share: float, scale_j: float) -> bool:
    scale_j = max(scale_j, abs(a.gross_j or 0.0))
    return _nearly(a.gross_j, b.gross_j, scale_j, share) and _nearly(a.net_j, b.net_j, scale_j, share)


def _nearly(a: Any, b: Any, scale: float, share: float) -> bool:
    """Equal within a share of the larger of them and ``scale``; a figure that is not stated claims nothing."""
    if b is None:
        return True
    if a is None:
        return False
    if isinstance(a, dict) and isinstance(b, dict):
        return b.keys() <= a.keys() and all(_nearly(a[key], b[key], scale, share) for key in b)
    return math.isclose(a, b, rel_tol=share, abs_tol=max(share * scale, CLOSE))


def _close(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_close(a[key], b[key]) for key in a)
    if isinstance(a, (int, float)) and isinstance(b, (int, float)) and not isinstance(a, bool):
        return math.isclose(a, b, rel_tol=CLOSE, abs_tol=CLOSE)
    return bool(a == b)


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)[:80]
