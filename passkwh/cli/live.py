"""How far a command is, on stderr: stage, what is done of how many, time left; of a run also passes, watts, joules.

Every command that takes more than a moment shows it through :class:`LiveProgress`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from passkwh.clean import one_line
from passkwh.harness.progress import Status

AFTER_S = 2.0
"""What is over sooner needs no progress in a log."""

T = TypeVar("T")


class LiveProgress:
    """Draws a live line in a terminal; elsewhere (a log file) one plain line when a stage begins and every 30 s.

    It never raises: a terminal that has gone or a log on a full disk is no reason to end the work. Nothing of it, and
    nothing that is printed while it is shown, changes what goes to stdout.
    """

    PLAIN_INTERVAL_S = 30.0

    def __init__(self, title: str, after_s: float = 0.0) -> None:
        """``after_s``: a log gets no line before so long, of what is mostly done at once."""
        self._title = title = one_line(title)
        self._silent_until_s = time.monotonic() + after_s
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[figures]}", markup=False),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
                redirect_stdout=False,  # results go where stdout leads, and not to this terminal
            )
        self._stage: str | None = None
        self._rate = Rate()
        self._last_plain_s = 0.0
        self._task_id = None if self._bar is None else self._bar.add_task(title, total=None, figures="")

    def __enter__(self) -> LiveProgress:
        if self._bar is not None:
            with suppress(OSError, ValueError):
                self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            with suppress(OSError, ValueError):
                self._bar.stop()

    def update(self, status: Status) -> None:
        """Show ``status``."""
        with suppress(OSError, ValueError):  # a file that was closed is a ValueError
            self._show(status)

    def each(self, stage: str, items: Iterable[T], total: int) -> Iterator[T]:
        """The items one by one, each counted as done when the next is asked for.

        Example:
            >>> with LiveProgress("add") as live:
            ...     sum(live.each("numbers", [1, 2], 2))
            3
        """
        self.update(Status(stage, 0, total))
        for done, item in enumerate(items, start=1):
            yield item
            self.update(Status(stage, done, total))

    def _show(self, status: Status) -> None:
        now_s = time.monotonic()
        left_s = self._rate.left_s(status, now_s)
        figures = _figures(status, left_s)
        changed = status.stage != self._stage
        if self._bar is not None and self._task_id is not None:
            self._stage = status.stage
            if changed:
                self._bar.reset(self._task_id)
            description = f"{self._title}: {one_line(status.stage)}"
            total = status.total or None
            self._bar.update(
                self._task_id, description=description, completed=status.done, total=total, figures=figures
            )
        elif now_s >= self._silent_until_s and (changed or now_s - self._last_plain_s > self.PLAIN_INTERVAL_S):
            self._stage, self._last_plain_s = status.stage, now_s
            done = f" {status.done}/{status.total}" if status.total else ""
            line = f"{self._title}: {one_line(status.stage)}{done} {figures}".rstrip()
            print(line, file=sys.stderr, flush=True)


class Rate:
    """How long the rest of a stage takes, at the rate of the part that was seen."""

    def __init__(self) -> None:
        self._stage: str | None = None
        self._began_s = 0.0
        self._began_at = 0
        self._last = 0

    def left_s(self, status: Status, now_s: float) -> float | None:
        """Seconds that are left of a stage: an estimate. None before there is a rate, and where nothing is counted.

        What was done when the stage was first seen, as by the run that is resumed, is no part of the rate.
        """
        if status.stage != self._stage or status.done < self._last:
            self._stage, self._began_s, self._began_at = status.stage, now_s, status.done
        self._last = status.done
        seen, rest = status.done - self._began_at, status.total - status.done
        if seen <= 0 or rest <= 0 or now_s <= self._began_s:
            return None
        return (now_s - self._began_s) / seen * rest


def time_left(seconds: float) -> str:
    """An estimate of the time left, in words.

    Example:
        >>> [time_left(s) for s in (0.2, 42.4, 200, 9000)]
        ['about 1 s left', 'about 42 s left', 'about 3 min left', 'about 2.5 h left']
    """
    if seconds < 120:
        return f"about {max(1, round(seconds))} s left"
    return f"about {seconds / 60:.0f} min left" if seconds < 7200 else f"about {seconds / 3600:.1f} h left"


def _figures(status: Status, left_s: float | None) -> str:
    parts = [one_line(status.detail)] if status.detail else []
    if status.passes is not None:
        parts.append(f"{status.passes} pass")
    if status.power_w is not None:
        parts.append(f"{status.power_w:.1f} W")
    if status.energy_j is not None:
        parts.append(f"{status.energy_j:.0f} J")
    if left_s is not None:
        parts.append(time_left(left_s))
    return " · ".join(parts)
