"""All that a report rests on: runs read once, and what the analysis says of them, computed when a section asks.

Every statistic here comes from ``passkwh.analysis``.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from typing import Any

from passkwh.adapters.early_exit.training.log import TrainingLog
from passkwh.analysis.bootstrap import Draws, draw
from passkwh.analysis.effects_vs_reference import ReferenceEffect, effects_vs_reference
from passkwh.analysis.exits.study import ExitStudy, study
from passkwh.analysis.experiments import DESIGNS, Experiment, ExperimentName, members, run_experiment
from passkwh.analysis.frames import Frames, Run
from passkwh.analysis.granularity import DomainRow, by_domain
from passkwh.analysis.intervals import intervals
from passkwh.analysis.overview import Analysis, AnalysisSettings, conclude, resample
from passkwh.analysis.pareto import frontier
from passkwh.analysis.pooling import Comparison, compare
from passkwh.analysis.power import PowerTimeline, power_timeline
from passkwh.analysis.ranking import Ranking, rank, spread_of
from passkwh.analysis.results import Interval
from passkwh.analysis.task_table import task_table
from passkwh.analysis.tasks import TaskTable, join
from passkwh.errors import UsageError
from passkwh.harness.runs.labels import run_labels
from passkwh.measures import MEASURES, Unit, energy_unit, kinds
from passkwh.reports.document.content import Estimate

MOST_RANKED = 40
"""Runs that are ranked together: all pairs are compared in every resample."""
NO_DOMAINS = "it needs runs of BigCodeBench, and these tasks have no domains"


class Evidence:
    """Runs and what the analysis says of them, for one outline.

    The short report shows runs one by one (``by_run``): each over all of its own tasks, whatever machine it ran on. All
    other outlines pool repeats and compare configurations over the tasks that all of them ran.

    Raises:
        UsageError: runs of different tasks; for outlines that compare, runs that cannot be compared; and for a named
            experiment, runs that do not allow it.
    """

    def __init__(
        self,
        frames: Frames,
        outline: str = "short",
        settings: AnalysisSettings | None = None,
        strict: bool = False,
        metrics: Sequence[str] = (),
        training: Sequence[TrainingLog] = (),
    ) -> None:
        self.outline = outline
        self.training = tuple(training)
        """Trainings whose figures belong beside these runs."""
        self.settings = settings or AnalysisSettings()
        self.by_run = outline == "short"
        self._metrics = metrics
        self._strict = strict
        self.left_out: tuple[str, ...] = ()
        """Configurations given that are no part of the experiment."""
        self.frames = frames
        if self.by_run:
            _check_same_tasks(frames.runs)
        elif outline != "exits":
            self.frames, self.left_out = self._restricted()
        if outline != "exits":
            # Arrow and numpy thin traces beside Python: on the second core, while the analysis is on the first.
            beside = ThreadPoolExecutor(max_workers=1)
            self._thinning = {label: beside.submit(power_timeline, self.first_run(label)) for label in self.labels}
            beside.shutdown(wait=False)
        if outline in ("exits", "early-exit"):
            _ = self.exits  # refused here, and not in the middle of a report
        elif not self.by_run and (reason := self.impossible.get(outline)):
            raise UsageError(f"experiment {outline}: {reason}")

    def _restricted(self) -> tuple[Frames, tuple[str, ...]]:
        """Only the configurations that take part in a named experiment, as if no other had been given."""
        design = next((known for known in DESIGNS if known == self.outline), None)
        if design is None:
            return self.frames, ()
        comparison = compare(self.frames, self._strict)
        labels = {label for family in members(design, comparison).values() for _, label in family}
        inside = [c for c in comparison.configurations if c.label in labels]
        left_out = tuple(c.label for c in comparison.configurations if c.label not in labels)
        return only(self.frames, sorted(run for c in inside for run in c.runs)) if left_out else self.frames, left_out

    # ------------------------------------------------------------ runs, one by one or pooled

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs."""
        return self.frames.runs

    @cached_property
    def run_labels(self) -> tuple[str, ...]:
        """What each run (by position) is shown as: itself in the short report, else the configuration it is of."""
        if self.by_run:
            return tuple(run_labels([run.manifest for run in self.runs]))
        label_of = {run: c.label for c in self.comparison.configurations for run in c.runs}
        return tuple(label_of[position] for position in range(len(self.runs)))

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """What is shown beside each other: runs in the short report, else configurations."""
        return tuple(dict.fromkeys(self.run_labels))

    def first_run(self, label: str) -> Run:
        """The first run of a label."""
        return self.runs[self.run_labels.index(label)]

    def provenance(self, label: str) -> str:
        """measured, estimated, simulated or mixed."""
        own = {run.summary.provenance for run, of in zip(self.runs, self.run_labels, strict=True) if of == label}
        return own.pop() if len(own) == 1 else "mixed"

    # ------------------------------------------------------------ headline measures

    def headline(self, measure: str, label: str, factor: float = 1.0) -> Estimate:
        """A headline measure with its interval, in another unit by ``factor``."""
        interval = self._intervals.get((measure, label))
        value = interval.estimate if interval else None
        reason = interval.reason or interval.note if interval else None
        if self.by_run:  # the run's own figure; the interval is over the tasks that have both verdict and energy
            summary = self.first_run(label).summary
            value = MEASURES[measure].value(summary)
            reason = MEASURES[measure].reason(summary) or reason
        bounds = (None, None) if interval is None or value is None else (interval.low, interval.high)
        value, low, high = (None if v is None else v * factor for v in (value, *bounds))
        return Estimate(value=value, low=low, high=high, reason=reason)

    def interval(self, measure: str, label: str) -> Interval:
        """A headline as the analysis gives it."""
        return self._intervals[measure, label]

    @cached_property
    def _intervals(self) -> dict[tuple[str, str], Interval]:
        if not self.by_run:
            return {(i.measure, i.label): i for i in self.analysis.intervals}
        settings, found = self.settings, {}
        for label, table in self._run_tables.items():
            for i in intervals(draw(table, settings.resamples, settings.seed), settings.level):
                found[i.measure, label] = i.model_copy(update={"label": label})
        return found

    @cached_property
    def _run_tables(self) -> dict[str, TaskTable]:
        """The tasks of each run; without those that have no task with both a verdict and an energy."""
        tables = {}
        for position, label in enumerate(self.run_labels):
            with suppress(UsageError):
                tables[label] = task_table(compare(only(self.frames, [position])), self.settings.energy)
        return tables

    @cached_property
    def run_ranking(self) -> Ranking | None:
        """Runs by tasks solved per kilowatt-hour over the tasks that all have; None of too many, or without any."""
        labels, measure = list(self._run_tables), "solved_per_kwh"
        if not 1 < len(labels) <= MOST_RANKED:
            return None
        table = join(list(self._run_tables.values()), labels)
        if table is None:
            return None
        draws = draw(table, self.settings.resamples, self.settings.seed)
        values, drawn, spread = draws.estimates[measure], draws.resampled[measure], spread_of(draws, measure)
        return rank(measure, "max", draws.labels, values, drawn, self.settings.level, spread)

    @cached_property
    def on_frontier(self) -> dict[str, bool]:
        """Whether each label with an energy and a pass@1 is on the efficient frontier of the two."""
        if not self.by_run:
            points = self.analysis.tradeoff.points if self.analysis.tradeoff else ()
            return {p.label: p.on_frontier for p in points if None not in p.values}
        plane = {
            label: (energy, accuracy) for label, run in zip(self.run_labels, self.runs, strict=True)
            if (energy := run.summary.energy_kwh) is not None
            and (accuracy := run.summary.pass_at_k.get("1")) is not None
        }  # fmt: skip
        return dict(zip(plane, frontier(list(plane.values()), ["min", "max"]), strict=True)) if plane else {}

    @property
    def frontier_probability(self) -> dict[str, float]:
        """Share of resamples in which each configuration is on the frontier; runs are not resampled together."""
        tradeoff = None if self.by_run else self.analysis.tradeoff
        return {p.label: p.probability for p in tradeoff.points} if tradeoff else {}

    @cached_property
    def energy_unit(self) -> Unit:
        """The unit in which this report gives energies of runs."""
        return energy_unit(self.headline("energy_kwh", label).value for label in self.labels)

    @property
    def energy_named(self) -> str:
        """What axes call the energy: measured energy, estimated net energy, ..."""
        return f"{self._kinds}{' net' if self.settings.energy == 'net' else ''} energy"

    @property
    def energy_is(self) -> str:
        """A sentence on the provenance of energy for captions; empty where all of it is measured."""
        return "" if self._kinds == "measured" else f" Energy is {self._kinds}."

    @property
    def _kinds(self) -> str:
        return kinds(self.provenance(label) for label in self.labels)

    # ------------------------------------------------------------ analyses of configurations

    @cached_property
    def comparison(self) -> Comparison:
        """Repeats pooled, over the common tasks."""
        return compare(self.frames, self._strict)

    @cached_property
    def _drawn(self) -> tuple[TaskTable, Draws]:
        return resample(self.comparison, self.settings)

    @property
    def table(self) -> TaskTable:
        """Energies, verdicts and tokens by configuration and task."""
        return self._drawn[0]

    @cached_property
    def analysis(self) -> Analysis:
        """Everything about the configurations: `bench analyze`."""
        return conclude(self.comparison, self.settings, *self._drawn)

    @property
    def experiments(self) -> dict[ExperimentName, Experiment]:
        """Those of the thesis's experiments that are wanted and that these runs allow."""
        return self._experiments[0]

    @property
    def impossible(self) -> dict[str, str]:
        """Experiments that are wanted and that these runs do not allow, each with the reason."""
        return self._experiments[1]

    @cached_property
    def _experiments(self) -> tuple[dict[ExperimentName, Experiment], dict[str, str]]:
        possible: dict[ExperimentName, Experiment] = {}
        impossible: dict[str, str] = {}
        for name in DESIGNS:
            if self.outline in ("all", name):
                try:
                    possible[name] = run_experiment(name, self.comparison, self.settings.energy)
                except UsageError:
                    impossible[name] = f"it needs runs of {DESIGNS[name].needs}, and these hold none"
        if self.outline in ("all", "early-exit"):
            try:
                _ = self.exits
            except UsageError as error:
                impossible["early-exit"] = str(error)
        if not self.domains:
            impossible["granularity"] = NO_DOMAINS
        return possible, impossible

    @cached_property
    def changes(self) -> dict[ExperimentName, tuple[ReferenceEffect, ...]]:
        """Each configuration of an experiment against its family's reference."""
        table, draws = self._drawn
        margin, level = self.settings.margin, self.settings.level
        return {name: effects_vs_reference(one, table, draws, margin, level) for name, one in self.experiments.items()}

    @cached_property
    def domains(self) -> tuple[DomainRow, ...]:
        """Energy and accuracy by domain; empty where tasks have none."""
        settings = self.settings
        return by_domain(self.comparison, settings.energy, seed=settings.seed, level=settings.level)

    @cached_property
    def exits(self) -> ExitStudy:
        """Runs with early exit against those without. Raises UsageError where there are none."""
        return study(self.frames, self._metrics, self.settings.energy)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of these results must know beside them."""
        if self.by_run:
            return ()
        return self.exits.notes if self.outline == "exits" else self.analysis.notes

    def results(self) -> dict[str, Any]:
        """All that was computed, in full, for ``report.json``."""
        if self.by_run:
            return {}
        if self.outline == "exits":
            return {"exits": self.exits.content()}
        with_exits = self.outline in ("all", "early-exit") and "early-exit" not in self.impossible
        return {
            "analysis": self.analysis.model_dump(mode="json"),
            "experiments": {name: one.model_dump(mode="json") for name, one in self.experiments.items()},
            "changes": {name: [c.model_dump(mode="json") for c in own] for name, own in self.changes.items()},
            "domains": [row.model_dump(mode="json") for row in self.domains],
            "exits": self.exits.content() if with_exits else None,
            "impossible": self.impossible,
        }

    # ------------------------------------------------------------ power over time

    @cached_property
    def timelines(self) -> dict[str, PowerTimeline]:
        """Power over time of each label's first run."""
        return {label: timeline.result() for label, timeline in self._thinning.items()}


def only(frames: Frames, runs: Sequence[int]) -> Frames:
    """The frames of some of the runs (positions), as if no other had been read."""
    samples = frames.samples[frames.samples["run"].isin(runs)]
    places = {run: place for place, run in enumerate(runs)}
    return Frames(
        tuple(frames.runs[run] for run in runs),
        samples.assign(run=samples["run"].map(places)).reset_index(drop=True),
    )


def _check_same_tasks(runs: Sequence[Run]) -> None:
    """Refuse runs of different benchmarks or data, which one table would wrongly compare."""
    for run in runs[1:]:
        for field in ("name", "version", "sha256"):
            first, other = (getattr(r.manifest.benchmark, field) for r in (runs[0], run))
            if first != other:
                raise UsageError(
                    f"{runs[0].manifest.run_id} and {run.manifest.run_id} differ in benchmark.{field} "
                    f"({first} and {other}): report runs of the same tasks together"
                )
