"""Results as tables, in the thesis's layouts where it has one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from passkwh.analysis.experiments import Experiment, FamilyResult, MetricsRow
from passkwh.analysis.granularity import DomainRow
from passkwh.analysis.overview import Analysis
from passkwh.analysis.planning import SampleSizePlan
from passkwh.analysis.published import PublishedReport
from passkwh.analysis.regression import RegressionResult
from passkwh.analysis.results import PairwiseResult, TestResult
from passkwh.analysis.tables import Cell, Table, make_table

_THESIS: dict[str, tuple[str, str, str, str, str]] = {
    "batch-size": ("5.3", "5.15", "5.16", "5.17", "5.18"),
    "model-size": ("5.20", "5.21", "5.22", "5.23", "5.24"),
    "fine-tuning": ("5.26", "5.27", "5.28", "", "5.29"),
    "awq": ("5.31", "5.32", "5.33", "", "5.34"),
    "gptq": ("5.36", "5.37", "5.38", "5.39", "5.40"),
}
"""Numbers of each experiment's Shapiro-Wilk, Levene, Kruskal-Wallis, Dunn and results tables."""


def analysis_tables(result: Analysis) -> list[Table]:
    """The tables of an overview, headlines first."""
    return [
        _headline_table(result),
        *_ranking_tables(result),
        *_frontier_tables(result),
        *_pair_tables(result),
        _assumption_table(result),
        *_regression_tables(result),
    ]


def _headline_table(result: Analysis) -> Table:
    rows = [(i.label, i.measure, i.estimate, i.low, i.high, i.reason or i.note) for i in result.intervals]
    percent = f"{result.settings.level:.0%}"
    return make_table(
        "headlines",
        f"Headline measures with {percent} intervals over {result.tasks} tasks ({result.settings.energy} energy)",
        [("configuration", "text"), ("measure", "text"), ("estimate", "number"), ("low", "number"),
         ("high", "number"), ("note", "text")],
        rows,
    )  # fmt: skip


def _ranking_tables(result: Analysis) -> Iterable[Table]:
    for ranking in result.rankings:
        if ranking.ranked:
            rows = [(r.rank, r.label, r.estimate, f"{r.best_rank}-{r.worst_rank}", r.groups) for r in ranking.ranked]
            yield make_table(
                f"ranking_{ranking.measure}",
                f"Ranking by {ranking.measure} ({ranking.direction}); a shared letter: cannot be told apart",
                [("rank", "integer"), ("configuration", "text"), (ranking.measure, "number"), ("ranks", "text"),
                 ("group", "text")],
                rows,
            )  # fmt: skip


def _frontier_tables(result: Analysis) -> Iterable[Table]:
    if result.tradeoff:
        found = result.tradeoff
        rows = [(p.label, *p.values, "yes" if p.on_frontier else "no", p.probability) for p in found.points]
        yield make_table(
            "frontier",
            f"Efficient frontier (figure 4.12); knee: {found.knee or 'none'}",
            [("configuration", "text"), *((f"{m} ({d})", "number") for m, d in zip(found.measures, found.directions,
             strict=True)), ("on frontier", "text"), ("probability", "fixed2")],
            rows,
        )  # fmt: skip


def _pair_tables(result: Analysis) -> Iterable[Table]:
    if result.pairs:
        rows: list[tuple[Cell, ...]] = [
            (
                p.a, p.b, p.energy_ratio.estimate, p.energy_ratio.low, p.energy_ratio.high, p.energy_p_holm,
                p.energy_p_bh, p.energy_cliffs_delta, p.accuracy.difference, p.passing_p_holm,
                p.accuracy.p_non_inferior, p.accuracy.p_equivalent,
            )
            for p in result.pairs
        ]  # fmt: skip
        yield make_table(
            "pairs",
            f"Matched comparisons; margin of accuracy {result.settings.margin:g}",
            [("a", "text"), ("b", "text"), ("energy a/b", "number"), ("low", "number"), ("high", "number"),
             ("p Holm", "p"), ("p BH", "p"), ("Cliff's delta", "fixed2"), ("pass@1 a-b", "fixed4"),
             ("p Holm, pass", "p"), ("p not worse", "p"), ("p equivalent", "p")],
            rows,
        )  # fmt: skip
        yield _tests_table(result)
        yield from (_pairwise_table(p, "") for p in (result.dunn, result.conover, result.nemenyi) if p.reason is None)


