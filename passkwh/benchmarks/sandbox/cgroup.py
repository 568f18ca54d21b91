"""Control groups, where we may make them: what a program's whole family may hold, used, and gets of the processors.

A group for each program that may run at a time, made below our own: of the memory controller (version 1 or 2), and of
those that count and share CPU time. The evaluator's processes get a descriptor of each group's member list, opened
here with our rights, through which a program's process enters the group before anything of the program runs. Groups
of one hierarchy have equal shares of the processors, however many processes they hold.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_PREFIX = "passkwh-"
_HEADROOM_BYTES = 256 << 20
_LIMIT_FILES = {1: "memory.limit_in_bytes", 2: "memory.max"}
_CONTROLLERS = ("memory", "cpu", "cpuacct")


@dataclass(frozen=True)
class Hierarchy:
    """A place to make groups in, and what groups there do."""

    parent: Path
    version: int
    controllers: frozenset[str]


@dataclass
class Group:
    """What one program at a time is in."""

    descriptors: list[int] = field(default_factory=list)
    """Of the member lists, one a hierarchy."""
    read_cpu_s: Callable[[], float | None] = lambda: None
    """CPU seconds that all members ever used, those included that nobody waited for; None where it is not counted."""


class ControlGroups:
    """``count`` groups, of ``limit_bytes`` memory each where memory is controlled; ``groups`` is empty where none can
    be made."""

    def __init__(self, count: int, limit_bytes: int) -> None:
        self.groups: list[Group] = []
        self._folders: list[Path] = []
        name = f"{_PREFIX}{os.getpid()}-{time.monotonic_ns()}"
        for hierarchy in hierarchies():
            _remove_stale(hierarchy.parent)
            folder = hierarchy.parent / name
            self._folders.append(folder)
            made: list[tuple[int, Path]] = []
            try:
                folder.mkdir()
                if hierarchy.version == 2:
                    enabled = " ".join(f"+{controller}" for controller in sorted(hierarchy.controllers))
                    (folder / "cgroup.subtree_control").write_text(enabled)
                for index in range(count):
                    group = folder / str(index)
                    group.mkdir()
                    if "memory" in hierarchy.controllers:
                        (group / _LIMIT_FILES[hierarchy.version]).write_text(str(limit_bytes + _HEADROOM_BYTES))
                    made.append((os.open(group / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC), group))
            except OSError:
                for descriptor, _ in made:
                    os.close(descriptor)
                _remove(self._folders.pop())
                continue
            self.groups = self.groups or [Group() for _ in range(count)]
            for group_of_one, (descriptor, path) in zip(self.groups, made, strict=True):
                group_of_one.descriptors.append(descriptor)
                if "cpuacct" in hierarchy.controllers:
                    group_of_one.read_cpu_s = lambda file=path / "cpuacct.usage": _number(file, "", 1e9)  # type: ignore[misc]
                elif hierarchy.version == 2:
                    group_of_one.read_cpu_s = lambda file=path / "cpu.stat": _number(file, "usage_usec", 1e6)  # type: ignore[misc]

    def close(self) -> None:
        """Remove the groups; the processes in them must be gone."""
        for group in self.groups:
            for descriptor in group.descriptors:
                os.close(descriptor)
        self.groups = []
        for folder in self._folders:
            _remove(folder)
        self._folders = []


def hierarchies() -> list[Hierarchy]:
    """Where this process may make groups that control memory, or share and count CPU time."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    usable = []
    for line in lines:
        _, names, path = line.split(":", 2)
        if names:
            controllers, version = frozenset(names.split(",")) & frozenset(_CONTROLLERS), 1
            folder = _ROOT / names / path.lstrip("/")
        else:
            version, folder = 2, _ROOT / path.lstrip("/")
            controllers = _handed_down(folder)
        if controllers and os.access(folder, os.W_OK) and os.geteuid() == folder.stat().st_uid:
            usable.append(Hierarchy(folder, version, controllers))
    return usable


def _handed_down(folder: Path) -> frozenset[str]:
    """Controllers that groups below a folder of version 2 may use."""
    try:
        return frozenset((folder / "cgroup.subtree_control").read_text().split()) & frozenset(_CONTROLLERS)
    except OSError:
        return frozenset()


def _number(file: Path, key: str, a_second: float) -> float | None:
    """The number in a file, or in its line that begins with ``key``, in seconds."""
    try:
        for line in file.read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[-1]) / a_second
    except (OSError, ValueError):
        pass
    return None


def _remove_stale(parent: Path) -> None:
    """Groups of processes that were killed before they could clean up."""
    for folder in parent.glob(_PREFIX + "*"):
        pid = folder.name[len(_PREFIX) :].partition("-")[0]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            _remove(folder)


def _remove(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for group in [path for path in folder.iterdir() if path.is_dir()] + [folder]:
            for _ in range(20):  # the kernel may need a moment to see that the last member is gone
                try:
                    group.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.01)
