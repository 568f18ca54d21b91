"""The one loop that carries out a study: hand runs to a launcher, note how they end, try again what may succeed.

A launcher is a place where runs are carried out: this machine (``local.py``) or a Ray cluster (``ray_launcher.py``).
"""

from __future__ import annotations

import os
import time
from collections import deque
from typing import Any, Protocol

from passkwh.harness.sweep.folder import PlannedRun
from passkwh.harness.sweep.ledger import Ledger, todo
from passkwh.harness.sweep.supervise import AttemptOutcome, StopSignals

Ended = tuple[str, AttemptOutcome, dict[str, Any]]
"""A run's id, how its attempt ended, and where it was (``host``, ``node``)."""


class Launcher(Protocol):
    """Where runs are carried out. It notes starts in the ledger; the loop notes ends."""

    under_way: dict[str, float]
    """Runs that have been started and not ended: run id -> start, in seconds of the monotonic clock."""

    @property
    def slots(self) -> int:
        """Runs that can be carried out at a time."""
        ...

    def start(self, planned: PlannedRun) -> None:
        """Start an attempt, or none where the study is to stop."""
        ...

    def wait(self) -> list[Ended]:
        """Wait until an attempt has ended, a stop is requested, or a moment has passed."""
        ...


def carry_out(launcher: Launcher, ledger: Ledger, signals: StopSignals) -> str | None:
    """Carry out what is left of a locked study. Returns why it ended early, or None.

    Raises:
        UsageError: the ledger cannot be written.
    """
    ledger.folder.append("driver", pid=os.getpid())
    ledger.note_complete_runs()
    queue = deque(todo(ledger.folder))
    planned = {run.run_id: run for run in queue}
    why = None
    while why is None and ((queue and not signals.requests) or launcher.under_way):
        while queue and not signals.requests and len(launcher.under_way) < launcher.slots:
            launcher.start(queue.popleft())
        for run_id, outcome, where in launcher.wait():
            ledger.ended(run_id, outcome, **where)
            if ledger.try_again(run_id, outcome):
                queue.append(planned[run_id])
            why = why or ledger.hopeless()
        if signals.requests > 1:
            break
    for run_id, start_s in launcher.under_way.items():  # stopped at once: they end when this process does
        ledger.ended(run_id, AttemptOutcome("stopped", time.monotonic() - start_s))
    return why or ("interrupted" if signals.requests else None)
