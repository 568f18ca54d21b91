"""Memory and CPU time of a process and all its descendants, from /proc."""

from __future__ import annotations

import os
from typing import NamedTuple

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = os.sysconf("SC_CLK_TCK")
_SOCKET_BYTES = 208 << 10
"""What the kernel lets a socket send before it is read: net.core.wmem_max, as it ships."""
_UNNAMED = ("/dev/zero", "/memfd:", "/SYSV")
"""What stands in a process's list of mappings for shared memory without a file."""


class Usage(NamedTuple):
    """What a tree of processes holds and used."""

    memory_bytes: int
    cpu_s: float


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


def usage(pid: int, inherited_bytes: int, base_bytes: int, limit_bytes: int, own_network: bool) -> Usage:
    """Memory and CPU seconds of the tree below ``pid``, itself included.

    Memory is what its processes have of their own, without the ``inherited_bytes`` that each has from the zygote; what
    they share without a file, by the size of each mapping, once (looked at where the address space beyond
    ``base_bytes`` could exceed ``limit_bytes``); and what their sockets may hold, where the network is its own. CPU
    time of children that were already waited for is included.
    """
    processes = descendants(pid)
    resident, mapped, ticks = 0, 0, 0
    for process in processes:
        try:
            with open(f"/proc/{process}/statm") as statm:
                size, own = _sizes(statm.read())
            with open(f"/proc/{process}/stat") as stat:
                ticks += sum(int(value) for value in stat.read().rpartition(")")[2].split()[11:15])
        except (OSError, IndexError):
            continue
        resident += max(0, own - inherited_bytes)
        mapped += max(0, size - base_bytes)
    memory = resident + (_socket_bytes(pid) if own_network else 0)
    if memory + mapped > limit_bytes:
        memory += _shared_bytes(processes)
    return Usage(memory, ticks / _TICK)


def waited_s(pid: int) -> float:
    """Seconds for which the processes of a tree were ready to run and had no processor."""
    total_ns = 0
    for process in descendants(pid):
        try:
            with open(f"/proc/{process}/schedstat") as stat:
                total_ns += int(stat.read().split()[1])
        except (OSError, IndexError, ValueError):
            continue
    return total_ns / 1e9


def _sizes(statm: str) -> tuple[int, int]:
    """Bytes of address space, and bytes in memory that belong to no file, from the text of /proc/<pid>/statm."""
    fields = statm.split()
    return int(fields[0]) * _PAGE, (int(fields[1]) - int(fields[2])) * _PAGE


def _shared_bytes(processes: list[int]) -> int:
    """Bytes of the shared mappings without a file, each counted once: their pages stay until the last is unmapped."""
    sizes: dict[str, int] = {}
    for process in processes:
        try:
            with open(f"/proc/{process}/maps") as maps:
                for line in maps:
                    addresses, flags, _, device, number, *path = line.split(None, 5)
                    if flags[3] == "s" and path and path[0].startswith(_UNNAMED):
                        start, _, end = addresses.partition("-")
                        key = f"{device} {number}"
                        sizes[key] = max(sizes.get(key, 0), int(end, 16) - int(start, 16))
        except (OSError, ValueError):
            continue
    return sum(sizes.values())


def _socket_bytes(pid: int) -> int:
    """What the sockets of a network namespace may hold that is not read."""
    try:
        with open(f"/proc/{pid}/net/sockstat") as stat:
            return int(stat.readline().split()[2]) * _SOCKET_BYTES
    except (OSError, IndexError, ValueError):
        return 0


def own_memory() -> int:
    """Bytes in memory of this process that belong to no file."""
    with open("/proc/self/statm") as statm:
        return _sizes(statm.read())[1]


def address_space() -> int:
    """Bytes of address space that this process has mapped."""
    with open("/proc/self/statm") as statm:
        return _sizes(statm.read())[0]
