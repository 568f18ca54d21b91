"""Never two metered runs at once on what shares a counter: locks that every metered run on a machine takes.

A package counter, a power plug and an estimate from CPU time all see the whole machine, so a run metered by them needs
the machine to itself. A run metered by ``nvidia`` alone needs only its GPUs: such runs share the machine, and each has
its GPUs to itself. The kernel frees a lock when its holder dies, so none is ever stale.

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


def shared_counters(meter: str) -> list[tuple[str, bool]]:
    """(name, exclusive) of the locks that a run with this meter needs, in the order they are taken."""
    name, _, argument = meter.partition(":")
    if name != "nvidia":
        return [("machine", True)]
    gpus = argument or os.environ.get("CUDA_VISIBLE_DEVICES") or ""
    if not gpus:
        return [("machine", True)]  # all GPUs
    return [("machine", False), *((f"gpu-{gpu.strip()}", True) for gpu in sorted(set(gpus.split(","))))]


class Alone:
    """Locks taken for a metered run; ``close`` frees them."""

    def __init__(self, meter: str, name: str) -> None:
        self._wanted = shared_counters(meter)
        self._name = name
        self._held: list[int] = []

    def try_lock(self) -> str | None:
        """Take all locks, or none: then who holds the first that is not free."""
        folder = lock_folder()
        for lock, exclusive in self._wanted:
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
def alone(meter: str, name: str, waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold the locks of a metered run; ``waiting`` is told, again and again, whom it waits for."""
    locks = Alone(meter, name)
    while (holder := locks.try_lock()) is not None:
        waiting(holder)
        time.sleep(POLL_S)
    try:
        yield
    finally:
        locks.close()


@contextlib.contextmanager
def beside(meter: str, name: str) -> Iterator[str | None]:
    """Hold the locks of a run that someone started by hand, where they are free; else it goes on, and this yields who
    has them: a study waits for it, but it does not wait for a study.
    """
    locks = Alone(meter, name)
    try:
        holder = locks.try_lock()
    except (UsageError, OSError):  # no place for locks: nobody else can have them either
        holder = None
    try:
        yield holder
    finally:
        locks.close()
