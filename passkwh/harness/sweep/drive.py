"""A study on this machine: one run after the other, each in a process of its own, until all are complete.

Every run loads its model anew, also where the one before had the same: a process that has already run is warmer, its
caches are filled and its memory is laid out otherwise, and that would be part of the energy of every run but the first.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from passkwh.errors import UsageError
from passkwh.harness.sweep.folder import LOGS, Event, FailureKind, Planned, StudyFolder, StudyRecord, is_study
from passkwh.harness.sweep.order import ordered
from passkwh.harness.sweep.preflight import Check, Preflight
from passkwh.harness.sweep.status import by_run, end_noted, finished, study_status
from passkwh.harness.sweep.study import Study
from passkwh.harness.sweep.supervise import Attempt, Message, Outcome, Signals
from passkwh.records import Spec

FINAL: frozenset[FailureKind] = frozenset({"usage", "disk full", "damaged"})
"""Failures that come again as long as nobody changes anything: not tried again before the next `bench sweep`."""

Tell = Callable[[str], None]


def refuse_problems(study: Study, found: Sequence[Preflight]) -> tuple[Check, ...]:
    """The check of each configuration from a host that can run it.

    Raises:
        UsageError: a configuration that no host can run, named with file, table and key.
    """
    chosen = []
    for number, configuration in enumerate(study.configurations):
        checks = [preflight.checks[number] for preflight in found]
        able = next((check for check in checks if not check.problems), None)
        if able is None:
            problem = checks[0].problems[0]
            where = "" if len(found) == 1 else f" (no host of {len(found)} can run it; the first says this)"
            raise study.wrong(configuration.origin, problem.key, f"{problem.text}{where}")
        chosen.append(able)
    return tuple(chosen)


def begin(study: Study, checks: Sequence[Check], out: Path) -> StudyFolder:
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
        new = record(study, checks)
        if is_study(path):
            _same(study, folder.record(), new, path)
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


def record(study: Study, checks: Sequence[Check]) -> StudyRecord:
    """The study's runs in their order, each with the spec that is run. Raises UsageError where two are the same."""
    found = {
        configuration.spec.model_dump_json(): check
        for configuration, check in zip(study.configurations, checks, strict=True)
    }
    runs: list[Planned] = []
    for asked in ordered(study):
        check = found[asked.model_copy(update={"repeat": 0}).model_dump_json()]
        run_id = check.run_id.rpartition("-r")[0] + f"-r{asked.repeat}"
        spec = check.spec.model_copy(update={"repeat": asked.repeat})
        if run_id in {run.run_id for run in runs}:
            raise UsageError(f"{study.file}: two configurations are the same run ({run_id}) once filled in: remove one")
        runs.append(Planned(run_id=run_id, asked=asked, spec=spec))
    return StudyRecord(settings=study.settings, runs=tuple(runs))


def _same(study: Study, old: StudyRecord, new: StudyRecord, path: Path) -> None:
    """What determines samples and their order must be as it was; how failures are handled may change."""
    fix = f"give the study another name in {study.file}, or choose another --out"
    before, now = [run.asked for run in old.runs], [run.asked for run in new.runs]
    if set(_keys(before)) != set(_keys(now)):
        count = len(set(_keys(now)) - set(_keys(before))), len(set(_keys(before)) - set(_keys(now)))
        raise UsageError(f"{path} was begun with other runs ({count[0]} are new, {count[1]} are gone): {fix}")
    if before != now:
        raise UsageError(f"{path} was begun in another order (order, seed): {fix}")


def _keys(specs: Sequence[Spec]) -> list[str]:
    return [spec.model_dump_json() for spec in specs]


# ---------------------------------------------------------------- what happened, in the ledger


