"""The thesis's claims asked of these runs: its four hypotheses, and its sentences on savings, size and accuracy."""

from __future__ import annotations

from itertools import pairwise

from passkwh.analysis.experiments import ExperimentName, technique, traits
from passkwh.analysis.scaling import interaction, size_exponent, tradeoff_shape
from passkwh.analysis.sentences import about_accuracy, about_energy
from passkwh.reports.document.content import Block, Bullets, Estimate, Heading, Sentence
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.document.section import Draft, FunctionSection
from passkwh.reports.document.text import count, listed, quantity, sentence, shown, span

TECHNIQUES = {"fine-tuning": "Fine-tuning", "awq": "AWQ", "gptq-int8": "GPTQ-Int8", "gptq-int4": "GPTQ-Int4"}

EXPERIMENT_OF: dict[str, ExperimentName] = {
    "fine-tuning": "fine-tuning", "awq": "awq", "gptq-int8": "gptq", "gptq-int4": "gptq",
}  # fmt: skip


def build(evidence: Evidence) -> Draft:
    """Four hypotheses, then what the thesis concludes of savings, size and the trade-off."""
    blocks: list[Block] = [
        Bullets(items=(_meter(evidence), _savings_without_loss(evidence), _optimum(evidence), _verdicts(evidence)))
    ]
    conclusions = [*_up_to(evidence), *_size(evidence), *_interaction(evidence), *_shape(evidence)]
    if conclusions:
        blocks += [Heading(text="Savings, size and accuracy"), Bullets(items=tuple(conclusions))]
    return Draft(tuple(blocks))


def _meter(evidence: Evidence) -> Sentence:
    checks = [check for run in evidence.runs for check in run.summary.checks if check.balance_error is not None]
    kinds = sorted({evidence.provenance(label) for label in evidence.labels})
    apart = [c.power_disagreement for c in checks if c.power_disagreement is not None]
    parts = ["Hypothesis 1, software measures energy accurately: energies here are ", listed(kinds), ". "]
    if checks:
        worst = max(abs(c.balance_error or 0.0) for c in checks)
        parts.append(f"Windows and the rest of each trace add up to its total within {worst:.2%}. ")
    parts.append(
        f"Counter and power sensor differ by at most {max(map(abs, apart)):.1%}."
        if apart
        else "A second instrument that would show accuracy was not read: it cannot be answered by these runs alone."
    )
    return sentence(*parts)


def _savings_without_loss(evidence: Evidence) -> Sentence:
    alpha, margin = round(1 - evidence.settings.level, 12), evidence.settings.margin
    names: tuple[ExperimentName, ...] = ("fine-tuning", "awq", "gptq")
    changes = [c for name in names for c in evidence.changes.get(name, ())]
    if not changes:
        return sentence("Hypothesis 2, fine-tuning and quantization save energy without substantial loss of "
                        "accuracy: these "
                        "runs hold no model with and without them.")  # fmt: skip
    less = [
        c for c in changes if about_energy(c.tests, alpha).verdict == "difference" and (c.tests.energy.effect or 1) < 1
    ]
    kept = [c for c in less if about_accuracy(c.tests, margin, alpha).verdict in ("equal", "not worse", "gain")]
    lost = [c for c in less if about_accuracy(c.tests, margin, alpha).verdict == "loss"]
    return sentence(
        "Hypothesis 2, fine-tuning and quantization save energy without substantial loss of accuracy: of ",
        count(len(changes), "comparison"), ", less energy is shown in ", quantity(len(less), style="integer"),
        ", with no loss "
        "beyond ", quantity(margin), " of pass@1 shown in ", quantity(len(kept), style="integer"), " of these and a "
                                                                                                   "loss in ",
        quantity(len(lost), style="integer"), ".",
    )  # fmt: skip


def _optimum(evidence: Evidence) -> Sentence:
    tradeoff = evidence.analysis.tradeoff
    on = [p.label for p in tradeoff.points if p.on_frontier] if tradeoff else []
    if tradeoff is None or not on:
        return sentence(
            "Hypothesis 3, there is an optimal configuration: these runs have no energy and accuracy to weigh."
        )
    text = (
        f"{len(on)} of {len(tradeoff.points)} configurations are on the frontier, so which is best depends on what a "
    )
    return sentence(
        "Hypothesis 3, there is an optimal configuration: ", text if len(on) > 1 else "one configuration beats all "
                                                                                      "others: ",
        "task is worth; its knee is " + str(tradeoff.knee) + "." if len(on) > 1 and tradeoff.knee
        else "task is worth." if len(on) > 1 else f"{on[0]}.",
    )  # fmt: skip


def _verdicts(evidence: Evidence) -> Sentence:
    evaluated = int(evidence.table.evaluated.sum())
    silent = sum(run.summary.not_evaluated for run in evidence.runs)
    what = "Hypothesis 4, unit tests ensure correct code: "
    if not evaluated:
        return sentence(what, "nothing was executed in these runs.")
    return sentence(
        what, "every pass here ran the benchmark's tests in the sandbox (", count(evaluated, "verdict"), ", ",
        count(silent, "sample"), " without one). Tests show that code does what they ask, not that it is correct "
                                 "beyond them.",
    )  # fmt: skip


