"""Everything about a set of runs: `bench analyze RUN...`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field

from passkwh.analysis.assumptions import durbin_watson, levene, levene_over_time, shapiro_wilk
from passkwh.analysis.bootstrap import DIRECTIONS, Draws, contrasts, draw, intervals
from passkwh.analysis.domains import task_domains
from passkwh.analysis.findings import findings
from passkwh.analysis.independent_tests import dunn, kruskal_wallis
from passkwh.analysis.mixed import MixedResult, random_intercept
from passkwh.analysis.paired_tests import conover, friedman, nemenyi
from passkwh.analysis.pairs import PairTests, compare_pairs
from passkwh.analysis.pooling import Comparison
from passkwh.analysis.ranking import Ranking, rank
from passkwh.analysis.regression import Method, RegressionResult, fit_regression, residuals_without_lag
from passkwh.analysis.results import Contrast, Finding, Interval, PairwiseResult, TestResult
from passkwh.analysis.tasks import EnergyKind, Floats, TaskTable, task_table
from passkwh.analysis.tradeoff import Tradeoff, tradeoff
from passkwh.records import Record

REGRESSIONS: tuple[Method, ...] = ("thesis", "with intercept", "Newey-West", "GLSAR")
KS = (1, 5, 10)
CONTRASTED = ("pass_at_1", "energy_kwh", "pass_at_kwh", "joules_per_token")


class AnalysisSettings(Record):
    """What an analysis was asked for."""

    energy: EnergyKind = "gross"
    resamples: Annotated[int, Field(ge=100)] = 10_000
    seed: int = 0
    level: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    margin: Annotated[float, Field(gt=0, lt=1, description="of pass@1, for non-inferiority and equivalence")] = 0.02
    budget_kwh: float | None = None
    accuracy_floor: float | None = None


class ConfigurationAnalysis(Record):
    """One configuration by itself."""

    label: str
    runs: tuple[str, ...]
    samples: int
    provenance: Annotated[str, Field(description="measured, estimated, simulated or mixed")]
    durbin_watson: TestResult
    shapiro_wilk: TestResult
    levene_over_time: TestResult
    regressions: tuple[RegressionResult, ...]


class Analysis(Record):
    """The answer to: do these configurations differ, by how much, how sure is that, and how much accuracy is lost?"""

    settings: AnalysisSettings
    tasks: int
    configurations: tuple[ConfigurationAnalysis, ...]
    intervals: tuple[Interval, ...]
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
    groups = table.energies()
    per_task = table.energy_j.T
    configurations = _configurations(comparison, groups)
    levene_result, friedman_result = levene(groups), friedman(per_task)
    provenances = [c.provenance for c in configurations]
    return Analysis(
        settings=settings,
        tasks=len(table.task_ids),
        configurations=configurations,
        intervals=intervals(draws, settings.level),
        levene=levene_result,
        kruskal_wallis=kruskal_wallis(groups),
        dunn=dunn(groups),
        friedman=friedman_result,
        conover=conover(per_task, table.labels),
        nemenyi=nemenyi(per_task, table.labels),
        mixed=_mixed(comparison, settings.energy, table),
        pairs=compare_pairs(table, pairs, settings.margin, settings.level),
        contrasts=contrasts(draws, CONTRASTED, pairs, settings.level),
        rankings=_rankings(draws, settings.level),
        tradeoff=tradeoff(draws, budget_kwh=settings.budget_kwh, accuracy_floor=settings.accuracy_floor),
        findings=findings(
            [(c.label, c.durbin_watson, c.shapiro_wilk, c.levene_over_time) for c in configurations],
            levene_result,
            friedman_result,
        ),
        notes=(*comparison.notes, *table.notes, *_provenance_notes(table.labels, provenances)),
    )


def _ks(table: TaskTable) -> list[int]:
    """The usual k that some task has samples for; where others have fewer, pass@k is missing and says so."""
    return [k for k in KS if k <= max(int(table.evaluated.max()), 1)]


def _configurations(comparison: Comparison, energies: Mapping[str, Floats]) -> tuple[ConfigurationAnalysis, ...]:
    samples = comparison.samples().sort_values(["run", "order"])
    domains = task_domains(comparison.task_ids)
    samples = samples.join(domains, on="task_id")
    result = []
    for configuration in comparison.configurations:
        own = samples[samples["configuration"] == configuration.label]
        residuals = residuals_without_lag(own)
        runs = [comparison.frames.runs[i] for i in configuration.runs]
        provenances = {run.summary.provenance for run in runs}
        result.append(
            ConfigurationAnalysis(
                label=configuration.label,
                runs=tuple(str(run.path) for run in runs),
                samples=len(own),
                provenance=provenances.pop() if len(provenances) == 1 else "mixed",
                durbin_watson=durbin_watson(residuals),
                shapiro_wilk=shapiro_wilk(energies[configuration.label]),
                levene_over_time=levene_over_time(residuals),
                regressions=tuple(fit_regression(own, method) for method in REGRESSIONS),
            )
        )
    return tuple(result)


def _mixed(comparison: Comparison, energy: EnergyKind, table: TaskTable) -> MixedResult:
    samples = comparison.samples()
    chosen = samples[samples["task_id"].isin(table.task_ids) & samples["configuration"].isin(table.labels)]
    chosen = chosen.assign(_at=pd.Categorical(chosen["configuration"], table.labels).codes).sort_values("_at")
    positive = chosen[f"{energy}_j"].where(chosen[f"{energy}_j"] > 0)
    return random_intercept(
        np.log(positive.to_numpy(dtype=np.float64)), chosen["configuration"].tolist(), chosen["task_id"].tolist()
    )


def _rankings(draws: Draws, level: float) -> tuple[Ranking, ...]:
    return tuple(
        rank(measure, direction, draws.labels, draws.estimates[measure], draws.resampled[measure], level)
        for measure, direction in DIRECTIONS.items()
    )


def _provenance_notes(labels: tuple[str, ...], provenances: list[str]) -> list[str]:
    unmeasured = [f"{label} ({p})" for label, p in zip(labels, provenances, strict=True) if p != "measured"]
    if len(unmeasured) == len(labels) > 1 and len(set(provenances)) == 1:
        return [f"energy was not measured but is {provenances[0]} for all {len(labels)} configurations"]
    return [f"energy was not measured but computed for: {', '.join(unmeasured)}"] if unmeasured else []
