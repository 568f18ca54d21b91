"""Results as tables, in the thesis's layouts where it has one. Titles and columns are in ``data/tables.toml``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from passkwh.analysis.data_files import data_file
from passkwh.analysis.error_model import SOURCES
from passkwh.analysis.experiments import Experiment
from passkwh.analysis.granularity import DomainRow
from passkwh.analysis.overview import Analysis
from passkwh.analysis.pairs import PairTests
from passkwh.analysis.planning import SampleSizePlan
from passkwh.analysis.published import PublishedReport
from passkwh.analysis.regression import RegressionResult
from passkwh.analysis.results import PairwiseResult, TestResult
from passkwh.analysis.tables import Cell, Table, laid_out


def analysis_tables(result: Analysis) -> list[Table]:
    """The tables of an overview, headlines first."""
    settings = result.settings
    headlines = laid_out(
        "headlines",
        [(i.label, i.measure, i.estimate, i.low, i.high, i.reason or i.note) for i in result.intervals],
        level=settings.level,
        tasks=result.tasks,
        energy=settings.energy,
    )
    assumptions = [
        (
            c.label, c.durbin_watson.statistic, c.durbin_watson.p_value, c.autocorrelation.estimate, c.drift.estimate,
            c.drift.low, c.drift.high, c.shapiro_wilk.statistic, c.shapiro_wilk.p_value, c.levene_over_time.statistic,
            c.levene_over_time.p_value, c.unit, c.units,
        )
        for c in result.configurations
    ]  # fmt: skip
    return [
        headlines,
        *_ranking_tables(result),
        *_frontier_tables(result),
        *_pair_tables(result),
        laid_out("assumptions", assumptions),
        *_regression_tables(result),
    ]


def _ranking_tables(result: Analysis) -> Iterable[Table]:
    for ranking in result.rankings:
        if ranking.ranked:
            yield laid_out(
                "ranking",
                [(r.rank, r.label, r.estimate, f"{r.best_rank}-{r.worst_rank}", r.groups) for r in ranking.ranked],
                name=f"ranking_{ranking.measure}",
                measure=ranking.measure,
                direction=ranking.direction,
            )


def _frontier_tables(result: Analysis) -> Iterable[Table]:
    if result.tradeoff:
        measures = zip(result.tradeoff.measures, result.tradeoff.directions, strict=True)
        yield laid_out(
            "frontier",
            [(p.label, *p.values, "yes" if p.on_frontier else "no", p.probability) for p in result.tradeoff.points],
            labels=[f"{measure} ({direction})" for measure, direction in measures],
            knee=result.tradeoff.knee or "none",
        )


def _pair_tables(result: Analysis) -> Iterable[Table]:
    if result.pairs:
        rows = [
            (
                p.a, p.b, p.energy_ratio.estimate, p.energy_ratio.low, p.energy_ratio.high, p.energy_p_holm,
                p.energy_p_bh, p.energy_cliffs_delta, p.accuracy.difference, p.passing_p_holm,
                p.not_worse_p_holm, p.b_not_worse_p_holm, p.equivalent_p_holm,
            )
            for p in result.pairs
        ]  # fmt: skip
        yield laid_out("pairs", rows, margin=result.settings.margin)
        yield laid_out("errors", [_error_row(p) for p in result.pairs])
        tests = (result.any_difference, result.friedman, result.kruskal_wallis, result.levene)
        yield laid_out("tests", [(t.test, t.statistic, t.p_value, t.effect, t.effect_name, t.reason) for t in tests])
        yield from (_pairwise_table(p, "") for p in (result.dunn, result.conover, result.nemenyi) if p.reason is None)


def _error_row(pair: PairTests) -> tuple[Cell, ...]:
    total = sum(pair.energy_variance.values())
    shares = [pair.energy_variance[name] / total if total > 0 else None for name in SOURCES if pair.energy_variance]
    return (pair.a, pair.b, total**0.5 if shares else None, *(shares or [None] * len(SOURCES)), pair.scope)


def _regression_tables(result: Analysis) -> Iterable[Table]:
    for number, configuration in enumerate(result.configurations, start=1):
        for regression in configuration.regressions:
            if regression.coefficients:
                method = regression.method.lower().replace(",", "").replace(" ", "_").replace("-", "_")
                name = f"regression_{number:02d}_{method}"
                yield regression_table(regression, configuration.label, name, result.settings.level)


def regression_table(result: RegressionResult, label: str, name: str, level: float = 0.95) -> Table:
    """Tables 5.5-5.13: coefficients, then the model's statistics."""
    rows: list[tuple[Cell, ...]] = [
        (c.name, c.estimate, c.std_error, c.z, c.p_value, c.low, c.high) for c in result.coefficients
    ]
    about = "centered" if result.centred else "uncentered"
    statistics = [
        (head.format(about=about), field) for head, field in data_file("tables.toml")["regression"]["statistics"]
    ]
    if result.rho is not None:
        statistics = [*statistics, ("AR(1) rho", "rho")]
    rows += [(head.format(about=about), getattr(result, field), *[None] * 5) for head, field in statistics]
    return laid_out(
        "regression", rows, name=name, thesis="5.5-5.13" if result.method == "thesis" else None, label=label,
        method=result.method, errors=result.errors, n=result.n, low=(1 - level) / 2, high=(1 + level) / 2,
    )  # fmt: skip


