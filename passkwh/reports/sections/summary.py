"""The summary in words, with intervals."""

from __future__ import annotations

from passkwh.analysis.effects_vs_reference import ReferenceEffect
from passkwh.analysis.error_model import FEWEST_UNITS
from passkwh.analysis.sentences import Claim, Verdict, about_accuracy, about_all, about_energy, first_of
from passkwh.measures import Unit
from passkwh.reports.document.content import Block, Bullets, Link, Number, Part, Sentence, Text
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.document.section import Draft, FunctionSection, everywhere
from passkwh.reports.document.text import count, listed, quantity, scaled, sentence, span
from passkwh.reports.sections.domain_contrasts import domain_summary

MOST_CHANGES = 8
"""So many comparisons of an experiment are told one by one; of more, only how many went which way."""


def build(evidence: Evidence) -> Draft | None:
    """What was compared, who wins on what and how sure that is, and what the experiments' one difference did."""
    blocks: list[Block] = [] if evidence.by_run else [Text(sentence=_scope(evidence), tone="lead")]
    if not_measured := _provenance(evidence):
        blocks.append(Bullets(items=(not_measured,), tone="warning"))
    if evidence.by_run:
        winner = _most_solved(evidence)
        return Draft((*([winner] if winner else []), *blocks)) if winner or blocks else None
    items = [*_without_verdicts(evidence), *_winners(evidence), *_frontier(evidence), *_any_difference(evidence)]
    for changes in evidence.changes.values():
        items += _experiment(changes, evidence)
    if evidence.outline in ("granularity", "all") and evidence.domains:
        items += domain_summary(evidence)
    blocks.append(Bullets(items=tuple(items)))
    blocks.append(
        Text(
            sentence=sentence(
                "In brackets stand ", quantity(evidence.settings.level * 100, "%", "integer"),
                " intervals from a bootstrap over ", _units(evidence), " with the errors of meter, idle power and "
                "repeats: how far other tasks of the same kind might move a figure, not what another machine would. "
                "What to doubt is listed under ",
                [Link(text="threats to validity", target="#threats")], ".",
            ),
            tone="soft",
        )
    )  # fmt: skip
    return Draft(tuple(blocks))


def _units(evidence: Evidence) -> str:
    kinds = dict.fromkeys(c.unit for c in evidence.analysis.configurations)
    names = {"task": "tasks", "batch": "batches (one measurement each)", "time block": "blocks over time"}
    return " and ".join(names[kind] for kind in kinds)


def _most_solved(evidence: Evidence) -> Text | None:
    """Which run solves the most tasks per kilowatt-hour, where several solve any, and whether that is shown."""
    values = {label: evidence.headline("solved_per_kwh", label).value for label in evidence.labels}
    rated = {label: value for label, value in values.items() if value}
    if len(rated) < 2:
        return None
    best = max(rated, key=lambda label: rated[label])
    ranking = evidence.run_ranking
    first = () if ranking is None else first_of(ranking)
    value: list[Part] = [quantity(rated[best]), f" ({evidence.provenance(best)} energy)"]
    if first == (best,):
        text = sentence(best, " solves the most tasks per kilowatt-hour of these runs: ", value, ".")
    elif best in first:
        others = [label for label in first if label != best]
        text = sentence(
            "Which run solves the most tasks per kilowatt-hour is not shown: ", best, ", with ", value,
            f", shares the first rank with {listed(others)}.",
        )  # fmt: skip
    else:
        why = "" if ranking is None else f" of {best}"
        text = sentence(
            "Which run solves the most tasks per kilowatt-hour is not shown: the highest figure", why, " is ", value,
            ", and the runs cannot be ranked together.",
        )  # fmt: skip
    return Text(sentence=text, tone="lead")


def _scope(evidence: Evidence) -> Sentence:
    analysis, benchmark = evidence.analysis, evidence.runs[0].manifest.benchmark
    return sentence(
        [count(len(evidence.labels), "configuration")], " ran the same ", [count(analysis.tasks, "task")], " of ",
        f"{benchmark.name} {benchmark.version}", " in ", [count(len(evidence.runs), "run")],
        f"; energies are {analysis.settings.energy}, of generating and scoring together.",
    )  # fmt: skip


