"""Which domains of BigCodeBench take more energy at equal tokens, from the regression with intercept."""

from __future__ import annotations

import math

from passkwh.analysis.domains import REGRESSION_DOMAINS
from passkwh.analysis.multiplicity import adjust
from passkwh.reports.document.content import Sentence
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.document.text import count, listed, quantity, sentence

Effects = dict[str, list[tuple[float, float]]]
"""By domain, the effect on log energy and its p-value (Holm over a configuration's domains) in each configuration."""


def _effects(evidence: Evidence) -> Effects:
    effects: Effects = {}
    for configuration in evidence.analysis.configurations:
        fit = next(f for f in configuration.regressions if f.method == "with intercept")
        own = [c for c in fit.coefficients if c.name in REGRESSION_DOMAINS and c.p_value is not None]
        for c, p in zip(own, adjust([c.p_value for c in own], "holm"), strict=True):
            effects.setdefault(c.name, []).append((c.estimate, 1.0 if p is None else p))
    return effects


def domain_sentences(evidence: Evidence) -> list[Sentence]:
    """A sentence for each domain: in how many configurations it is shown to cost more, or less, at equal tokens."""
    alpha = 1 - evidence.settings.level
    sentences = []
    for domain, own in _effects(evidence).items():
        more, less = (sum(p < alpha and (e > 0) == up for e, p in own) for up in (True, False))
        changes = [100 * math.expm1(e) for e, _ in own]
        sentences.append(
            sentence(
                f"{domain}: at equal tokens shown to take more energy in ", quantity(more, style="integer"),
                " and less in ", quantity(less, style="integer"), " of ", count(len(own), "configuration"), " (",
                quantity(min(changes), "%", sign=True), " to ", quantity(max(changes), "%", sign=True), ").",
            )
        )  # fmt: skip
    return sentences


def domain_summary(evidence: Evidence) -> list[Sentence]:
    """Which domains are shown to take more, or less, energy in any configuration; none where tasks have no domains."""
    alpha = 1 - evidence.settings.level
    effects = _effects(evidence)
    if not effects:
        return []
    shown: dict[bool, list[str]] = {True: [], False: []}
    for domain, own in effects.items():
        for more in (True, False):
            number = sum(p < alpha and (e > 0) == more for e, p in own)
            if number:
                shown[more].append(f"{domain} (in {number} of {len(own)} configurations)")
    either = {text.split(" (")[0] for texts in shown.values() for text in texts}
    rest = [domain for domain in effects if domain not in either]
    return [
        sentence(
            "Domains at equal tokens, by the regression with intercept: more energy is shown for ",
            listed(shown[True], 7), ", less for ", listed(shown[False], 7), ", no difference for ", listed(rest, 7),
            ".",
        )
    ]  # fmt: skip