def _tests_table(result: Analysis) -> Table:
    tests = (result.levene, result.kruskal_wallis, result.friedman)
    return make_table(
        "tests",
        "Do the configurations differ in energy?",
        [("test", "text"), ("statistic", "number"), ("p-value", "p"), ("effect", "number"),
         ("measure of effect", "text"), ("missing because", "text")],
        [(t.test, t.statistic, t.p_value, t.effect, t.effect_name, t.reason) for t in tests],
    )  # fmt: skip


def _assumption_table(result: Analysis) -> Table:
    rows = []
    for c in result.configurations:
        shapiro, levene = c.shapiro_wilk, c.levene_over_time
        rows.append(
            (c.label, c.durbin_watson.statistic, shapiro.statistic, shapiro.p_value, levene.statistic, levene.p_value)
        )
    return make_table(
        "assumptions",
        "Durbin-Watson, Shapiro-Wilk and Levene of each configuration",
        [("configuration", "text"), ("Durbin-Watson", "fixed2"), ("Shapiro-Wilk W", "fixed2"), ("p-value", "p"),
         ("Levene F", "fixed2"), ("p-value of F", "p")],
        rows,
        "5.2-5.4",
    )  # fmt: skip


def _regression_tables(result: Analysis) -> Iterable[Table]:
    for number, configuration in enumerate(result.configurations, start=1):
        for regression in configuration.regressions:
            if regression.coefficients:
                name = f"regression_{number:02d}_{regression.method.lower().replace(' ', '_').replace('-', '_')}"
                yield regression_table(regression, configuration.label, name)


def regression_table(result: RegressionResult, label: str, name: str) -> Table:
    """Tables 5.5-5.13: coefficients, then the model's statistics."""
    rows: list[tuple[Cell, ...]] = [
        (c.name, c.estimate, c.std_error, c.z, c.p_value, c.low, c.high) for c in result.coefficients
    ]
    about = "centered" if result.centred else "uncentered"
    statistics: list[tuple[str, float | None]] = [
        (f"R-squared ({about})", result.r_squared), (f"Adj. R-squared ({about})", result.adj_r_squared),
        ("F-statistic", result.f_statistic), ("Prob (F-statistic)", result.f_p_value),
        ("Log-Likelihood", result.log_likelihood), ("AIC", result.aic), ("BIC", result.bic),
        ("Durbin-Watson", result.durbin_watson), ("Omnibus", result.omnibus),
        ("Prob (Omnibus)", result.omnibus_p_value),
        ("Jarque-Bera (JB)", result.jarque_bera), ("Skew", result.skew), ("Kurtosis", result.kurtosis),
        ("Cond. No.", result.condition_number),
    ]  # fmt: skip
    if result.rho is not None:
        statistics.append(("AR(1) rho", result.rho))
    rows += [(statistic, value, None, None, None, None, None) for statistic, value in statistics]
    return make_table(
        name,
        f"{label}: OLS of log energy, {result.method} ({result.errors}; n = {result.n})",
        [("Variable", "text"), ("Coef.", "number"), ("Std. Err.", "number"), ("z", "number"), ("p > |z|", "p"),
         ("[0.025", "number"), ("0.975]", "number")],
        rows,
        "5.5-5.13" if result.method == "thesis" else None,
    )  # fmt: skip


def experiment_tables(result: Experiment) -> list[Table]:
    """The thesis's tables of a named experiment, and the matched tests beside them."""
    shapiro, levene, kruskal, dunn, results = _THESIS[result.name]
    name = result.name.replace("-", "_")
    families = result.families
    normality = [
        (label, t.statistic, t.p_value) for f in families for label, t in zip(f.labels, f.shapiro_wilk, strict=True)
    ]
    tables = [
        make_table(
            f"{name}_shapiro_wilk",
            "Shapiro-Wilk test of energy",
            [("model", "text"), ("Shapiro-Wilk statistic", "fixed2"), ("p-value", "p")],
            normality,
            shapiro,
        ),
        _family_tests(f"{name}_levene", "Levene's test", [(f.title, f.levene) for f in families], levene),
        _family_tests(
            f"{name}_kruskal_wallis", "Kruskal-Wallis test", [(f.title, f.kruskal_wallis) for f in families], kruskal
        ),
        _family_tests(
            f"{name}_friedman", "Friedman test (matched tasks)", [(f.title, f.friedman) for f in families], None
        ),
        make_table(
            f"{name}_results",
            "Energy, latency, throughput, pass@1 and pass@kWh",
            [("model", "text"), ("Energy Consumption (kWh)", "number"), ("Latency (m)", "fixed2"),
             ("Throughput (tokens/s)", "fixed2"), ("Pass@1", "fixed2"), ("Pass@kWh", "fixed2")],
            [
                (m.label, m.energy_kwh, m.latency_min, m.throughput_tok_s, m.pass_at_1, m.pass_at_kwh)
                for m in _metrics_once(families)
            ],
            results,
        ),
    ]  # fmt: skip
    for number, family in enumerate(families, start=1):
        for pairwise, thesis in ((family.dunn, dunn or None), (family.conover, None)):
            if pairwise.reason is None:
                tables.append(_pairwise_table(pairwise, f"{name}_{number:02d}_", family.title, thesis))
    return tables


