"""A study on this machine: one run after the other, each in a process of its own, until all are complete.

Every run loads its model anew, also where the one before had the same: a process that has already run is warmer, its
caches are filled and its memory is laid out otherwise, and that would be part of the energy of every run but the first.
"""

from __future__ import annotations

import time

from passkwh.harness.sweep.folder import LOGS, PlannedRun
from passkwh.harness.sweep.launch import Ended
from passkwh.harness.sweep.ledger import Ledger
from passkwh.harness.sweep.supervise import Attempt, Message, StopSignals


class LocalLauncher:
    """One run at a time, with a rest between two."""

    slots = 1

    def __init__(self, ledger: Ledger, signals: StopSignals) -> None:
        self._ledger = ledger
        self._signals = signals
        self._attempt: Attempt | None = None
        self._rest_s = 0.0
        self.under_way: dict[str, float] = {}

    def start(self, planned: PlannedRun) -> None:
        """Rest, unless it is the first run, then start its process."""
        self._signals.sleep(self._rest_s)
        self._rest_s = self._ledger.settings.cool_down_s
        if self._signals.requests:
            return
        run_id, path = planned.run_id, self._ledger.folder.path
        attempt = Attempt(planned.spec, run_id, path, path / LOGS / f"{run_id}.log", self._ledger.settings.hang_s)
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
            self._ledger.folder.show_live([{"run": run_id, "since_ns": since_ns, **message}])

        show({"stage": "starting"})
        outcome = self._attempt.watch(show, self._signals)
        self._ledger.folder.show_live([])
        self._attempt = None
        self.under_way.clear()
        return [(run_id, outcome, {})]