@dataclasses.dataclass
class Ledger:
    """Notes what happens to runs, says it, and knows when a study is to be given up."""

    folder: StudyFolder
    stop_after: int
    say: Tell
    _alike: int = 0
    _last: tuple[str, str] | None = None

    def note_complete_runs(self) -> None:
        """Complete runs that the ledger does not know, as after a driver that was killed."""
        known = by_run(self.folder.events())
        for planned in self.folder.record().runs:
            path = self.folder.path / planned.run_id
            events = known.get(planned.run_id, [])
            if (path / "summary.json").is_file() and end_noted(events) is None:
                try:
                    self.folder.append("complete", planned.run_id, **finished(path))
                except UsageError as error:
                    if not (events and events[-1].kind == "damaged"):  # said once
                        self.folder.append("failed", planned.run_id, kind="damaged", reason=str(error))

    def started(self, run_id: str, pid: int | None, **where: Any) -> None:
        """An attempt begins."""
        self.folder.append("started", run_id, pid=pid, **where)
        self.say(f"{run_id}: started")

    def ended(self, run_id: str, outcome: Outcome, **where: Any) -> Event:
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
            self.say(f"{run_id}: complete in {outcome.elapsed_s:.0f} s, {joules}")
        elif outcome.event == "failed":
            what = (outcome.kind or "error", _stem(outcome.reason or "", run_id))
            self._alike = self._alike + 1 if what == self._last else 1
            self._last = what
            self.say(f"{run_id}: failed ({outcome.kind}): {outcome.reason}")
        else:
            self.say(f"{run_id}: stopped")
        return event

    def hopeless(self) -> str | None:
        """Why there is no sense in going on: so many failures alike in a row."""
        if self._last is None or self._alike < self.stop_after:
            return None
        return f"{self._alike} runs in a row failed alike ({self._last[0]}): {self._last[1]}"


def _stem(reason: str, run_id: str) -> str:
    """A reason without what is another for every run."""
    return reason.replace(run_id, "RUN")


# ---------------------------------------------------------------- the loop


def todo(folder: StudyFolder) -> list[Planned]:
    """Runs that are not complete, in the study's order; damaged ones are left for people to look at."""
    states = {run.run_id: run.state for run in study_status(folder).runs}
    return [planned for planned in folder.record().runs if states[planned.run_id] not in ("complete", "damaged")]


def drive(folder: StudyFolder, study: Study, say: Tell, signals: Signals) -> str | None:
    """Carry out what is left of a locked study. Returns why it ended early, or None.

    Raises:
        UsageError: the ledger cannot be written.
    """
    settings = study.settings
    ledger = Ledger(folder, settings.stop_after, say)
    folder.append("driver", pid=os.getpid())
    ledger.note_complete_runs()
    queue = deque(todo(folder))
    tries: dict[str, int] = {}
    while queue and not signals.asked:
        planned = queue.popleft()
        outcome = _attempt(folder, planned, settings.hang_s, ledger, signals)
        if outcome.event == "failed":
            tries[planned.run_id] = tries.get(planned.run_id, 0) + 1
            if (why := ledger.hopeless()) is not None:
                return why
            if outcome.kind not in FINAL and tries[planned.run_id] <= settings.retries:
                queue.append(planned)  # at the end: what disturbed it may have passed by then
        if queue and not signals.asked:
            signals.sleep(settings.cool_down_s)
    return "interrupted" if signals.asked else None


def _attempt(folder: StudyFolder, planned: Planned, hang_s: float, ledger: Ledger, signals: Signals) -> Outcome:
    run_id = planned.run_id
    attempt = Attempt(planned.spec, run_id, folder.path, folder.path / LOGS / f"{run_id}.log", hang_s)
    since_ns = time.monotonic_ns()
    try:
        ledger.started(run_id, attempt.pid)
    except BaseException:
        attempt.end()
        raise

    def tell(message: Message) -> None:
        folder.show_live([{"run": run_id, "since_ns": since_ns, **message}])

    tell({"stage": "starting"})
    outcome = attempt.watch(tell, signals)
    folder.show_live([])
    ledger.ended(run_id, outcome)
    return outcome
