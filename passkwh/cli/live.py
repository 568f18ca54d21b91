"""A run's progress in the terminal: stage, tasks, passes, watts, joules so far, time left. On stderr."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from passkwh.clean import one_line
from passkwh.harness.progress import Status


class LiveProgress:
    """Draws a live line in a terminal; elsewhere (a log file) one plain line when a stage begins and every 30 s."""

    PLAIN_INTERVAL_S = 30.0

    def __init__(self, title: str) -> None:
        self._title = title = one_line(title)
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[figures]}", markup=False),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
        self._stage = ""
        self._last_plain_s = 0.0
        self._task_id = None if self._bar is None else self._bar.add_task(title, total=None, figures="")

    def __enter__(self) -> LiveProgress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, status: Status) -> None:
        """Show ``status``."""
        changed = status.stage != self._stage
        self._stage = status.stage
        if self._bar is not None and self._task_id is not None:
            if changed:
                self._bar.reset(self._task_id)
            description = f"{self._title}: {status.stage}"
            total = status.total or None
            self._bar.update(
                self._task_id, description=description, completed=status.done, total=total, figures=_figures(status)
            )
        elif changed or time.monotonic() - self._last_plain_s > self.PLAIN_INTERVAL_S:
            self._last_plain_s = time.monotonic()
            done = f" {status.done}/{status.total}" if status.total else ""
            print(f"{self._title}: {status.stage}{done} {_figures(status)}".rstrip(), file=sys.stderr, flush=True)


def _figures(status: Status) -> str:
    parts = []
    if status.passes is not None:
        parts.append(f"{status.passes} pass")
    if status.power_w is not None:
        parts.append(f"{status.power_w:.1f} W")
    if status.energy_j is not None:
        parts.append(f"{status.energy_j:.0f} J")
    return " · ".join(parts)
