"""Devices that answer slowly (over HTTP, through a daemon): read in a thread of their own, so that nothing waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from passkwh.harness.meter.base import Reading, reason_of

STALE_INTERVALS = 5
"""An answer older than so many intervals (and two seconds) is no longer shown."""


class Background:
    """Calls ``take`` every ``interval_s`` in a thread; :meth:`latest` returns at once what it last gave."""

    def __init__(self, take: Callable[[], list[Reading]], quantity: str, interval_s: float) -> None:
        self._take, self._quantity, self._interval_s = take, quantity, interval_s
        self._stale_s = max(STALE_INTERVALS * interval_s, 2.0)
        self._latest: tuple[float, list[Reading]] | None = None
        self._reason = "no answer yet"
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="passkwh-background-meter", daemon=True)
        self._thread.start()

    def latest(self) -> list[Reading]:
        """The newest readings, or why there are none."""
        latest = self._latest
        if latest is None or time.monotonic() - latest[0] > self._stale_s:
            return [Reading(self._quantity, None, self._reason)]
        return latest[1]

    def close(self) -> None:
        """End the thread; an answer that is still awaited is not waited for."""
        self._closing.set()

    def _work(self) -> None:
        while not self._closing.is_set():
            started_s = time.monotonic()
            try:
                self._latest = (started_s, self._take())
                self._reason = f"no answer for more than {self._stale_s:.0f} s"
            except Exception as error:  # a device that fails now may answer again later
                self._latest, self._reason = None, reason_of(error)
            self._closing.wait(max(started_s + self._interval_s - time.monotonic(), 0.0))
