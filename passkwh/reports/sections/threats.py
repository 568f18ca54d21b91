"""Threats to validity, filled in from the data: what a reader should doubt, and what it would take to doubt less."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from passkwh.harness.meter.condition import drift
from passkwh.harness.run_warnings import BUSY, SHORT_WINDOW_S
from passkwh.reports.document.content import Block, Bullets, Heading, Part, Sentence, Text
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.document.section import Draft, FunctionSection, everywhere
from passkwh.reports.document.text import count, listed, quantity, sentence

FEW_TASKS = 30
"""With fewer tasks, bootstrap intervals are rough (docs/statistics.md)."""
DISAGREEMENT = 0.05
"""Energy by sensor and by counter further apart than this share is worth telling."""


def build(evidence: Evidence) -> Draft:
    """What the data themselves say against the results, then what they cannot say."""
    items = (*_energy(evidence), *_design(evidence), *_accuracy(evidence))
    blocks: list[Block] = [
        Text(sentence=("Each line is filled in from these runs.",), tone="soft"),
        Bullets(items=items),
    ]
    blocks.append(Heading(text="Assumptions that failed"))
    subjects: dict[str, list[str]] = {}
    for finding in evidence.analysis.findings:
        subjects.setdefault(finding.text, []).append(finding.subject)
    if subjects:
        blocks.append(Bullets(items=tuple((f"{listed(whose, 4)}: {text}.",) for text, whose in subjects.items())))
    else:
        blocks.append(Text(sentence=("None of those that were tested (Durbin-Watson, Shapiro-Wilk, Levene).",)))
    if notes := evidence.analysis.notes:
        blocks += [Heading(text="Notes of the analysis"), Bullets(items=tuple((note,) for note in notes))]
    return Draft(tuple(blocks))


def _who(labels: Sequence[str], evidence: Evidence) -> str:
    distinct = list(dict.fromkeys(labels))
    return "every configuration" if len(distinct) == len(evidence.labels) else listed(distinct)


def _energy(evidence: Evidence) -> Iterator[Sentence]:
    runs = evidence.runs
    for kind in ("estimated", "simulated"):
        channels = {c.name for run in runs for c in run.manifest.meter.channels if c.counted and c.provenance == kind}
        who = [
            evidence.run_labels[i] for i, run in enumerate(runs)
            if any(c.counted and c.provenance == kind for c in run.manifest.meter.channels)
        ]  # fmt: skip
        if who:
            yield sentence(
                f"Not measured: {listed(sorted(channels))} of {_who(who, evidence)} is {kind}. Its error is not in the "
                "intervals; ratios between configurations suffer less where the same model of power served both."
            )
    short = [
        (run.summary.generation_s + run.summary.evaluation_s, evidence.run_labels[i]) for i, run in enumerate(runs)
    ]
    brief = [(s, label) for s, label in short if s < SHORT_WINDOW_S]
    least = min(short)[0]
    if brief:
        yield sentence(
            "Short windows: ", _who([label for _, label in brief], evidence), " was metered for less than ",
            quantity(SHORT_WINDOW_S, "s", "integer"), ", the shortest for ", quantity(least, "s"),
            ": edges of counters and clocks are a visible part of the energy.",
        )  # fmt: skip
    else:
        yield sentence(
            "Windows are long enough: the shortest run was metered for ", quantity(least, "s"), ", above ",
            quantity(SHORT_WINDOW_S, "s", "integer"), ".",
        )  # fmt: skip
    yield from _idle_drift(evidence)
    yield from _machine(evidence)
    uncounted = sorted({c.name for run in runs for c in run.manifest.meter.channels if not c.counted})
    if uncounted:
        yield sentence(
            f"Read but in no total, being part of another channel or a constant estimate: {listed(uncounted)}."
        )
    kinds = sorted({c.name.split(":")[0] for run in runs for c in run.manifest.meter.channels if c.counted})
    yield sentence(
        f"The total is of {listed(kinds)} only: fans, disks, power supplies and cooling draw more that is not in it."
        if kinds
        else "No channel was metered, so nothing is said about energy."
    )


def _idle_drift(evidence: Evidence) -> Iterator[Sentence]:
    moved = []
    for i, run in enumerate(evidence.runs):
        metered_s = run.summary.generation_s + run.summary.evaluation_s
        for total in run.summary.channels:
            gross_j = run.summary.gross_energy_j
            found = drift(total.idle_before, total.idle_after)
            if total.counted and gross_j is not None and found and found.warning(metered_s, gross_j):
                moved.append(evidence.run_labels[i])
    unknown = [
        evidence.run_labels[i] for i, run in enumerate(evidence.runs)
        if any(c.counted and None in (c.idle_before.mean_w, c.idle_after.mean_w) for c in run.summary.channels)
    ]  # fmt: skip
    if moved:
        yield sentence(
            f"Idle power moved during {_who(moved, evidence)} by enough to change net energy: read gross, or take net "
            "anew with bench analyze --energy net --idle mean."
        )
    if unknown:
        yield sentence(f"Idle power is unknown before or after {_who(unknown, evidence)}: drift cannot be ruled out.")


def _machine(evidence: Evidence) -> Iterator[Sentence]:
    runs = evidence.runs
    busy = [
        evidence.run_labels[i] for i, run in enumerate(runs)
        if max((session.busy or 0.0 for session in run.manifest.sessions), default=0.0) > BUSY
    ]  # fmt: skip
    if busy:
        yield sentence(f"The machine was not ours alone while idle was measured for {_who(busy, evidence)}.")
    resumed = [evidence.run_labels[i] for i, run in enumerate(runs) if len(run.manifest.sessions) > 1]
    if resumed:
        yield sentence(f"Interrupted and resumed: {_who(resumed, evidence)}; each session has an idle of its own.")
    hot = [
        evidence.run_labels[i]
        for i, run in enumerate(runs)
        if any(sum(c.throttled.values()) > 0 for c in run.summary.checks)
    ]
    if hot:
        yield sentence(f"Clocks were held back for part of {_who(hot, evidence)}: it ran slower than it could.")
    apart = [
        (abs(c.power_disagreement), evidence.run_labels[i]) for i, run in enumerate(runs) for c in run.summary.checks
        if c.power_disagreement is not None and abs(c.power_disagreement) > DISAGREEMENT
    ]  # fmt: skip
    if apart:
        yield sentence(
            "Power sensor and energy counter disagree for ", _who([label for _, label in apart], evidence),
            " by up to ", quantity(max(apart)[0] * 100, "%"), ".",
        )  # fmt: skip


def _design(evidence: Evidence) -> Iterator[Sentence]:
    once = [c.label for c in evidence.comparison.configurations if len(c.runs) == 1]
    if once:
        yield sentence(
            f"One run each of {_who(once, evidence)}: how much a repeat would differ (temperature, clocks, other load) "
            "is not in the intervals. Add --repeats."
        )
    if evidence.analysis.tasks < FEW_TASKS:
        yield sentence(
            "Few tasks: with ", count(evidence.analysis.tasks, "task"), ", fewer than ",
            quantity(FEW_TASKS, style="integer"), ", intervals are rough and tests find only large differences.",
        )  # fmt: skip
    order = sorted(
        (run.manifest.sessions[0].started_at, evidence.run_labels[i])
        for i, run in enumerate(evidence.runs)
        if run.manifest.sessions
    )
    switches = sum(a[1] != b[1] for a, b in pairwise(order))
    known = len({moment for moment, _ in order}) == len(order)
    if known and len(order) > len(evidence.labels) > 1 and switches < len(evidence.labels):
        yield sentence(
            "Configurations ran one after the other, not interleaved: what changed with time (heat, clocks) is mixed "
            "with what differs between them."
        )
    hosts = {(run.manifest.host.cpu, tuple(g.name for g in run.manifest.host.gpus)) for run in evidence.runs}
    yield sentence(
        "All on ", count(len(hosts), "kind of machine", "kinds of machine"),
        ": joules do not carry over to other hardware, and orders may change there.",
    )  # fmt: skip
    if evidence.left_out:
        yield sentence(f"Given but no part of this experiment, and left out: {listed(evidence.left_out)}.")


def _accuracy(evidence: Evidence) -> Iterator[Sentence]:
    runs = evidence.runs
    missing = [
        (run.summary.not_evaluated, evidence.run_labels[i]) for i, run in enumerate(runs) if run.summary.not_evaluated
    ]
    if missing:
        yield sentence(
            quantity(sum(n for n, _ in missing), "samples", "integer"), " of ",
            _who([who for _, who in missing], evidence), " have no verdict and count neither way: ",
            "accuracy is over the others.",
        )  # fmt: skip
    doubted: list[tuple[float, str]] = []
    for i, run in enumerate(runs):
        raw, trusted = run.summary.pass_at_k.get("1"), run.summary.pass_at_k_trusted.get("1")
        if raw is not None and trusted is not None and trusted < raw:
            doubted.append((raw - trusted, evidence.run_labels[i]))
    if doubted:
        parts: list[Part] = [
            "Passes under suspicion (a test that could not fail, or was tampered with) of ",
            _who([who for _, who in doubted], evidence), " count as passes; without them pass@1 is lower by up to ",
            quantity(max(doubted)[0], style="fixed4"), ".",
        ]  # fmt: skip
        yield sentence(parts)
    if not evidence.table.has_verdicts:
        yield sentence("Some or all configurations have no verdicts: nothing is said about what their code does.")
    cut = evidence.comparison.samples()
    truncated = float((cut["finish_reason"] == "length").mean())
    if truncated > 0:
        yield sentence(
            quantity(truncated * 100, "%"), " of completions were cut at the length limit: with more tokens they would "
            "cost more and might pass.",
        )  # fmt: skip
    pairs = evidence.analysis.pairs
    undecided = [p for p in pairs if p.accuracy.p_non_inferior is not None and not p.accuracy.non_inferior]
    if pairs and undecided:
        yield sentence(
            "That no difference in accuracy was found shows nothing: within ",
            quantity(evidence.settings.margin), " of pass@1, ‘not worse’ is shown for only ",
            quantity(len(pairs) - len(undecided), style="integer"), " of ", count(len(pairs), "pair"), ".",
        )  # fmt: skip


THREATS = FunctionSection(
    "threats", "Threats to validity", "what to doubt, filled in from the data", everywhere(80), build
)
