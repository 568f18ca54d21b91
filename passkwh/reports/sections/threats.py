"""Threats to validity, filled in from the data: what a reader should doubt, and what it would take to doubt less."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from passkwh.analysis.frames import Run
from passkwh.analysis.sentences import about_accuracy
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


def _where(evidence: Evidence, holds: Callable[[Run], bool]) -> str:
    """The configurations of the runs of which something holds, in words; empty where there are none."""
    labels = [label for label, run in zip(evidence.run_labels, evidence.runs, strict=True) if holds(run)]
    return _who(labels, evidence) if labels else ""


def _energy(evidence: Evidence) -> Iterator[Sentence]:
    channels = [channel for run in evidence.runs for channel in run.manifest.meter.channels]
    for kind in ("estimated", "simulated"):
        names = {c.name for c in channels if c.counted and c.provenance == kind}
        if who := _where(evidence, lambda run: _counts(run, kind)):  # noqa: B023  (called at once)
            yield sentence(
                f"Not measured: {listed(sorted(names))} of {who} is {kind}. Its error is not in the intervals; ratios "
                "between configurations suffer less where the same model of power served both."
            )
    least, limit = quantity(min(map(_metered_s, evidence.runs)), "s"), quantity(SHORT_WINDOW_S, "s", "integer")
    if who := _where(evidence, lambda run: _metered_s(run) < SHORT_WINDOW_S):
        yield sentence(
            f"Short windows: {who} was metered for less than ", limit, ", the shortest for ", least,
            ": edges of counters and clocks are a visible part of the energy.",
        )  # fmt: skip
    else:
        yield sentence("Windows are long enough: the shortest run was metered for ", least, ", above ", limit, ".")
    yield from _idle_and_machine(evidence)
    if uncounted := sorted({c.name for c in channels if not c.counted}):
        yield sentence(
            f"Read but in no total, being part of another channel or a constant estimate: {listed(uncounted)}."
        )
    kinds = sorted({c.name.split(":")[0] for c in channels if c.counted})
    yield sentence(
        f"The total is of {listed(kinds)} only: fans, disks, power supplies and cooling draw more that is not in it."
        if kinds
        else "No channel was metered, so nothing is said about energy."
    )


def _counts(run: Run, provenance: str) -> bool:
    return any(c.counted and c.provenance == provenance for c in run.manifest.meter.channels)


def _metered_s(run: Run) -> float:
    return run.summary.metered_s


def _idle_moved(run: Run) -> bool:
    """Whether idle power moved by enough to change net energy."""
    gross_j = run.summary.gross_energy_j
    drifts = [drift(total.idle_before, total.idle_after) for total in run.summary.channels if total.counted]
    return gross_j is not None and any(one and one.warning(_metered_s(run), gross_j) for one in drifts)


def _disagreement(run: Run) -> float:
    """By how much the power sensor and the energy counter of a channel disagree at most, as a share."""
    return max((abs(c.power_disagreement or 0.0) for c in run.summary.checks), default=0.0)


def _idle_and_machine(evidence: Evidence) -> Iterator[Sentence]:
    conditions: tuple[tuple[str, Callable[[Run], bool]], ...] = (
        (
            "Idle power moved during {} by enough to change net energy: read gross, or take net anew with bench "
            "analyze --energy net --idle mean.",
            _idle_moved,
        ),
        (
            "Idle power is unknown before or after {}: drift cannot be ruled out.",
            lambda run: any(
                c.counted and None in (c.idle_before.mean_w, c.idle_after.mean_w) for c in run.summary.channels
            ),
        ),
        (
            "The machine was not ours alone while idle was measured for {}.",
            lambda run: any((session.busy or 0.0) > BUSY for session in run.manifest.sessions),
        ),
        (
            "Interrupted and resumed: {}; each session has an idle of its own.",
            lambda run: len(run.manifest.sessions) > 1,
        ),
        (
            "Clocks were held back for part of {}: it ran slower than it could.",
            lambda run: any(sum(c.throttled.values()) > 0 for c in run.summary.checks),
        ),
    )
    for text, holds in conditions:
        if who := _where(evidence, holds):
            yield (text.replace("{}", who, 1),)
    if who := _where(evidence, lambda run: _disagreement(run) > DISAGREEMENT):
        most = quantity(max(map(_disagreement, evidence.runs)) * 100, "%")
        yield sentence(f"Power sensor and energy counter disagree for {who} by up to ", most, ".")


def _design(evidence: Evidence) -> Iterator[Sentence]:
    once = [c.label for c in evidence.comparison.configurations if len(c.runs) == 1]
    if once:
        yield sentence(
            f"One run each of {_who(once, evidence)}: how much a repeat would differ (temperature, clocks, other load) "
            + (
                "is taken from the repeats of the others. Add --repeats."
                if evidence.table.measured.repeated
                else "is not in the intervals, and a difference in energy is one of these runs only. Add --repeats."
            )
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
    yield from _undecided(evidence)


def _undecided(evidence: Evidence) -> Iterator[Sentence]:
    """Of pairs in which no difference in accuracy is shown, whether equality is."""
    alpha, margin = round(1 - evidence.settings.level, 12), evidence.settings.margin
    verdicts = [about_accuracy(pair, margin, alpha).verdict for pair in evidence.analysis.pairs]
    without = [v for v in verdicts if v in ("equal", "not worse", "not known")]
    if unknown := len(without) - without.count("equal"):
        yield sentence(
            "That no difference in accuracy is shown does not show that there is none: of ",
            count(len(without), "pair"), " without a difference, equality within ", quantity(margin),
            " of pass@1 is shown for ", quantity(len(without) - unknown, style="integer"), ".",
        )  # fmt: skip


THREATS = FunctionSection(
    "threats", "Threats to validity", "what to doubt, filled in from the data", everywhere(80), build
)
