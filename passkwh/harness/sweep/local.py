"""A study on this machine: one run after the other, each in a process of its own, until all are complete.

Every run loads its model anew, also where the one before had the same: a process that has already run is warmer, its
caches are filled and its memory is laid out otherwise, and that would be part of the energy of every run but the first.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from passkwh.harness.sweep.folder import LOGS, PlannedRun, StudyFolder
from passkwh.harness.sweep.launch import Ended, carry_out
from passkwh.harness.sweep.ledger import Ledger, open_ledger
from passkwh.harness.sweep.study import Study
from passkwh.harness.sweep.supervise import Attempt, Message, StopSignals


def carry_out_here(
    folder: StudyFolder, study: Study, notify: Callable[[str], None], signals: StopSignals
) -> str | None:
    """Carry out what is left of a locked study on this machine (see ``launch.carry_out``)."""
    ledger = open_ledger(folder, study, notify)
    return carry_out(folder, LocalLauncher(folder, study, ledger, signals), ledger, signals)


class LocalLauncher:
    """One run at a time, with a rest between two."""

    slots = 1

    def __init__(self, folder: StudyFolder, study: Study, ledger: Ledger, signals: StopSignals) -> None:
        self._folder = folder
        self._settings = study.settings
        self._ledger = ledger
        self._signals = signals
        self._attempt: Attempt | None = None
        self._rest_s = 0.0
        self.under_way: dict[str, float] = {}

    def start(self, planned: PlannedRun) -> None:
        """Rest, unless it is the first run, then start its process."""
        self._signals.sleep(self._rest_s)
        self._rest_s = self._settings.cool_down_s
        if self._signals.requests:
            return
        run_id, path = planned.run_id, self._folder.path
        attempt = Attempt(planned.spec, run_id, path, path / LOGS / f"{run_id}.log", self._settings.hang_s)
        try:
            self._ledger.started(run_id, attempt.pid)
        except BaseException:
            attempt.end()
            raise
        self._attempt = attempt
        self.under_way[run_id] = time.monotonic()

    def wait(self) -> list[Ended]:
        """Watch the run until it ends."""
        if self._attempt is None:
            return []
        (run_id,) = self.under_way
        since_ns = int(self.under_way[run_id] * 1e9)

        def show(message: Message) -> None:
            self._folder.show_live([{"run": run_id, "since_ns": since_ns, **message}])

        show({"stage": "starting"})
        outcome = self._attempt.watch(show, self._signals)
        self._folder.show_live([])
        self._attempt = None
        self.under_way.clear()
        return [(run_id, outcome, {})]
