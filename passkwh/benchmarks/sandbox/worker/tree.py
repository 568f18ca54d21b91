"""Memory and CPU time of a process and all its descendants, from /proc."""

from __future__ import annotations

import os

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = os.sysconf("SC_CLK_TCK")


def descendants(pid: int) -> list[int]:
    """``pid`` and every process below it."""
    processes = [pid]
    for parent in processes:
        try:
            for task in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{task}/children") as children:
                    processes.extend(int(child) for child in children.read().split())
        except OSError:  # gone in the meantime
            continue
    return processes


def usage(pid: int, inherited_bytes: int) -> tuple[int, float]:
    """Resident bytes and CPU seconds of the tree below ``pid``, itself included.

    ``inherited_bytes`` is what each process has in memory from the zygote and does not count. Pages that its processes
    share among themselves count for each: an upper bound. CPU time of children that were already waited for is
    included.
    """
    resident, ticks = 0, 0
    for process in descendants(pid):
        try:
            with open(f"/proc/{process}/statm") as statm:
                resident += max(0, _anonymous(statm.read()) - inherited_bytes)
            with open(f"/proc/{process}/stat") as stat:
                ticks += sum(int(value) for value in stat.read().rpartition(")")[2].split()[11:15])
        except (OSError, IndexError):
            continue
    return resident, ticks / _TICK


def _anonymous(statm: str) -> int:
    """Bytes in memory that belong to no file, from the text of /proc/<pid>/statm."""
    fields = statm.split()
    return (int(fields[1]) - int(fields[2])) * _PAGE


def own_memory() -> int:
    """Bytes in memory of this process that belong to no file."""
    with open("/proc/self/statm") as statm:
        return _anonymous(statm.read())


def address_space() -> int:
    """Bytes of address space that this process has mapped."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[0]) * _PAGE