def experiment_tables(result: Experiment) -> list[Table]:
    """The thesis's tables of a named experiment, and the matched tests beside them."""
    thesis, name, families = (
        data_file("experiments.toml")[result.name]["tables"],
        result.name.replace("-", "_"),
        result.families,
    )

    def tests(key: str, title: str, chosen: Sequence[TestResult]) -> Table:
        rows = [(f.title, t.statistic, t.p_value, t.effect) for f, t in zip(families, chosen, strict=True)]
        return laid_out("family_test", rows, name=f"{name}_{key}", thesis=thesis.get(key), test=title)

    normality = [
        (label, t.statistic, t.p_value) for f in families for label, t in zip(f.labels, f.shapiro_wilk, strict=True)
    ]
    metrics = {m.label: m for f in families for m in f.metrics}.values()
    tables = [
        laid_out("shapiro_wilk", normality, name=f"{name}_shapiro_wilk", thesis=thesis["shapiro_wilk"]),
        tests("levene", "Levene's test", [f.levene for f in families]),
        tests("kruskal_wallis", "Kruskal-Wallis test", [f.kruskal_wallis for f in families]),
        tests("friedman", "Friedman test (matched tasks)", [f.friedman for f in families]),
        laid_out(
            "results",
            [(m.label, m.energy_kwh, m.latency_min, m.throughput_tok_s, m.pass_at_1, m.pass_at_kwh) for m in metrics],
            name=f"{name}_results",
            thesis=thesis["results"],
        ),
    ]
    for number, family in enumerate(families, start=1):
        for pairwise, printed in ((family.dunn, thesis.get("dunn")), (family.conover, None)):
            if pairwise.reason is None:
                tables.append(_pairwise_table(pairwise, f"{name}_{number:02d}_", f": {family.title}", printed))
    return tables


def _pairwise_table(result: PairwiseResult, prefix: str, family: str = "", thesis: str | None = None) -> Table:
    return laid_out(
        "pairwise",
        [(label, *row) for label, row in zip(result.labels, result.p_values, strict=True)],
        name=f"{prefix}{result.test.lower()}",
        thesis=thesis,
        labels=result.labels,
        test=result.test,
        adjustment=result.adjustment,
        family=family,
    )


def domain_table(rows: Sequence[DomainRow]) -> Table:
    """Figures 4.7-4.9 and table 5.1 as numbers."""
    return laid_out(
        "domains",
        [(r.label, r.domain, r.tasks, r.share, r.joules_per_task, r.joules_per_token, r.pass_at_1) for r in rows],
    )


def plan_table(result: SampleSizePlan) -> Table:
    """Tasks needed by number of repeats."""
    against = "" if result.margin is None else f" against a margin of {result.margin:g}"
    rows = [(r.repeats, r.tasks, r.tasks_low, r.tasks_high, r.units, r.speaks_of, r.reason) for r in result.rows]
    name = f"plan_{result.goal.replace('-', '_')}_{result.measure.replace('@', '_at_').lower()}"
    return laid_out("plan", rows, name=name, against=against, **result.model_dump(exclude={"rows"}))


def published_tables(report: PublishedReport) -> list[Table]:
    """Recomputed ratios, conflicts between tables, and the frontier of published rows."""
    agrees = {None: None, True: "yes", False: "NO"}
    conflicts = [
        (c.label, c.measure, "; ".join(f"{v} (table {', '.join(t)})" for v, t in c.values.items()))
        for c in report.conflicts
    ]
    ratios = [(r.table, r.label, r.printed, r.computed, r.low, r.high, agrees[r.agrees]) for r in report.ratios]
    # Of several sets of tasks no single line is drawn.
    knee = report.knee or ("none" if report.hypervolume is not None else "not of several sets of tasks")
    return [
        *([laid_out("published_ratios", ratios), laid_out("published_conflicts", conflicts)] if ratios else []),
        laid_out(
            "published_frontier", [(label,) for label in report.frontier], count=len(report.configurations), knee=knee
        ),
    ]
