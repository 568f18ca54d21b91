"""Task by task and domain by domain: the thesis's first experiment (section 4.2.1)."""

from __future__ import annotations

from passkwh.analysis.overview import REGRESSIONS
from passkwh.analysis.regression import RegressionResult
from passkwh.analysis.result_tables import analysis_tables, domain_table
from passkwh.reports.document.content import Block, Column, Estimate, Heading, Missing, TableBlock, Text, table_block
from passkwh.reports.document.draft import Draft, Drawing
from passkwh.reports.document.evidence import NO_DOMAINS, Evidence
from passkwh.reports.figures.tasks import energy_by_domain, energy_per_task, tasks_by_domain


def granularity(evidence: Evidence) -> Draft:
    """Energies by task and domain, assumptions, and the regressions."""
    blocks: list[Block | Drawing] = [
        energy_per_task(evidence),
        tasks_by_domain(evidence),
        energy_by_domain(evidence, "task"),
        energy_by_domain(evidence, "token"),
        _domains(evidence)
        if evidence.domains
        else Missing(what="Domains", reason=NO_DOMAINS, after="thesis, table 5.1"),
    ]
    tables = {t.name: t for t in analysis_tables(evidence.analysis)}
    blocks.append(Heading(text="Assumptions"))
    blocks.append(
        table_block(
            tables["assumptions"],
            note="Durbin-Watson and Levene (first half of the run against the second) on the residuals of the "
            "regression without its lag; Shapiro-Wilk on energies of tasks.",
        )
    )
    blocks.append(Heading(text="What drives a task's energy"))
    blocks.append(
        Text(
            sentence=(
                "The thesis regresses the log energy of generating on solution tokens, the log energy of the sample "
                "before, and a dummy for each domain but General, without intercept. Without one, R-squared is "
                "measured from zero and close to 1 whatever the model explains: read the fit with intercept for that, "
                "and Newey-West or GLSAR where residuals follow one another.",
            )
        )
    )
    blocks.append(_methods(evidence))
    for number, configuration in enumerate(evidence.analysis.configurations, start=1):
        name = f"regression_{number:02d}_thesis"
        if name in tables:
            blocks.append(table_block(tables[name], folded=True))
        else:
            reason = configuration.regressions[0].reason or "it has no coefficients"
            blocks.append(
                Missing(what=f"Regression of {configuration.label}", reason=reason, after="thesis, tables 5.5-5.13")
            )
    return Draft("granularity", "Task by task and domain by domain", tuple(blocks))


def _domains(evidence: Evidence) -> TableBlock:
    found = domain_table(evidence.domains)
    rows = []
    for row in evidence.domains:
        cells = [
            Estimate(value=value, low=bounds[0] if bounds else None, high=bounds[1] if bounds else None)
            for value, bounds in (
                (row.joules_per_task, row.joules_per_task_range),
                (row.joules_per_token, row.joules_per_token_range),
                (row.pass_at_1, row.pass_at_1_range),
            )
        ]
        rows.append((row.label, row.domain, row.tasks, row.share, *cells))
    return TableBlock(
        name="domains",
        title="Energy and accuracy by domain",
        thesis=found.thesis,
        folded=len(rows) > 21,
        note="A task that uses libraries of several domains counts in each. Intervals are over the domain's own tasks.",
        columns=(
            Column(name="configuration", style="text"), Column(name="domain", style="text"),
            Column(name="tasks", style="integer"), Column(name="share", style="fixed2"),
            Column(name="J per task ↓", style="estimate"), Column(name="J per token ↓", style="estimate"),
            Column(name="pass@1 ↑", style="estimate"),
        ),
        rows=tuple(rows),
    )  # fmt: skip


def _methods(evidence: Evidence) -> TableBlock:
    rows = []
    for configuration in evidence.analysis.configurations:
        fits = {fit.method: fit for fit in configuration.regressions}
        tokens = [_token_effect(fits[method]) for method in REGRESSIONS]
        rows.append(
            (
                configuration.label,
                fits["thesis"].r_squared,
                fits["with intercept"].r_squared,
                *tokens,
                fits["thesis"].durbin_watson,
                fits["GLSAR"].rho,
            )
        )
    return TableBlock(
        name="regressions",
        title="The regression four ways: what it explains, and the effect of one more solution token on log energy",
        note="Coefficients of all predictors stand in the tables below (thesis's fit) and, for the other fits, in the "
        "files named regression_NN.",
        columns=(
            Column(name="configuration", style="text"), Column(name="R² from zero", style="fixed4"),
            Column(name="R² about the mean", style="fixed4"), Column(name="token, thesis", style="estimate"),
            Column(name="with intercept", style="estimate"), Column(name="Newey-West", style="estimate"),
            Column(name="GLSAR", style="estimate"), Column(name="Durbin-Watson", style="fixed2"),
            Column(name="AR(1) ρ", style="fixed2"),
        ),
        rows=tuple(rows),
    )  # fmt: skip


def _token_effect(fit: RegressionResult) -> Estimate:
    found = next((c for c in fit.coefficients if "token" in c.name), None)
    if found is None:
        return Estimate(value=None, reason=fit.reason or "solution tokens do not vary")
    return Estimate(value=found.estimate, low=found.low, high=found.high)
