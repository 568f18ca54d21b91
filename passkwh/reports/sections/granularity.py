"""Task by task and domain by domain: the thesis's first experiment (section 4.2.1)."""

from __future__ import annotations

from passkwh.analysis.domains import task_domains
from passkwh.analysis.overview import REGRESSIONS
from passkwh.analysis.regression import UNITS, RegressionResult
from passkwh.analysis.result_tables import analysis_tables, domain_table
from passkwh.reports.document.content import (
    Block,
    Bullets,
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
from passkwh.reports.document.text import quantity, sentence
from passkwh.reports.figures.tasks import energy_by_domain, energy_per_task, tasks_by_domain
from passkwh.reports.sections.domain_contrasts import domain_sentences


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
                "The thesis regresses the log energy of generating, ln(1 + Wh), on solution tokens, the log energy "
                "of the "
                "sample before, and a dummy for each domain but General, without intercept. Without one, R-squared is "
                "measured from zero and close to 1 whatever the model explains: read the fit with intercept for that, "
                "and Newey-West or GLSAR where residuals follow one another.",
            )
        )
    )
    blocks += _traps(evidence)
    blocks += _contrasts(evidence)
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
        "The regression five ways: what it explains, and the effect of one more solution token on log energy",
        {
            "configuration": "text", "R² from zero": "fixed4", "R² about the mean": "fixed4",
            "token, thesis": "estimate", "thesis, by library": "estimate", "with intercept": "estimate",
            "Newey-West": "estimate", "GLSAR": "estimate",
            "Durbin-Watson": "fixed2", "AR(1) ρ": "fixed2",
        },
        rows,
        note="Coefficients of all predictors stand in the tables below (thesis's fit) and, for the other fits, in the "
        "files named regression_NN.",
    )  # fmt: skip


def _traps(evidence: Evidence) -> list[Block]:
    """What the fit as printed cannot be read for: units, and a domain that nearly every task has."""
    first = evidence.analysis.configurations[0]
    trap = first.units_of_energy
    if not trap:
        return []
    domains = task_domains(evidence.comparison.task_ids, "text")
    share = float(domains["System"].mean()) if "System" in domains else 0.0
    own = {d: values for d, values in trap.items() if {*UNITS, "with intercept"} <= set(values)}
    signs = [d for d, v in own.items() if min(v[u] for u in UNITS[1:]) < 0 < max(v[u] for u in UNITS[1:])]
    turned = f" Here the sign of {', '.join(signs)} depends on the unit." if signs else ""
    text = sentence(
        "Two traps of the fit as printed. Its coefficients depend on the unit of energy: ln(J), ln(Wh) and ln(kWh) "
        "differ by "
        "a constant, which only an intercept takes up, so without one the domains share it out among "
        "themselves." + turned,
        " And by the thesis's map of libraries, which looks for their names anywhere in a task's text, ",
        quantity(100 * share, "%", "fixed2"),
        " of these tasks are System (`os` stands in `position`): such a dummy is an intercept by another name, and its "
        "coefficient is the level of energy, not what system calls cost.",
    )  # fmt: skip
    heads = {"domain": "text", **{str(unit): "fixed4" for unit in UNITS}, "with intercept, any unit": "fixed4"}
    table = table_of(
        "regression_units", f"The same regression of {first.label} in four units: coefficients of domains", heads,
        [(d, *(v[unit] for unit in UNITS), v["with intercept"]) for d, v in own.items()],
        note="Without intercept in the first four columns; domains by text, as table 5.1.",
    )  # fmt: skip
    return [Text(sentence=text), table]


def _contrasts(evidence: Evidence) -> list[Block]:
    """Which domains cost more at equal tokens, from the fit with intercept."""
    items = domain_sentences(evidence)
    return [Heading(text="Domains at equal tokens"), Bullets(items=tuple(items))] if items else []


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