def _provenance(evidence: Evidence) -> Sentence | None:
    kinds: dict[str, list[str]] = {}
    for label in evidence.labels:
        kinds.setdefault(evidence.provenance(label), []).append(label)
    if set(kinds) == {"measured"}:
        return None
    texts = [f"{kind} for {'all' if len(names) == len(evidence.labels) else listed(names)}"
            for kind, names in kinds.items()]  # fmt: skip
    return sentence(f"Energy is {'; '.join(texts)}. Only measured energy is a measurement.")


def _without_verdicts(evidence: Evidence) -> list[Sentence]:
    """Which figures stand in for pass@1 where completions were not run."""
    if evidence.table.evaluated.any():
        return []
    benchmark = evidence.runs[0].manifest.benchmark.name
    parts: list[Part] = [
        f"{benchmark} has no pass@1 here: completions were not run, so there are no verdicts, no pass@kWh and no "
        "solved/kWh. "
    ]
    values = {
        name: {evidence.run_labels[i]: run.summary.metrics[name] for i, run in enumerate(evidence.runs)
               if name in run.summary.metrics}
        for name in dict.fromkeys(name for run in evidence.runs for name in run.summary.metrics_per_kwh)
    }  # fmt: skip
    if not any(values.values()):
        return [sentence(parts, "Of quality these runs say nothing; energy per token stands by itself.")]
    parts += ["In their place stand the ", Link(text="benchmark's own metrics", target="#table-metrics")]
    told = {name: own for name, own in values.items() if any(own.values())}
    for i, (name, own) in enumerate(told.items()):
        most = max(own.values())
        best = [label for label in own if own[label] == most]
        parts += [", " if i else ", best ", f"{name} ", quantity(most)]
        parts += [f" ({listed(best)})"] if len(evidence.labels) > 1 else []
    parts += [", and energy per token."]
    if nothing := [name for name, own in values.items() if own and name not in told]:
        parts += [
            f" Nobody is best by {listed(nothing, 20)}, which {'is' if len(nothing) == 1 else 'are'} 0 everywhere."
        ]
    return [sentence(parts)]


def _winners(evidence: Evidence) -> list[Sentence]:
    rankings = {ranking.measure: ranking for ranking in evidence.analysis.rankings}
    unit = evidence.energy_unit
    titles = {
        "pass_at_kwh": ("Most accuracy per energy", "pass@kWh ", Unit("", 1.0)),
        "energy_kwh": ("Least energy", "", unit),
        "pass_at_1": ("Most accurate", "pass@1 ", Unit("", 1.0)),
        "joules_per_token": ("Least energy per generated token", "", Unit("J/token", 1.0)),
    }
    sentences = []
    for measure, (title, name, shown) in titles.items():
        ranking = rankings.get(measure)
        if ranking is None or len(ranking.ranked) < 2:
            continue
        best = ranking.ranked[0].label
        value = evidence.headline(measure, best, shown.factor)
        if name and not value.value:  # nobody is best where nobody solved anything
            if measure == "pass_at_1":
                sentences.append(sentence("No configuration solved a task: who is most accurate cannot be said."))
            continue
        first = first_of(ranking)
        if len(first) == 1:
            end = f"; told apart from every other{_of_these_runs(evidence, measure, best)}."
            text = sentence(f"{title}: ", best, f", {name}", span(value, shown.name), end)
        else:
            others = [label for label in first if label != best]
            text = sentence(
                f"{title} is not shown: ", best, f", {name}", span(value, shown.name),
                f", shares the first rank with {listed(others)}.",
            )  # fmt: skip
        sentences.append(text)
    return sentences


def _of_these_runs(evidence: Evidence, measure: str, label: str) -> str:
    """What limits a claim about a configuration's energy to its runs; nothing for accuracy, which has no such limit."""
    reasons = [pair.scope_reason for pair in evidence.analysis.pairs if label in (pair.a, pair.b) and pair.scope_reason]
    return f" of these runs ({reasons[0]})" if reasons and measure != "pass_at_1" else ""


