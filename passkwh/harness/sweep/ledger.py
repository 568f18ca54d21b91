"""Beginning a study, or going on with it, and noting in its ledger what happens to its runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from passkwh.errors import UsageError
from passkwh.harness.sweep.folder import LOGS, Event, FailureKind, PlannedRun, StudyFolder, StudyRecord, is_study
from passkwh.harness.sweep.order import ordered
from passkwh.harness.sweep.status import by_run, complete_run, end_noted, study_status
from passkwh.harness.sweep.study import Study, StudySettings
from passkwh.records import Spec, spec_identity

if TYPE_CHECKING:
    from passkwh.harness.plan import PlanReport
    from passkwh.harness.sweep.preflight import Preflight
    from passkwh.harness.sweep.supervise import AttemptOutcome

T = TypeVar("T")

FINAL: frozenset[FailureKind] = frozenset({"usage", "disk full", "damaged"})
"""Failures that come again as long as nobody changes anything: not tried again before the next `bench sweep run`."""
LOST_NODES = 3
"""How often a run may lose its node before it is given up."""


def refuse_problems(study: Study, hosts: Sequence[Preflight]) -> tuple[PlanReport, ...]:
    """The plan of each configuration from a host that can run it.

    Raises:
        UsageError: a configuration that no host can run, named with file, table and key.
    """
    chosen = []
    for number, configuration in enumerate(study.configurations):
        plans = [preflight.plans[number] for preflight in hosts]
        able = next((plan for plan in plans if not plan.problems), None)
        if able is None:
            problem = plans[0].problems[0]
            where = "" if len(hosts) == 1 else f" (no host of {len(hosts)} can run it; this is the first one's reason)"
            raise study.wrong(configuration.origin, problem.field, f"{problem.text}{where}")
        chosen.append(able)
    return tuple(chosen)


def begin(study: Study, plans: Sequence[PlanReport], out: Path) -> StudyFolder:
    """The study's folder, locked: a new one, or the one that was begun with the same study file.

    Raises:
        UsageError: another driver is at work, the folder is something else, or it was begun with another study.
    """
    path = out / study.settings.name
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file, not a folder; choose another --out")
    if path.is_dir() and not is_study(path) and any(path.glob("*/manifest.json")):
        raise UsageError(f"{path} holds runs that are no study; choose another --out or another name in {study.file}")
    folder = StudyFolder(path)
    try:
        (path / LOGS).mkdir(parents=True, exist_ok=True)
        folder.lock()
        new = record(study, plans)
        if is_study(path):
            _refuse_another_study(study, folder.record(), new, path)
        else:
            folder.write(study, new)
        folder.reserve()
    except OSError as error:
        folder.unlock()
        raise UsageError(f"{path} cannot be written ({error.strerror}); choose another --out") from error
    except BaseException:
        folder.unlock()
        raise
    return folder


def record(study: Study, plans: Sequence[PlanReport]) -> StudyRecord:
    """The study's runs in their order, each with the spec that is run. Raises UsageError where two are the same."""
    plan_of = by_identity(study, plans)
    runs: dict[str, PlannedRun] = {}
    for requested in ordered(study):
        run_id, spec = repeat_of(plan_of[spec_identity(requested)], requested.repeat)
        if run_id in runs:
            raise UsageError(f"{study.file}: two configurations are the same run ({run_id}) once filled in: remove one")
        runs[run_id] = PlannedRun(run_id=run_id, requested=requested, spec=spec)
    return StudyRecord(settings=study.settings, runs=tuple(runs.values()))


def repeat_of(plan: PlanReport, repeat: int) -> tuple[str, Spec]:
    """Run id and spec of a repetition of a planned configuration."""
    return plan.run_id.rpartition("-r")[0] + f"-r{repeat}", plan.spec.model_copy(update={"repeat": repeat})


