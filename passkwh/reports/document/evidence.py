"""All that a report rests on: runs read and analysed once. Every statistic here comes from ``passkwh.analysis``."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from passkwh.analysis.effects_vs_reference import ReferenceEffect, effects_vs_reference
from passkwh.analysis.exits import ExitStudy, study
from passkwh.analysis.experiments import DESIGNS, Experiment, ExperimentName, members, run_experiment
from passkwh.analysis.frames import Frames, Run, load
from passkwh.analysis.granularity import DomainRow, by_domain
from passkwh.analysis.overview import Analysis, AnalysisSettings, conclude, resample
from passkwh.analysis.pooling import Comparison, compare
from passkwh.analysis.power import PowerTimeline, power_timeline
from passkwh.analysis.results import Interval
from passkwh.analysis.tasks import TaskTable
from passkwh.errors import UsageError
from passkwh.measures import kinds

EXPERIMENTS = ("batch-size", "model-size", "fine-tuning", "awq", "gptq", "granularity", "early-exit", "all")
NO_DOMAINS = "it needs runs of BigCodeBench, and these tasks have no domains"


@dataclass(frozen=True)
class Evidence:
    """Runs and what the analysis says of them."""

    experiment: str
    comparison: Comparison
    analysis: Analysis
    table: TaskTable
    experiments: dict[ExperimentName, Experiment]
    changes: dict[ExperimentName, tuple[ReferenceEffect, ...]]
    impossible: dict[str, str]
    """Experiments that these runs do not allow, each with the reason."""
    domains: tuple[DomainRow, ...]
    exits: ExitStudy | None
    """Runs that leave early, against those that do not; None where there are none, or they were not asked for."""
    power: dict[str, PowerTimeline]
    """Power over time of each configuration's first run."""
    left_out: tuple[str, ...]
    """Configurations given that are no part of the experiment."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The configurations."""
        return self.table.labels

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs."""
        return self.comparison.frames.runs

    @property
    def energy_is(self) -> str:
        """A sentence on the provenance of energy for captions; empty where all of it is measured."""
        return "" if self._kinds == "measured" else f" Energy is {self._kinds}."

    @property
    def energy_named(self) -> str:
        """What axes call the energy: measured energy, estimated net energy, ..."""
        return f"{self._kinds}{' net' if self.analysis.settings.energy == 'net' else ''} energy"

    @property
    def _kinds(self) -> str:
        return kinds(self.provenance(label) for label in self.labels)

    def label_of(self, run: int) -> str:
        """The configuration that a run (by position) belongs to."""
        return next(c.label for c in self.comparison.configurations if run in c.runs)

    def interval(self, measure: str, label: str) -> Interval:
        """A headline with its interval."""
        return next(i for i in self.analysis.intervals if i.measure == measure and i.label == label)

    def provenance(self, label: str) -> str:
        """measured, estimated, simulated or mixed."""
        return next(c.provenance for c in self.analysis.configurations if c.label == label)


def gather(paths: Sequence[Path], experiment: str, settings: AnalysisSettings, strict: bool = False) -> Evidence:
    """Read runs and analyse them for one experiment, or for all.

    Raises:
        UsageError: for runs that cannot be read or compared, an unknown experiment, or one that these runs lack.
    """
    if experiment not in EXPERIMENTS:
        raise UsageError(
            f"--experiment {experiment}: there is none of that name; write one of {', '.join(EXPERIMENTS)}"
        )
    frames = load(paths)
    everything = compare(frames, strict)
    comparison, left_out = _restrict(everything, experiment, strict)
    # Traces are thinned by DuckDB, beside Python: on the second core while the analysis is on the first.
    with ThreadPoolExecutor(max_workers=1) as beside:
        timelines = {c.label: beside.submit(power_timeline, comparison.frames.runs[c.runs[0]])
                     for c in comparison.configurations}  # fmt: skip
        table, draws = resample(comparison, settings)
        analysis = conclude(comparison, settings, table, draws)
        power = {label: timeline.result() for label, timeline in timelines.items()}
    found: dict[ExperimentName, Experiment] = {}
    impossible: dict[str, str] = {}
    for name in DESIGNS:
        if experiment in ("all", name):
            try:
                found[name] = run_experiment(name, comparison, settings.energy)
            except UsageError:
                impossible[name] = f"it needs runs of {DESIGNS[name].needs}, and these hold none"
    domains = by_domain(comparison, settings.energy, seed=settings.seed, level=settings.level)
    leaving: ExitStudy | None = None
    if experiment in ("all", "early-exit"):
        try:
            leaving = study(comparison.frames)
        except UsageError as error:
            if experiment == "early-exit":
                raise
            impossible["early-exit"] = str(error)
    if not domains:
        impossible["granularity"] = NO_DOMAINS
        if experiment == "granularity":
            raise UsageError(f"experiment granularity: {NO_DOMAINS}")
    return Evidence(
        experiment=experiment,
        comparison=comparison,
        analysis=analysis,
        table=table,
        experiments=found,
        changes={
            name: effects_vs_reference(e, table, draws, settings.margin, settings.level) for name, e in found.items()
        },
        impossible=impossible,
        domains=domains,
        exits=leaving,
        power=power,
        left_out=left_out,
    )


def _restrict(comparison: Comparison, experiment: str, strict: bool) -> tuple[Comparison, tuple[str, ...]]:
    """Only the configurations that take part in a named experiment, as if no other had been given."""
    design = next((known for known in DESIGNS if known == experiment), None)
    if design is None:
        return comparison, ()
    labels = {label for family in members(design, comparison).values() for _, label in family}
    inside = [c for c in comparison.configurations if c.label in labels]
    left_out = tuple(c.label for c in comparison.configurations if c.label not in labels)
    if not left_out:
        return comparison, ()
    return compare(_only(comparison.frames, sorted(run for c in inside for run in c.runs)), strict), left_out


def _only(frames: Frames, runs: Sequence[int]) -> Frames:
    samples = frames.samples[frames.samples["run"].isin(runs)]
    places = {run: place for place, run in enumerate(runs)}
    return Frames(
        tuple(frames.runs[run] for run in runs),
        samples.assign(run=samples["run"].map(places)).reset_index(drop=True),
    )
