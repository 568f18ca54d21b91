"""Everything about a set of runs: `bench analyze RUN...`."""

from __future__ import annotations

from itertools import combinations
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from passkwh.analysis.assumptions import levene, shapiro_wilk
from passkwh.analysis.bootstrap import Draws, draw
from passkwh.analysis.conventions import OURS, EnergyKind, convention
from passkwh.analysis.domains import task_domains
from passkwh.analysis.findings import findings
from passkwh.analysis.footprint import FootprintAssumptions
from passkwh.analysis.independent_tests import dunn, kruskal_wallis
from passkwh.analysis.intervals import contrasts, intervals
from passkwh.analysis.mixed import MixedResult, mixed_model, with_stated_errors
from passkwh.analysis.paired_tests import conover, friedman, nemenyi
from passkwh.analysis.pairs import PairTests, compare_pairs
from passkwh.analysis.pooling import Comparison
from passkwh.analysis.ranking import Ranking, any_difference, rank_all
from passkwh.analysis.regression import Method, RegressionResult, fit_regression, unit_dependence
from passkwh.analysis.regression_design import TEXT
from passkwh.analysis.results import Contrast, Finding, Interval, PairwiseResult, TestResult, no_pairs, no_result
from passkwh.analysis.task_table import task_table
from passkwh.analysis.tasks import TaskTable, UnitKind
from passkwh.analysis.time_order import time_order
from passkwh.analysis.tradeoff import Tradeoff, tradeoff
from passkwh.records import Record

REGRESSIONS: tuple[Method, ...] = ("thesis", "thesis, by library", "with intercept", "Newey-West", "GLSAR")
KS = (1, 5, 10)
MISSING = "missing"
"""Provenance of a configuration none of whose runs has an energy."""
CONTRASTED = ("pass_at_1", "energy_kwh", "pass_at_kwh", "joules_per_token")


class AnalysisSettings(Record):
    """What an analysis was asked for."""

    convention: Annotated[str, Field(description="which energy leads, see passkwh.analysis.conventions")] = "passkwh"
    energy: Annotated[EnergyKind, Field(description="the convention's, or what was asked for in its place")] = "gross"
    resamples: Annotated[int, Field(ge=100)] = 10_000
    seed: int = 0
    level: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    margin: Annotated[float, Field(gt=0, lt=1, description="of pass@1, for non-inferiority and equivalence")] = 0.02
    budget_kwh: float | None = None
    accuracy_floor: float | None = None
    deadline_s: Annotated[float | None, Field(gt=0, description="for nine of ten answers")] = None

    footprint: Annotated[FootprintAssumptions | None, Field(description="what carbon and cost rest on")] = None

    @model_validator(mode="before")
    @classmethod
    def _energy_by_convention(cls, values: Any) -> Any:
        if isinstance(values, dict) and "energy" not in values:
            return {**values, "energy": convention(str(values.get("convention", OURS.name))).energy}
        return values


class ConfigurationAnalysis(Record):
    """One configuration by itself."""

    label: str
    runs: tuple[str, ...]
    samples: int
    provenance: Annotated[str, Field(description="measured, estimated, simulated, mixed or missing")]
    durbin_watson: TestResult
    shapiro_wilk: TestResult
    levene_over_time: TestResult
    autocorrelation: Annotated[Interval, Field(description="of a residual with the one before, within runs")]
    drift: Annotated[Interval, Field(description="change of energy over a run, as a share")]
    unit: Annotated[UnitKind, Field(description="what was measured once: the unit that is resampled and tested")]
    units: Annotated[int, Field(description="how many there are")]
    run_se: Annotated[float, Field(description="relative standard error of energy from what differs between runs")]
    run_df: Annotated[float | None, Field(description="its degrees of freedom; None where it is stated, not seen")]
    regressions: tuple[RegressionResult, ...]
    units_of_energy: Annotated[
        dict[str, dict[str, float]],
        Field(description="by domain: the coefficient without intercept in each unit of energy, and with one"),
    ]


