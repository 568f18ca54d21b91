"""What may be said, and the test that allows it: the one place in which results become words.

A difference is *shown*, equality within a margin is *shown*, or neither is *known*; the three are told apart, whichever
of two configurations is named first. A loss that is shown is called a loss. A difference in energy is one of the
configurations only where their runs were repeated; otherwise it is one of these runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from passkwh.analysis.multiplicity import adjust
from passkwh.analysis.pairs import PairTests
from passkwh.analysis.planning import ASSUMED_RUN_SD, repeats_to_show
from passkwh.analysis.ranking import Ranking
from passkwh.analysis.results import TestResult
from passkwh.analysis.tables import cell_text


class Figure(NamedTuple):
    """A number in a sentence."""

    value: float
    text: str


Words = tuple[str | Figure, ...]
Verdict = Literal["difference", "loss", "gain", "equal", "not worse", "not known", "cannot be said"]


class Claim(NamedTuple):
    """What is said, in words, and what kind of statement it is."""

    verdict: Verdict
    words: Words

    @property
    def text(self) -> str:
        """As plain text."""
        return "".join(part if isinstance(part, str) else part.text for part in self.words)


def p_of(value: float) -> Figure:
    """p as sentences write it."""
    text = cell_text(value, "p")
    return Figure(value, f"p {text}" if text.startswith("<") else f"p = {text}")


def _margin(value: float) -> Figure:
    return Figure(value, f"{value:g}")


def about_energy(tests: PairTests, alpha: float, run_sd: float | None = None) -> Claim:
    """Whether a pair's energies differ: of the configurations, or of these runs, and then what it takes to say more.

    ``run_sd`` is the scatter of runs (of log energy) where it is known from others.
    """
    p = tests.energy_p_holm
    if p is None:
        return Claim("cannot be said", (f"whether energies differ cannot be said ({tests.energy.reason})",))
    basis: Words = (f" ({tests.energy.test}, Holm: ", p_of(p), ")")
    if tests.scope == "configurations":
        if p < alpha:
            return Claim("difference", ("a difference in energy is shown", *basis))
        return Claim(
            "not known", ("no difference in energy is shown", *basis, ", which does not show that there is none")
        )
    if p >= alpha:
        return Claim("not known", ("these runs are not shown to differ in energy", *basis))
    words: Words = (
        "these runs differ in energy",
        *basis,
        f"; of the configurations nothing is shown ({tests.scope_reason})",
    )
    return Claim("difference", (*words, *_needed(tests, run_sd)))


def _needed(tests: PairTests, run_sd: float | None) -> Words:
    """What it would take to speak of the configurations."""
    from math import log

    sd, how = (run_sd, "as the repeats here do") if run_sd else (ASSUMED_RUN_SD, "an assumption")
    repeats = repeats_to_show(log(tests.energy.effect or 1.0), sd)
    if repeats is None:
        return ()
    return (
        ": for a difference of this size, --repeats ", Figure(repeats, str(repeats)),
        f" a side, interleaved, has a power of 80 % if runs scatter by {sd:.1%} ({how})",
    )  # fmt: skip


def about_accuracy(tests: PairTests, margin: float, alpha: float) -> Claim:
    """Whether ``a`` passes more, fewer, or as many tasks as ``b``, or whether that is not known."""
    accuracy, p = tests.accuracy, tests.passing_p_holm
    if accuracy.difference is None or p is None:
        return Claim(
            "cannot be said", (f"of accuracy nothing can be said ({tests.passing.reason or accuracy.reason})",)
        )
    not_worse, not_better = tests.not_worse_p_holm, tests.b_not_worse_p_holm
    if p < alpha and accuracy.difference:
        loss = accuracy.difference < 0
        within = not_worse if loss else not_better
        small: Words = (", of less than ", _margin(margin)) if within is not None and within < alpha else ()
        words: Words = (f"a {'loss' if loss else 'gain'} of accuracy is shown", *small)
        return Claim("loss" if loss else "gain", (*words, f" ({tests.passing.test}, Holm: ", p_of(p), ")"))
    equal = tests.equivalent_p_holm
    if equal is not None and equal < alpha:
        words = ("equal accuracy is shown, within ", _margin(margin))
        return Claim("equal", (*words, f" ({accuracy.method}, Holm: ", p_of(equal), ")"))
    if not_worse is not None and not_worse < alpha:
        words = ("no loss of accuracy beyond ", _margin(margin), " is shown")
        return Claim("not worse", (*words, f" ({accuracy.method}, Holm: ", p_of(not_worse), ")"))
    unsure: Words = () if not_worse is None else (f" ({accuracy.method}, Holm: ", p_of(not_worse), ")")
    words = ("that there is no loss of accuracy beyond ", _margin(margin), " is not shown")
    return Claim("not known", (*words, *unsure, ", nor is a loss: which holds is not known"))


def about_all(test: TestResult, pairs: Sequence[PairTests], alpha: float) -> Claim:
    """Whether energies differ at all between several."""
    if test.p_value is None:
        return Claim("cannot be said", (f"Whether energies differ cannot be said: {test.reason}.",))
    basis: Words = (f" ({test.test}, ", p_of(test.p_value), ")")
    reasons = list(dict.fromkeys(pair.scope_reason for pair in pairs if pair.scope_reason))
    if test.p_value >= alpha:
        return Claim(
            "not known", ("No difference in energy is shown", *basis, "; that does not show that there is none.")
        )
    if not reasons:
        return Claim("difference", ("Energies differ between configurations", *basis, "."))
    return Claim(
        "difference", ("These runs differ in energy", *basis, f". Of configurations that shows less: {reasons[0]}.")
    )


def first_of(ranking: Ranking) -> tuple[str, ...]:
    """Those whose possible ranks hold the first: a single one is the winner."""
    return tuple(one.label for one in ranking.ranked if one.best_rank == 1)


def about_printed_energy(least: str, tied: Sequence[str]) -> Claim:
    """Of energies that were printed once each, without spread or repeats."""
    if tied:
        words = f"least energy as printed is {least}, which rounding does not tell from {', '.join(tied)}"
        return Claim("cannot be said", (words,))
    text = (
        f"least energy as printed is {least}; that holds of these runs: without repeats, or what single tasks took, "
        "nothing is shown of the configurations"
    )
    return Claim("difference", (text,))


def about_printed_score(name: str, best: str, alike: Sequence[str]) -> Claim:
    """Of printed means of scores, whose spread is not printed: no test is possible."""
    rounding = f", which rounding does not tell from {', '.join(alike)}" if alike else ""
    text = (
        f"highest {name} as printed is {best}{rounding}; how scores scatter over tasks is not printed, so no "
        "difference is shown"
    )
    return Claim("cannot be said", (text,))


def about_printed_accuracy(best: str, share: float, rest: Sequence[tuple[str, float]], tasks: int | None) -> Claim:
    """Of printed shares: a difference is shown only where it is, with Holm, for tasks that were drawn twice.

    Without verdicts the match of tasks is lost: of shares p and q of n tasks the variance of p - q is taken to be that
    of independent samples, which is too large for configurations that tend to solve the same tasks, and so claims less.
    """
    from scipy import special

    if tasks is None:
        return Claim(
            "cannot be said", (f"most accurate as printed is {best}; of how many tasks is not printed (--tasks)",)
        )
    p_values = []
    for _, other in rest:
        pooled = (share + other) / 2
        se = (2 * pooled * (1 - pooled) / tasks) ** 0.5
        p_values.append(2 * float(special.ndtr(-(share - other) / se)) if se > 0 else 1.0)
    held = adjust(p_values, "holm")
    alike = [label for (label, _), p in zip(rest, held, strict=True) if p is None or p >= 0.05]
    basis = f"two-sample test of shares of {tasks} tasks, Holm; matched verdicts would as a rule show more"
    if alike:
        words = f"most accurate as printed is {best}, not shown to differ from {', '.join(alike)} ({basis})"
        return Claim("not known", (words,))
    return Claim("difference", (f"most accurate is {best}: shown against each other row ({basis})",))
