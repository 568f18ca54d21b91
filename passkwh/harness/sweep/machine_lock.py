"""Never two metered runs at once on what shares a counter: locks that every metered run on a machine takes.

A package counter, a power plug and an estimate from CPU time all see the whole machine, so a run metered by them needs
the machine to itself; a meter says so of itself (``Meter.exclusive``). One that reads single devices says which
(``Meter.devices``): such runs share the machine, and each has its devices to itself. One that reads nothing of this
machine shares it with its like, and keeps measured runs away all the same: its work would be in their energy. The
kernel frees a lock when its holder dies, so none is ever stale.

The locks are files in ``/tmp/passkwh-<user id>``; ``PASSKWH_LOCKS`` names another folder, for example one that
containers on the same machine share.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from passkwh.errors import UsageError
from passkwh.harness.meter.base import find_meter

POLL_S = 1.0
"""How often a waiting run looks whether the machine is free: seldom, since it is metered."""


def lock_folder() -> Path:
    """Where the locks are."""
    path = Path(os.environ.get("PASSKWH_LOCKS") or f"/tmp/passkwh-{os.getuid()}")
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make {path} ({error.strerror}): name another folder with PASSKWH_LOCKS") from error
    return path


def locks_needed(meter: str) -> list[tuple[str, bool]]:
    """(name, exclusive) of the locks that a run with this meter needs, in the order they are taken."""
    kind, argument = find_meter(meter)
    devices = kind.devices(argument) if kind.devices is not None else ()
    if devices:
        return [("machine", False), *((device, True) for device in devices)]
    return [("machine", kind.exclusive)]


class MachineLocks:
    """Locks taken for a metered run; ``close`` frees them."""

    def __init__(self, meter: str, name: str) -> None:
        self._needed = locks_needed(meter)
        self._name = name
        self._held: list[int] = []

    def try_lock(self) -> str | None:
        """Take all locks, or none: then who holds the first that is not free."""
        folder = lock_folder()
        for lock, exclusive in self._needed:
            fd = os.open(folder / f"{lock}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            except OSError:
                holder = os.pread(fd, 300, 0).decode(errors="replace").strip() or "another run"
                os.close(fd)
                self.close()
                return holder
            self._held.append(fd)
            with contextlib.suppress(OSError):  # the name is only for people
                os.ftruncate(fd, 0)
                os.pwrite(fd, f"process {os.getpid()}, {self._name}".encode(), 0)
        return None

    def close(self) -> None:
        """Free the locks."""
        for fd in self._held:
            os.close(fd)
        self._held.clear()


@contextlib.contextmanager
def hold_machine(meter: str, name: str, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the locks of a metered run; ``waiting`` is called, again and again, with who holds the machine."""
    locks = MachineLocks(meter, name)
    while (holder := locks.try_lock()) is not None:
        if waiting is not None:
            waiting(holder)
        time.sleep(POLL_S)
    try:
        yield
    finally:
        locks.close()


@contextlib.contextmanager
def try_hold_machine(meter: str, name: str) -> Iterator[str | None]:
    """Hold the locks of a run that someone started by hand, where they are free; else it goes on, and this yields who
    has them: a study waits for it, but it does not wait for a study.
    """
    locks = MachineLocks(meter, name)
    try:
        holder = locks.try_lock()
    except (UsageError, OSError):  # no place for locks: nobody else can have them either
        holder = None
    try:
        yield holder
    finally:
        locks.close()
