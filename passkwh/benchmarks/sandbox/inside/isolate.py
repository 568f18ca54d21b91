"""Keeping a sample away from the host and from other samples."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import tempfile
from typing import Any

from . import syscalls


class Isolation:
    """What separates samples from the host, applied step by step as processes are forked."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config
        self._folders: dict[str, str] = {}

    def enter_host(self) -> None:
        """In the first process, before anything is imported."""
        syscalls.die_with_parent(signal.SIGKILL)

    def enter_zygote(self) -> None:
        """In each zygote, after its libraries are loaded."""
        syscalls.adopt_orphans()

    def before_fork(self, job: dict[str, Any]) -> None:
        """In the zygote, right before it forks a sample."""
        self._folders[job["key"]] = tempfile.mkdtemp(prefix="passkwh-")

    def after_fork(self) -> None:
        """In the zygote, right after it has forked a sample."""

    def enter(self, job: dict[str, Any], limits: dict[str, Any]) -> None:
        """In the sample's process; afterwards it can do no harm."""
        os.chdir(self._folders[job["key"]])
        apply_limits(job["timeout_s"], limits)

    def clean(self, job: dict[str, Any]) -> None:
        """In the zygote, when the sample's processes are gone."""
        folder = self._folders.pop(job["key"], None)
        if folder is not None:
            with contextlib.suppress(OSError):
                shutil.rmtree(folder)


def apply_limits(timeout_s: float, limits: dict[str, Any]) -> None:
    """Resource limits of the sample's process, inherited by its children."""
    address_space = limits["base_bytes"] + limits["memory_bytes"]
    for kind, value in (
        (resource.RLIMIT_AS, address_space),
        (resource.RLIMIT_DATA, address_space),
        (resource.RLIMIT_STACK, 10 << 20),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, limits["file_bytes"]),
        (resource.RLIMIT_NOFILE, limits["open_files"]),
        (resource.RLIMIT_CPU, int(timeout_s * limits["cpu_factor"]) + 2),
    ):
        _, hard = resource.getrlimit(kind)
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        resource.setrlimit(kind, (value, value))