def words(claim: Claim) -> list[Part]:
    """A claim as parts of a sentence."""
    return [part if isinstance(part, str) else Number(value=part.value, text=part.text) for part in claim.words]


def _frontier(evidence: Evidence) -> list[Sentence]:
    tradeoff = evidence.analysis.tradeoff
    if tradeoff is None or len(tradeoff.points) < 2:
        return []
    on = sorted((p for p in tradeoff.points if p.on_frontier), key=lambda p: p.values[0] or 0.0)
    few = evidence.analysis.units < FEWEST_UNITS
    unsure = [] if few else [p for p in on if p.probability < evidence.settings.level]
    parts: list[Part] = [
        "On the efficient frontier of energy and accuracy: ", listed([p.label for p in on], 12),
        f"; its knee is {tradeoff.knee}" if tradeoff.knee else "; it has no knee",
    ]  # fmt: skip
    if unsure:
        least = min(unsure, key=lambda p: p.probability)
        parts += [
            "; least sure to be on it is ", least.label, ", in ", quantity(least.probability * 100, "%", "integer"),
            " of resamples",
        ]  # fmt: skip
    return [sentence(parts, ".")]


def _any_difference(evidence: Evidence) -> list[Sentence]:
    analysis = evidence.analysis
    claim = about_all(analysis.any_difference, analysis.pairs, round(1 - evidence.settings.level, 12))
    return [sentence(words(claim))]


def _experiment(changes: tuple[ReferenceEffect, ...], evidence: Evidence) -> list[Sentence]:
    if len(changes) > MOST_CHANGES or len(evidence.changes) > 1:
        return [_tally(changes, evidence)] if changes else []
    return [change_sentence(change, evidence) for change in changes]


def change_sentence(change: ReferenceEffect, evidence: Evidence) -> Sentence:
    """One configuration against its reference."""
    energy, accuracy = change.contrast("energy_kwh").ratio, change.contrast("pass_at_1").difference
    alpha = round(1 - evidence.settings.level, 12)
    parts: list[Part] = [change.label, " against ", change.reference, ": energy × ", *span(scaled(energy)), ", "]
    parts += words(about_energy(change.tests, alpha))
    if accuracy.estimate is not None:
        parts += ["; pass@1 ", *span(scaled(accuracy), sign=True), ", "]
        parts += words(about_accuracy(change.tests, evidence.settings.margin, alpha))
    return sentence(parts, ".")


def _tally(changes: tuple[ReferenceEffect, ...], evidence: Evidence) -> Sentence:
    name = next(name for name, own in evidence.changes.items() if own is changes)
    alpha, margin = round(1 - evidence.settings.level, 12), evidence.settings.margin
    differ = [c for c in changes if about_energy(c.tests, alpha).verdict == "difference"]
    ratios = [c.tests.energy.effect or 1.0 for c in differ]
    reasons = dict.fromkeys(c.tests.scope_reason for c in differ if c.tests.scope_reason)
    verdicts = [about_accuracy(c.tests, margin, alpha).verdict for c in changes]
    said: list[Part] = []
    named: tuple[tuple[Verdict, str], ...] = (
        ("loss", "a loss of accuracy is shown for "), ("gain", "a gain for "), ("equal", "equality for "),
        ("not worse", "no loss beyond the margin for "), ("not known", "neither is known for "),
    )  # fmt: skip
    for verdict, text in named:
        if number := verdicts.count(verdict):
            said += [", " if said else "; ", text, quantity(number, style="integer")]
    return sentence(
        f"Experiment {name}: of ", count(len(changes), "comparison"), " with the family's reference, ",
        quantity(sum(r < 1 for r in ratios), style="integer"), " are shown to use less energy and ",
        quantity(sum(r >= 1 for r in ratios), style="integer"), " more",
        f" (of these runs: {'; '.join(reasons)})" if reasons else "", said,
        [" (margin ", quantity(margin), ")"] if said else "", ".",
    )  # fmt: skip


SUMMARY = FunctionSection(
    "summary", "Summary", "who wins on what, and how sure that is", {"short": 10, **everywhere(10)}, build
)
