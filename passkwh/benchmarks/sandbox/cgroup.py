"""Memory control groups, where we may make them: they bound what a program's whole family uses, and its files.

A group for each program that may run at a time, made below our own. The evaluator's processes get a descriptor of each
group's member list, opened here with our rights, through which a program's process enters the group before anything
of the program runs.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_PREFIX = "passkwh-"
_HEADROOM_BYTES = 256 << 20


class MemoryGroups:
    """``count`` groups of ``limit_bytes`` each; ``descriptors`` is empty where none can be made."""

    def __init__(self, count: int, limit_bytes: int) -> None:
        self.descriptors: list[int] = []
        self._folder: Path | None = None
        parent_and_file = _parent()
        if parent_and_file is None:
            return
        parent, limit_file = parent_and_file
        _remove_stale(parent)
        self._folder = parent / f"{_PREFIX}{os.getpid()}-{time.monotonic_ns()}"
        try:
            self._folder.mkdir()
            if limit_file == "memory.max":
                (self._folder / "cgroup.subtree_control").write_text("+memory")
            for index in range(count):
                group = self._folder / str(index)
                group.mkdir()
                (group / limit_file).write_text(str(limit_bytes + _HEADROOM_BYTES))
                self.descriptors.append(os.open(group / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC))
        except OSError:
            self.close()

    def close(self) -> None:
        """Remove the groups; the processes in them must be gone."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors = []
        if self._folder is not None:
            _remove(self._folder)
            self._folder = None


def _parent() -> tuple[Path, str] | None:
    """The folder to make groups in and the name of the file that holds a group's limit."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            folder, limit_file = _ROOT / "memory" / path.lstrip("/"), "memory.limit_in_bytes"
        elif controllers == "" and _controls_memory(_ROOT / path.lstrip("/")):
            folder, limit_file = _ROOT / path.lstrip("/"), "memory.max"
        else:
            continue
        if os.access(folder, os.W_OK) and os.geteuid() == folder.stat().st_uid:
            return folder, limit_file
    return None


def _controls_memory(folder: Path) -> bool:
    try:
        return "memory" in (folder / "cgroup.subtree_control").read_text().split()
    except OSError:
        return False


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