def _metrics_once(families: Sequence[FamilyResult]) -> list[MetricsRow]:
    return list({m.label: m for f in families for m in f.metrics}.values())


def _family_tests(name: str, title: str, tests: Sequence[tuple[str, TestResult]], thesis: str | None) -> Table:
    return make_table(
        name,
        f"{title} for differences in energy",
        [("configurations", "text"), ("statistic", "fixed2"), ("p-value", "p"), ("effect", "number")],
        [(title_, t.statistic, t.p_value, t.effect) for title_, t in tests],
        thesis,
    )


def _pairwise_table(result: PairwiseResult, prefix: str, title: str = "", thesis: str | None = None) -> Table:
    return make_table(
        f"{prefix}{result.test.lower()}",
        f"{result.test}'s post-hoc test, adjusted p-values ({result.adjustment}){': ' + title if title else ''}",
        [("comparison", "text"), *((label, "p") for label in result.labels)],
        [(label, *row) for label, row in zip(result.labels, result.p_values, strict=True)],
        thesis,
    )


def domain_table(rows: Sequence[DomainRow]) -> Table:
    """Figures 4.7-4.9 and table 5.1 as numbers."""
    return make_table(
        "domains",
        "Energy and accuracy by domain",
        [("configuration", "text"), ("domain", "text"), ("tasks", "integer"), ("share", "fixed2"),
         ("J per task", "number"), ("J per token", "number"), ("pass@1", "fixed2")],
        [(r.label, r.domain, r.tasks, r.share, r.joules_per_task, r.joules_per_token, r.pass_at_1) for r in rows],
        "5.1",
    )  # fmt: skip


def plan_table(result: SampleSizePlan) -> Table:
    """Tasks needed by number of repeats."""
    return make_table(
        "plan",
        f"Tasks needed to tell {result.a} from {result.b} in {result.measure} ({result.scale} {result.effect:.4g}, "
        f"alpha {result.alpha:g}, power {result.power:g})",
        [("repeats", "integer"), ("tasks", "integer"), ("impossible because", "text")],
        [(r.repeats, r.tasks, r.reason) for r in result.rows],
    )


def published_tables(report: PublishedReport) -> list[Table]:
    """Recomputed ratios, conflicts between tables, and the frontier of published rows."""
    ratios = [
        (r.table, r.label, r.printed, r.computed, r.low, r.high, {None: None, True: "yes", False: "NO"}[r.agrees])
        for r in report.ratios
    ]
    conflicts = [
        (c.label, c.measure, "; ".join(f"{v} (table {', '.join(t)})" for v, t in c.values.items()))
        for c in report.conflicts
    ]
    return [
        make_table(
            "published_ratios",
            "pass@kWh recomputed from printed figures; low and high are what rounding allows",
            [("table", "text"), ("configuration", "text"), ("printed", "text"), ("computed", "text"), ("low", "number"),
             ("high", "number"), ("agrees", "text")],
            ratios,
        ),
        make_table(
            "published_conflicts",
            "One configuration, different figures",
            [("configuration", "text"), ("measure", "text"), ("values", "text")],
            conflicts,
        ),
        make_table(
            "published_frontier",
            f"Efficient frontier of {len(report.configurations)} configurations; knee: {report.knee or 'none'}",
            [("configuration", "text")],
            [(label,) for label in report.frontier],
        ),
    ]  # fmt: skip
