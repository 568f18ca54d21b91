"""Keeping a sample away from the host and from other samples: the layers, and the order in which they close."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import tempfile
from collections.abc import Callable
from typing import Any

from . import rootfs, seccomp, syscalls

FIRST_OUTER_ID = 1_200_000
"""As root, user 0 of the sandbox is this user outside: one that owns nothing."""
_IDS = 65536
_SAMPLE_ID = 1000
_TCP_BUFFERS = "4096 65536 212992"
"""As other sockets have them at most: the kernel's own limits are megabytes for each connection."""


class Isolation:
    """The layers that separate samples from the host, applied step by step as processes are forked.

    ``config``: ``visible`` (folders to show read-only), ``tmp_bytes``, ``processes``. A layer that the kernel refuses
    is noted in ``missing`` with the reason, and the rest are applied all the same; whether that is good enough is the
    controller's decision, before anything untrusted runs.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config
        self._was_root = os.geteuid() == 0
        self._folders: dict[str, str] = {}
        self._own_pid_namespace: int | None = None
        self.missing: dict[str, str] = {}

    def enter_chain(self) -> None:
        """In the first process, before anything is imported: a root of its own, as nobody in particular."""
        if self._was_root:
            self._layer("file system", self._private_root)
            self._layer("user namespace", self._map_all_users)
            self._layer("own mounts", lambda: syscalls.unshare(syscalls.CLONE_NEWNS))
        else:
            self._layer("user namespace", self._map_own_user)
            self._layer("file system", self._private_root)
        if "file system" in self.missing:  # without a /proc of its own a pid namespace only confuses
            self.missing["processes"] = "needs the private file system"
        self._layer("processes", lambda: syscalls.unshare(syscalls.CLONE_NEWPID))

    def enter_init(self) -> None:
        """In the first process of the new pid namespace."""
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        self._layer("processes", rootfs.own_proc)
        self._own_pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    def enter_zygote(self) -> None:
        """In each zygote, after its libraries are loaded."""
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)  # without a pid namespace strays come here

    def before_fork(self, job: dict[str, Any]) -> None:
        """In the zygote, right before it forks a sample."""
        if "file system" in self.missing:
            self._folders[job["key"]] = tempfile.mkdtemp(prefix="passkwh-judged-")
        if "processes" not in self.missing:
            syscalls.unshare(syscalls.CLONE_NEWPID)

    def after_fork(self) -> None:
        """In the zygote, right after it has forked a sample."""
        if "processes" not in self.missing and self._own_pid_namespace is not None:
            syscalls.setns(self._own_pid_namespace, syscalls.CLONE_NEWPID)

    def join_group(self, job: dict[str, Any]) -> None:
        """In the sample's process, before its descriptors are closed: enter the control groups that bound its memory
        and share the processors.

        Where that fails the watchdog and the limit on address space remain.
        """
        if job["group"] is not None:
            for descriptor in self._config["groups"][job["group"]]:
                with contextlib.suppress(OSError):
                    os.write(descriptor, b"0")

    def enter(self, job: dict[str, Any], limits: dict[str, Any]) -> None:
        """In the sample's process; afterwards it can do no harm.

        Raises OSError when a layer is refused that was not known to be missing.
        """
        known = set(self.missing)
        self._layer("network", lambda: self._own_network(job["network"]))
        self._layer("ipc", lambda: syscalls.unshare(syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS))
        if "file system" not in self.missing:
            self._layer("private folders", lambda: self._own_folders(limits))
        else:
            os.chdir(self._folders[job["key"]])
        if self._was_root:
            self._layer("unprivileged user", self._drop_user)
        with contextlib.suppress(OSError):  # only so that the limit on processes counts this sample's alone
            _enter_user_namespace(os.getuid(), os.getgid())
        self._layer("no capabilities", syscalls.drop_capabilities)
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)  # after the user changed, which resets it
        apply_limits(job["timeout_s"], limits)
        self._layer("system calls", seccomp.install)
        if job["key"] and self.missing.keys() - known:
            raise OSError(f"layers refused: {self.missing}")

    def try_out(self, limits: dict[str, Any]) -> None:
        """Let a process enter as a sample does, and note which layers the kernel refuses it."""
        job = {"key": "", "network": False, "timeout_s": 1.0}
        read_end, write_end = os.pipe()
        self.before_fork(job)
        pid = os.fork()
        if pid == 0:
            try:
                self.enter(job, limits)
            except BaseException as error:
                self.missing["sandbox"] = repr(error)
            os.write(write_end, json.dumps(self.missing).encode())
            os._exit(0)
        self.after_fork()
        os.close(write_end)
        with os.fdopen(read_end, "rb") as answer:
            self.missing = json.loads(answer.read() or b'{"sandbox": "a process that entered it ended at once"}')
        os.waitpid(pid, 0)
        self.clean(job)

    def clean(self, job: dict[str, Any]) -> None:
        """In the zygote, when the sample's processes are gone."""
        folder = self._folders.pop(job["key"], None)
        if folder is not None:
            with contextlib.suppress(OSError):
                shutil.rmtree(folder)

    def _layer(self, name: str, enter: Callable[[], None]) -> None:
        if name in self.missing:
            return
        try:
            enter()
        except OSError as error:
            self.missing[name] = str(error)

    def _private_root(self) -> None:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        rootfs.build(self._config["visible"])

    def _map_own_user(self) -> None:
        _enter_user_namespace(os.geteuid(), os.getegid())

    def _map_all_users(self) -> None:
        """Enter a user namespace whose users are unprivileged ones outside; the map is written from outside."""
        parent = os.getpid()
        entered, written = os.pipe(), os.pipe()
        helper = os.fork()
        if helper == 0:
            os.close(entered[1])
            os.close(written[0])
            with contextlib.suppress(OSError):
                if os.read(entered[0], 1):
                    for kind in ("gid", "uid"):
                        _write(f"/proc/{parent}/{kind}_map", f"0 {FIRST_OUTER_ID} {_IDS}")
                    os.write(written[1], b"1")
            os._exit(0)
        os.close(entered[0])
        os.close(written[1])
        try:
            syscalls.unshare(syscalls.CLONE_NEWUSER)
            os.write(entered[1], b"1")
            if not os.read(written[0], 1):
                raise OSError("the user map could not be written")
        finally:
            os.close(entered[1])
            os.close(written[0])
            os.waitpid(helper, 0)
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)

    def _own_network(self, shared: bool) -> None:
        if not shared:
            syscalls.unshare(syscalls.CLONE_NEWNET)
            syscalls.loopback_up()
            for name in ("tcp_rmem", "tcp_wmem"):
                with contextlib.suppress(OSError):  # read-only in some containers
                    _write(f"/proc/sys/net/ipv4/{name}", _TCP_BUFFERS)

    def _own_folders(self, limits: dict[str, Any]) -> None:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        rootfs.private_folders(limits["tmp_bytes"], self._config["visible"])
        os.umask(0o022)
        for folder in ("/tmp/home", "/tmp/work"):
            os.mkdir(folder)
            if self._was_root and "user namespace" not in self.missing:
                os.chown(folder, _SAMPLE_ID, _SAMPLE_ID)
        os.chdir("/tmp/work")

    def _drop_user(self) -> None:
        outer = 0 if "user namespace" not in self.missing else FIRST_OUTER_ID
        user = outer + _SAMPLE_ID
        if "file system" in self.missing:
            os.chown(".", user, user)
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)


def _enter_user_namespace(user: int, group: int) -> None:
    """A new user namespace in which this user keeps its number and holds every capability, over nothing outside."""
    syscalls.unshare(syscalls.CLONE_NEWUSER)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)  # a change of privileges closes its own /proc entries to it
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{user} {user} 1")
    _write("/proc/self/gid_map", f"{group} {group} 1")


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


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
        (resource.RLIMIT_NPROC, limits["processes"]),
        (resource.RLIMIT_MEMLOCK, 8 << 20),
        (resource.RLIMIT_MSGQUEUE, 1 << 20),
        (resource.RLIMIT_CPU, int(timeout_s * limits["cpu_factor"]) + 2),
    ):
        _, hard = resource.getrlimit(kind)
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        resource.setrlimit(kind, (value, value))