def _refuse_another_study(study: Study, old: StudyRecord, new: StudyRecord, path: Path) -> None:
    """What determines samples and their order must be as it was; how failures are handled may change."""
    fix = f"give the study another name in {study.file}, or choose another --out"
    before, now = ([(spec_identity(r.requested), r.requested.repeat) for r in record.runs] for record in (old, new))
    if set(before) != set(now):
        added, gone = len(set(now) - set(before)), len(set(before) - set(now))
        raise UsageError(f"{path} was begun with other runs ({added} are new, {gone} are gone): {fix}")
    if before != now:
        raise UsageError(f"{path} was begun in another order (order, seed): {fix}")


def todo(folder: StudyFolder) -> list[PlannedRun]:
    """Runs that are not complete, in the study's order; damaged ones are left for people to look at."""
    states = {run.run_id: run.state for run in study_status(folder).runs}
    return [planned for planned in folder.record().runs if states[planned.run_id] not in ("complete", "damaged")]


@dataclass
class Ledger:
    """Notes what happens to the runs of a study that is carried out, and knows which are to be tried again and when
    there is no sense in going on.
    """

    folder: StudyFolder
    settings: StudySettings
    notify: Callable[[str], None]
    """Gets a line for the reader at each start and end."""
    _alike: int = 0
    _last: tuple[str, str] | None = None
    _failures: Counter[tuple[str, bool]] = field(default_factory=Counter)
    """By run, apart from whether its node was lost."""

    def note_complete_runs(self) -> None:
        """Complete runs that the ledger does not know, as after a driver that was killed."""
        known = by_run(self.folder.events())
        for planned in self.folder.record().runs:
            path = self.folder.path / planned.run_id
            events = known.get(planned.run_id, [])
            if (path / "summary.json").is_file() and end_noted(events) is None:
                try:
                    self.folder.append("complete", planned.run_id, **complete_run(path))
                except UsageError as error:
                    if not (events and events[-1].kind == "damaged"):  # noted once
                        self.folder.append("failed", planned.run_id, kind="damaged", reason=str(error))

    def started(self, run_id: str, pid: int | None, **where: Any) -> None:
        """An attempt begins."""
        self.folder.append("started", run_id, pid=pid, **where)
        self.notify(f"{run_id}: started")

    def ended(self, run_id: str, outcome: AttemptOutcome, **where: Any) -> Event:
        """An attempt has ended."""
        event = self.folder.append(
            outcome.event,
            run_id,
            elapsed_s=outcome.elapsed_s,
            kind=outcome.kind,
            reason=outcome.reason,
            **(outcome.result or {}),
            **where,
        )
        if outcome.event == "complete":
            self._alike, self._last = 0, None
            joules = f"no energy: {event.energy_reason}"
            if event.gross_energy_j is not None:
                joules = f"{event.gross_energy_j:.0f} J {event.provenance}"
            self.notify(f"{run_id}: complete in {outcome.elapsed_s:.0f} s, {joules}")
        elif outcome.event == "failed":
            failure = (outcome.kind or "error", (outcome.reason or "").replace(run_id, "RUN"))
            self._alike = self._alike + 1 if failure == self._last else 1
            self._last = failure
            self.notify(f"{run_id}: failed ({outcome.kind}): {outcome.reason}")
        else:
            self.notify(f"{run_id}: stopped")
        return event

    def try_again(self, run_id: str, outcome: AttemptOutcome) -> bool:
        """Whether a run that ended so is to be tried again, after all others: what disturbed it may be over."""
        if outcome.event != "failed" or outcome.kind in FINAL:
            return False
        lost = outcome.kind == "lost node"
        self._failures[run_id, lost] += 1
        return self._failures[run_id, lost] <= (LOST_NODES if lost else self.settings.retries)

    def hopeless(self) -> str | None:
        """Why there is no sense in going on: so many failures alike in a row."""
        if self._last is None or self._alike < self.settings.stop_after:
            return None
        return f"{self._alike} runs in a row failed alike ({self._last[0]}): {self._last[1]}"


def by_identity(study: Study, values: Iterable[T]) -> dict[str, T]:
    """Values, one for each configuration of the study, by the identity of its spec."""
    return {spec_identity(c.spec): value for c, value in zip(study.configurations, values, strict=True)}
