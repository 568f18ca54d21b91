"""Task by task and domain by domain: the thesis's first experiment (section 4.2.1)."""

from __future__ import annotations

from passkwh.analysis.overview import REGRESSIONS
from passkwh.analysis.regression import RegressionResult
from passkwh.analysis.result_tables import analysis_tables, domain_table
from passkwh.reports.document.content import (
    Block,
    Estimate,
    Heading,
    NotAvailable,
    TableBlock,
    Text,
    table_block,
    table_of,
)
from passkwh.reports.document.evidence import NO_DOMAINS, Evidence
from passkwh.reports.document.section import Draft, Drawing, FunctionSection
from passkwh.reports.figures.tasks import energy_by_domain, energy_per_task, tasks_by_domain


def build(evidence: Evidence) -> Draft:
    """Energies by task and domain, assumptions, and the regressions."""
    blocks: list[Block | Drawing] = [
        energy_per_task(evidence),
        tasks_by_domain(evidence),
        energy_by_domain(evidence, "task"),
        energy_by_domain(evidence, "token"),
        _domains(evidence),
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
                NotAvailable(
                    what=f"Regression of {configuration.label}", reason=reason, after="thesis, tables 5.5-5.13"
                )
            )
    return Draft(tuple(blocks))


def _domains(evidence: Evidence) -> Block:
    if not evidence.domains:
        return NotAvailable(what="Domains", reason=NO_DOMAINS, after="thesis, table 5.1")

    def cell(value: float | None, bounds: tuple[float, float] | None) -> Estimate:
        low, high = bounds or (None, None)
        return Estimate(value=value, low=low, high=high)

    return table_of(
        "domains",
        "Energy and accuracy by domain",
        {
            "configuration": "text", "domain": "text", "tasks": "integer", "share": "fixed2",
            "J per task ↓": "estimate", "J per token ↓": "estimate", "pass@1 ↑": "estimate",
        },
        [
            (
                row.label, row.domain, row.tasks, row.share, cell(row.joules_per_task, row.joules_per_task_range),
                cell(row.joules_per_token, row.joules_per_token_range), cell(row.pass_at_1, row.pass_at_1_range),
            )
            for row in evidence.domains
        ],
        thesis=domain_table(evidence.domains).thesis,
        folded=len(evidence.domains) > 21,
        note="A task that uses libraries of several domains counts in each. Intervals are over the domain's own tasks.",
    )  # fmt: skip


def _methods(evidence: Evidence) -> TableBlock:
    rows = []
    for configuration in evidence.analysis.configurations:
        fits = {fit.method: fit for fit in configuration.regressions}
        rows.append(
            (configuration.label, fits["thesis"].r_squared, fits["with intercept"].r_squared,
             *(_token_effect(fits[method]) for method in REGRESSIONS), fits["thesis"].durbin_watson, fits["GLSAR"].rho)
        )  # fmt: skip
    return table_of(
        "regressions",
        "The regression four ways: what it explains, and the effect of one more solution token on log energy",
        {
            "configuration": "text", "R² from zero": "fixed4", "R² about the mean": "fixed4",
            "token, thesis": "estimate", "with intercept": "estimate", "Newey-West": "estimate", "GLSAR": "estimate",
            "Durbin-Watson": "fixed2", "AR(1) ρ": "fixed2",
        },
        rows,
        note="Coefficients of all predictors stand in the tables below (thesis's fit) and, for the other fits, in the "
        "files named regression_NN.",
    )  # fmt: skip


def _token_effect(fit: RegressionResult) -> Estimate:
    token = next((c for c in fit.coefficients if "token" in c.name), None)
    if token is None:
        return Estimate(value=None, reason=fit.reason or "solution tokens do not vary")
    return Estimate(value=token.estimate, low=token.low, high=token.high)


GRANULARITY = FunctionSection(
    "granularity",
    "Task by task and domain by domain",
    "energy of every task and domain, and the regressions of a task's energy",
    {"granularity": 40, "all": 40},
    build,
)