class Analysis(Record):
    """The answer to: do these configurations differ, by how much, how sure is that, and how much accuracy is lost?"""

    settings: AnalysisSettings
    tasks: int
    units: Annotated[int, Field(description="units of measurement that configurations have in common")]
    matched: Annotated[bool, Field(description="whether they have them in common; else the fewest of any")]
    configurations: tuple[ConfigurationAnalysis, ...]
    intervals: tuple[Interval, ...]
    any_difference: Annotated[TestResult, Field(description="in energy, over all pairs, with every source of error")]
    levene: TestResult
    kruskal_wallis: TestResult
    dunn: PairwiseResult
    friedman: TestResult
    conover: PairwiseResult
    nemenyi: PairwiseResult
    mixed: MixedResult
    pairs: tuple[PairTests, ...]
    contrasts: tuple[Contrast, ...]
    rankings: tuple[Ranking, ...]
    tradeoff: Tradeoff | None
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]


def analyse(comparison: Comparison, settings: AnalysisSettings) -> Analysis:
    """Analyse configurations over their common tasks."""
    return conclude(comparison, settings, *resample(comparison, settings))


def resample(comparison: Comparison, settings: AnalysisSettings) -> tuple[TaskTable, Draws]:
    """The matched table of configurations and tasks, and its bootstrap."""
    table = task_table(comparison, settings.energy)
    return table, draw(table, settings.resamples, settings.seed, _ks(table))


def conclude(comparison: Comparison, settings: AnalysisSettings, table: TaskTable, draws: Draws) -> Analysis:
    """The analysis of configurations whose table and bootstrap are at hand."""
    pairs = list(combinations(range(len(table.labels)), 2))
    metered = table.metered()
    groups, unlike = table.groups(metered)
    per_unit, apart = table.matched_energies(metered)
    configurations = _configurations(comparison, table, settings)
    levene_result = no_result("Levene", 0, unlike) if unlike else levene(groups)
    matched = friedman(per_unit) if apart is None else no_result("Friedman", 0, apart)
    return Analysis(
        settings=settings,
        tasks=len(table.task_ids),
        units=draws.units,
        matched=draws.matched,
        configurations=configurations,
        intervals=intervals(draws, settings.level),
        any_difference=any_difference(draws, "energy_kwh"),
        levene=levene_result,
        kruskal_wallis=no_result("Kruskal-Wallis", 0, unlike) if unlike else kruskal_wallis(groups),
        dunn=no_pairs("Dunn", "bonferroni", metered, unlike) if unlike else dunn(groups),
        friedman=matched,
        conover=no_pairs("Conover", "holm", metered, apart) if apart else conover(per_unit, metered),
        nemenyi=no_pairs("Nemenyi", "single-step", metered, apart) if apart else nemenyi(per_unit, metered),
        mixed=_mixed(comparison, settings, table.select(metered)),
        pairs=compare_pairs(table, pairs, settings.margin, settings.level),
        contrasts=contrasts(draws, CONTRASTED, pairs, settings.level),
        rankings=rank_all(draws, settings.level),
        tradeoff=tradeoff(draws, budget_kwh=settings.budget_kwh, accuracy_floor=settings.accuracy_floor),
        findings=findings(
            [(c.label, c.durbin_watson, c.shapiro_wilk, c.levene_over_time) for c in configurations],
            levene_result,
            matched,
        ),
        notes=(
            *comparison.notes,
            *table.notes,
            *_provenance_notes(table.labels, [c.provenance for c in configurations]),
        ),
    )


def _ks(table: TaskTable) -> list[int]:
    """The usual k that some task has samples for; where others have fewer, pass@k is missing and says so."""
    return [k for k in KS if k <= max(int(table.evaluated.max()), 1)]


