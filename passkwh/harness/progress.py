"""What a run tells while it goes on; the command line draws it, tests and scripts may ignore it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Status:
    """A moment of a run. Joules and watts are live figures of the counted channels, for the eye only."""

    stage: str
    """idle, warm-up, generating, scoring, ..."""
    done: int
    total: int
    passes: int | None = None
    energy_j: float | None = None
    power_w: float | None = None
    detail: str = ""
    """What changes within a stage and is no count, such as a loss."""


class Stop(Exception):
    """Raised by a Progress to end the run where it stands. That is between two batches or two scored samples, so
    nothing is lost: the run can be resumed.
    """


class Progress(Protocol):
    """Receives the status of a run; must return quickly and never raise anything but Stop."""

    def update(self, status: Status) -> None:
        """Show ``status``."""
        ...


class Silent:
    """Shows nothing."""

    def update(self, status: Status) -> None:
        """Ignore ``status``."""


class Steps:
    """What is told while something is made (``cache.OnStep``, counted), shown as the status of a run."""

    def __init__(self, shown: Progress) -> None:
        self._shown = shown

    def __call__(self, what: str) -> None:
        """A step of unknown length begins."""
        self._shown.update(Status(what, 0, 0))

    def count(self, what: str, done: int, of: int) -> None:
        """So much of a step is done."""
        self._shown.update(Status(what, done, of))


class Shielded:
    """Another progress, whose trouble with its terminal or log (closed, or on a full disk) does not end the run."""

    def __init__(self, shown: Progress) -> None:
        self._shown = shown

    def update(self, status: Status) -> None:
        """Show ``status`` where that is possible."""
        with suppress(OSError, ValueError):  # a file that was closed is a ValueError
            self._shown.update(status)
