"""All that a report rests on: runs read and analysed once. Every statistic here comes from ``passkwh.analysis``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from passkwh.analysis.bootstrap import draw
from passkwh.analysis.changes import Change, changes
from passkwh.analysis.experiments import DESIGNS, Experiment, ExperimentName, members, run_experiment
from passkwh.analysis.frames import Frames, Run, load
from passkwh.analysis.granularity import DomainRow, by_domain
from passkwh.analysis.overview import Analysis, Settings, analyse, usual_ks
from passkwh.analysis.pooling import Comparison, compare
from passkwh.analysis.power import PowerTimeline, power_timeline
from passkwh.analysis.results import Interval
from passkwh.analysis.tasks import TaskTable, task_table
from passkwh.errors import UsageError

EXPERIMENTS = ("batch-size", "model-size", "fine-tuning", "awq", "gptq", "granularity", "early-exit", "all")
NO_DOMAINS = "it needs runs of BigCodeBench, and these tasks have no domains"

NO_EXITS = "no token of these runs leaves early: none was made with an exit rule"


@dataclass(frozen=True)
class Evidence:
    """Runs and what the analysis says of them."""

    experiment: str
    comparison: Comparison
    analysis: Analysis
    table: TaskTable
    experiments: dict[ExperimentName, Experiment]
    changes: dict[ExperimentName, tuple[Change, ...]]
    impossible: dict[str, str]
    """Experiments that these runs do not allow, each with the reason."""
    domains: tuple[DomainRow, ...]
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

    def label_of(self, run: int) -> str:
        """The configuration that a run (by position) belongs to."""
        return next(c.label for c in self.comparison.configurations if run in c.runs)

    def interval(self, measure: str, label: str) -> Interval:
        """A headline with its interval."""
        return next(i for i in self.analysis.intervals if i.measure == measure and i.label == label)

    def provenance(self, label: str) -> str:
        """measured, estimated, simulated or mixed."""
        return next(c.provenance for c in self.analysis.configurations if c.label == label)


def gather(paths: Sequence[Path], experiment: str, settings: Settings, strict: bool = False) -> Evidence:
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
    analysis = analyse(comparison, settings)
    table = task_table(comparison, settings.energy)
    found: dict[ExperimentName, Experiment] = {}
    impossible: dict[str, str] = {}
    for name in DESIGNS:
        if experiment in ("all", name):
            try:
                found[name] = run_experiment(name, comparison, settings.energy)
            except UsageError:
                impossible[name] = f"it needs runs of {DESIGNS[name].needs}, and these hold none"
    domains = by_domain(comparison, settings.energy, seed=settings.seed, level=settings.level)
    if not any(run.manifest.spec.exit or run.summary.mean_exit_layer is not None for run in comparison.frames.runs):
        impossible["early-exit"] = NO_EXITS
        if experiment == "early-exit":
            raise UsageError(f"experiment early-exit: {NO_EXITS}; make some with bench run --exit")
    if not domains:
        impossible["granularity"] = NO_DOMAINS
        if experiment == "granularity":
            raise UsageError(f"experiment granularity: {NO_DOMAINS}")
    draws = draw(table, settings.resamples, settings.seed, usual_ks(table)) if found else None
    return Evidence(
        experiment=experiment,
        comparison=comparison,
        analysis=analysis,
        table=table,
        experiments=found,
        changes={}
        if draws is None
        else {name: changes(e, table, draws, settings.margin, settings.level) for name, e in found.items()},
        impossible=impossible,
        domains=domains,
        power={c.label: power_timeline(comparison.frames.runs[c.runs[0]]) for c in comparison.configurations},
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
