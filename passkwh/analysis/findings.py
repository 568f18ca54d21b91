"""Each assumption that fails, in a sentence with the test that still holds."""

from __future__ import annotations

from collections.abc import Sequence

from passkwh.analysis.results import Finding, TestResult

ALPHA = 0.05


def findings(
    configurations: Sequence[tuple[str, TestResult, TestResult, TestResult]], levene: TestResult, friedman: TestResult
) -> tuple[Finding, ...]:
    """Sentences on each configuration (label, Durbin-Watson, Shapiro-Wilk, Levene over time) and on all together."""
    sentences: list[tuple[str, str]] = []
    for label, serial, normal, stable in configurations:
        if _rejected(serial) and serial.statistic is not None:
            how = "follow" if serial.statistic < 2 else "alternate with"
            text = (
                f"residuals {how} one another in time (Durbin-Watson {serial.statistic:.2f}, {_p(serial)}): ordinary "
                "standard errors, matched tests and a bootstrap over tasks are then too sure; where the energies "
                "themselves do, they are taken in blocks over time (see the notes), and of regressions read Newey-West "
                "or GLSAR"
            )
            sentences.append((label, text))
        if _rejected(normal):
            text = (
                f"energies are not normal (Shapiro-Wilk W = {normal.statistic:.2f}, {_p(normal)}): do not use "
                "t tests or ANOVA on joules; rank tests and the bootstrap hold"
            )
            sentences.append((label, text))
        if _rejected(stable):
            text = (
                f"the residuals' variance changes over the run (Levene F = {stable.statistic:.2f}, "
                f"{_p(stable)}): read robust (HC3) or Newey-West errors"
            )
            sentences.append((label, text))
    if _rejected(levene):
        text = (
            f"configurations differ in spread (Levene F = {levene.statistic:.2f}, {_p(levene)}): "
            "Kruskal-Wallis then asks about more than the middle; Friedman's ranks within tasks hold"
        )
        sentences.append(("all", text))
    if friedman.p_value is not None:
        text = (
            "every configuration solved the same tasks: Kruskal-Wallis and Dunn, the thesis's tests, take "
            "them for independent and lose power; read Friedman with Conover, Wilcoxon and McNemar"
        )
        sentences.append(("all", text))
    elif friedman.reason:
        sentences.append(("all", f"configurations were not compared: {friedman.reason}"))
    return tuple(Finding(subject=subject, text=text) for subject, text in sentences)


def _rejected(result: TestResult) -> bool:
    return result.p_value is not None and result.p_value < ALPHA


def _p(result: TestResult) -> str:
    return "p < 0.001" if result.p_value is not None and result.p_value < 0.001 else f"p = {result.p_value:.3f}"