def _configurations(
    comparison: Comparison, table: TaskTable, settings: AnalysisSettings
) -> tuple[ConfigurationAnalysis, ...]:
    samples = comparison.samples().sort_values(["run", "order"])
    domains = task_domains(comparison.task_ids)
    samples = samples.join(domains, on="task_id").join(
        task_domains(comparison.task_ids, "text").add_prefix(TEXT), on="task_id"
    )
    energies, error = table.energies(), table.measured.run_error
    result = []
    for i, configuration in enumerate(comparison.configurations):
        own = samples[samples["configuration"] == configuration.label]
        runs = [comparison.frames.runs[run] for run in configuration.runs]
        metered = [run for run in runs if run.summary.gross_energy_j is not None]
        provenances: set[str] = {run.summary.provenance for run in metered} or {MISSING}
        order = time_order(own, settings.energy, settings.level)
        result.append(
            ConfigurationAnalysis(
                label=configuration.label,
                runs=tuple(str(run.path) for run in runs),
                samples=len(own),
                provenance=provenances.pop() if len(provenances) == 1 else "mixed",
                durbin_watson=order.durbin_watson,
                shapiro_wilk=shapiro_wilk(energies[configuration.label]),
                levene_over_time=order.levene,
                autocorrelation=order.autocorrelation,
                drift=order.drift,
                unit=table.kinds[i],
                units=len(np.unique(table.units[i])),
                run_se=float(error.se[i]),
                run_df=float(error.df[i]) if np.isfinite(error.df[i]) else None,
                regressions=tuple(
                    fit_regression(own, method, settings.energy, settings.level) for method in REGRESSIONS
                ),
                units_of_energy=unit_dependence(own, settings.energy),
            )
        )
    return tuple(result)


def _mixed(comparison: Comparison, settings: AnalysisSettings, table: TaskTable) -> MixedResult:
    """Of single samples where each was measured by itself, else of the units of each run."""
    samples = comparison.samples()
    chosen = samples[samples["task_id"].isin(table.task_ids) & samples["configuration"].isin(table.labels)]
    at = pd.Categorical(chosen["configuration"], table.labels).codes
    chosen = chosen.assign(_at=at, _joules=chosen[f"{settings.energy}_j"]).sort_values("_at")
    chosen = chosen[~chosen.groupby("run")["_joules"].transform(lambda of: of.isna().all()).astype(bool)]
    if not table.labels:
        return MixedResult(reference="", n=0, tasks=0, reason="an energy is missing or not above 0")
    of_task, count, matched = table.measured.joint
    if not matched:
        return MixedResult(reference=table.labels[0], n=0, tasks=0, reason="the sides' batches hold different tasks")
    if count < len(table.task_ids):
        unit = dict(zip(table.task_ids, of_task.tolist(), strict=True))
        chosen = chosen.assign(task_id=chosen["task_id"].map(unit).astype(str))
        added = chosen.groupby(["_at", "configuration", "run", "task_id"], sort=True)["_joules"]
        chosen = added.sum().where(added.count() == added.size()).reset_index()  # of a missing one the sum is missing
    joules = chosen["_joules"].to_numpy(dtype=np.float64)
    fitted = mixed_model(
        np.log(np.where(joules > 0, joules, np.nan)), chosen["configuration"].tolist(), chosen["task_id"].tolist(),
        chosen["run"].tolist(), settings.level,
    )  # fmt: skip
    stated = dict(zip(table.labels, table.measured.stated_se.tolist(), strict=True))
    return with_stated_errors(fitted, stated, settings.level)


def _provenance_notes(labels: tuple[str, ...], provenances: list[str]) -> list[str]:
    computed = [p for p in provenances if p not in ("measured", MISSING)]
    unmeasured = [f"{label} ({p})" for label, p in zip(labels, provenances, strict=True) if p in computed]
    if len(unmeasured) == len(labels) > 1 and len(set(provenances)) == 1:
        return [f"energy was not measured but is {provenances[0]} for all {len(labels)} configurations"]
    return [f"energy was not measured but computed for: {', '.join(unmeasured)}"] if unmeasured else []