def _up_to(evidence: Evidence) -> list[Sentence]:
    """The largest saving of each technique, as the thesis states it."""
    sentences = []
    for name, title in TECHNIQUES.items():
        own = [
            (ratio, change)
            for change in evidence.changes.get(EXPERIMENT_OF[name], ())
            if technique(evidence.first_run(change.label)) in (name, "instruct")
            and (ratio := change.contrast("energy_kwh").ratio).estimate is not None
        ]
        if not own:
            continue
        ratio, best = min(own, key=lambda entry: entry[0].estimate or 1.0)
        saved = Estimate(value=_saved(ratio.estimate), low=_saved(ratio.high), high=_saved(ratio.low))
        against = f" ({best.label} against {best.reference}; of "
        if saved.value is not None and saved.value > 0:
            text = sentence(
                f"{title} saves up to ", span(saved, "%"), " of energy", against, count(len(own), "comparison")
            )
        else:
            text = sentence(f"{title} saves energy nowhere: at best ", span(saved, "%"), against,
                            count(len(own), "comparison"))  # fmt: skip
        sentences.append(sentence(text, ")."))
    return sentences


def _saved(ratio: float | None) -> float | None:
    return None if ratio is None else 100.0 * (1.0 - ratio)


def _points(evidence: Evidence) -> list[tuple[str, float, float]]:
    """Configurations with an energy (kWh) and a size."""
    points = []
    for label in evidence.labels:
        energy, size = evidence.headline("energy_kwh", label).value, evidence.first_run(label).manifest.model.parameters
        if energy is not None and energy > 0 and size:
            points.append((label, float(size), energy))
    return points


def _size(evidence: Evidence) -> list[Sentence]:
    """Whether energy is linear in size, for each technique with three sizes."""
    groups: dict[str, list[tuple[float, float]]] = {}
    for label, size, energy in _points(evidence):
        run = evidence.first_run(label)
        groups.setdefault(f"{traits(run).family} {technique(run)}", []).append((size, energy))
    sentences = []
    for name, own in groups.items():
        fit = size_exponent([s for s, _ in own], [e for _, e in own], evidence.settings.level)
        if fit is not None and len({s for s, _ in own}) > 2:
            words = "linearly is among what this allows" if fit.low <= 1 <= fit.high else (
                "less than linearly" if fit.high < 1 else "more than linearly"
            )  # fmt: skip
            sentences.append(
                sentence(f"{name}: energy grows as size to the power ", quantity(fit.estimate), f" [{shown(fit.low)}, "
                         f"{shown(fit.high)}] ({len(own)} sizes): {words}.")
            )  # fmt: skip
    return sentences


def _interaction(evidence: Evidence) -> list[Sentence]:
    """Whether larger models save relatively more by a technique."""
    rows = []
    names: tuple[ExperimentName, ...] = ("awq", "gptq")
    for name in names:
        for change in evidence.changes.get(name, ()):
            ratio, run = change.contrast("energy_kwh").ratio.estimate, evidence.first_run(change.label)
            if ratio and run.manifest.model.parameters:
                rows.append((float(run.manifest.model.parameters), technique(run), ratio))
    rows = list(dict.fromkeys(rows))
    fit = (
        interaction([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows], evidence.settings.level)
        if rows
        else None
    )
    if fit is None:
        return []
    if fit.high < 0:
        direction = "larger models save relatively more"
    else:
        direction = "smaller models save relatively more" if fit.low > 0 else "savings are not shown to depend on size"
    return [
        sentence("Size and quantization: the energy ratio changes as size to the power ", quantity(fit.estimate,
        sign=True),
                 f" [{shown(fit.low)}, {shown(fit.high)}] over {fit.n} comparisons: {direction}.")
    ]  # fmt: skip


def _shape(evidence: Evidence) -> list[Sentence]:
    """Whether the frontier's energy is exponential in accuracy."""
    tradeoff = evidence.analysis.tradeoff
    points = [p.values for p in tradeoff.points if p.on_frontier and None not in p.values] if tradeoff else []
    own = sorted((float(a), float(e)) for e, a in points if e is not None and a is not None and e > 0)
    shape = tradeoff_shape([a for a, _ in own], [e for _, e in own], evidence.settings.level)
    if shape is None or any(a == b for (a, _), (b, _) in pairwise(own)):
        return []
    better = shape.aic_difference
    verdict = "exponential rather than linear" if better > 2 else "linear rather than exponential" if better < -2 else (
        "neither form is shown to fit better"
    )  # fmt: skip
    return [
        sentence(
            f"Energy along the frontier, by pass@1 ({len(own)} configurations): {verdict} (R² ",
            quantity(shape.exponential.r_squared, style="fixed2"), " against ", quantity(shape.linear.r_squared,
            style="fixed2"),
            ", AIC ", quantity(better, sign=True), " for exponential). Sizes that rise geometrically make such a "
                                                   "curve too.",
        )
    ]  # fmt: skip


HYPOTHESES = FunctionSection(
    "hypotheses",
    "The thesis's hypotheses",
    "hypotheses 1-4, largest savings, energy by size and along the frontier",
    {"all": 15},
    build,
)
