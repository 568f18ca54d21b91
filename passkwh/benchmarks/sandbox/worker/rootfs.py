"""The file system a sample sees: a new root that holds the system's programs and the environment, nothing else.

Whatever is not listed does not exist there: homes, caches, checkouts, sockets of services. All of it is read-only, but
for what each sample mounts for itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from . import syscalls as sys

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/sys")
EMPTY = (
    "/dev", "/home", "/media", "/mnt", "/opt", "/proc", "/root", "/run", "/srv", "/tmp",
    "/var/cache", "/var/lib", "/var/log", "/var/spool", "/var/tmp",
)  # fmt: skip
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_STAGE = "/tmp"
_READ_ONLY = sys.MOUNT_ATTR_RDONLY | sys.MOUNT_ATTR_NOSUID


def build(visible: Iterable[str]) -> None:
    """Make the new root, seal and enter it; ``visible`` are folders to show besides the system's, at their own paths.

    Needs a mount namespace of its own and CAP_SYS_ADMIN over it.
    """
    visible = sorted(visible)
    links, folders = _plan([*SYSTEM, *visible])
    sys.mount(None, "/", None, sys.MS_REC | sys.MS_PRIVATE)
    sys.mount("tmpfs", _STAGE, "tmpfs", sys.MS_NOSUID | sys.MS_NODEV, "size=16m,mode=755")
    os.mkdir(_STAGE + "/old")
    os.mkdir(_STAGE + "/new")
    sys.mount(_STAGE + "/new", _STAGE + "/new", None, sys.MS_BIND)
    sys.pivot_root(_STAGE, _STAGE + "/old")  # the old root's own /tmp can be seen again, below /old
    os.chdir("/")
    for folder in EMPTY:
        os.makedirs("/new" + folder, mode=0o755)
    for path, source in folders:
        os.makedirs("/new" + path, exist_ok=True)
        _bind_read_only("/old" + source, "/new" + path)
    for path, target in links:
        os.makedirs(os.path.dirname("/new" + path), exist_ok=True)
        os.symlink(target, "/new" + path)
    _devices()
    os.symlink("/run", "/new/var/run")
    sys.mount(
        "/old/proc", "/new/proc", None, sys.MS_BIND | sys.MS_REC
    )  # a fresh one may be mounted only if one is seen
    sys.pivot_root("/new", "/new/mnt")
    os.chdir("/")
    sys.unmount("/mnt")
    sys.set_mount_attributes("/", _READ_ONLY, recursive=False)
    fresh_tmp("size=64m,mode=1777", visible)


def fresh_tmp(options: str, visible: Iterable[str]) -> None:
    """An empty /tmp, in which those ``visible`` folders that lie below /tmp can still be seen."""
    kept = [(folder, os.open(folder, os.O_PATH)) for folder in visible if folder.startswith("/tmp/")]
    sys.mount("tmpfs", "/tmp", "tmpfs", sys.MS_NOSUID | sys.MS_NODEV, options)
    for folder, descriptor in kept:
        if not os.path.isdir(folder):  # it may lie inside one that is there by now
            os.makedirs(folder, mode=0o755)
            sys.mount(f"/proc/self/fd/{descriptor}", folder, None, sys.MS_BIND | sys.MS_REC)
        os.close(descriptor)


def _plan(paths: Iterable[str]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """What to show: links as (path, target) and folders as (path, real path), none inside another."""
    links: list[tuple[str, str]] = []
    folders: list[tuple[str, str]] = []
    for path in paths:
        if os.path.islink(path):
            links.append((path, os.readlink(path)))
        elif os.path.isdir(path) and not any((path + "/").startswith(other + "/") for other, _ in folders):
            folders.append((path, os.path.realpath(path)))
    return links, folders


def _bind_read_only(source: str, target: str) -> None:
    sys.mount(source, target, None, sys.MS_BIND | sys.MS_REC)
    sys.set_mount_attributes(target, _READ_ONLY, recursive=True)


def _devices() -> None:
    os.mkdir("/new/dev/shm")
    for device in DEVICES:
        os.close(os.open(f"/new/dev/{device}", os.O_CREAT | os.O_WRONLY))
        _bind_read_only(f"/old/dev/{device}", f"/new/dev/{device}")
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink(target, f"/new/dev/{name}")


def private_folders(tmp_bytes: int, visible: Iterable[str]) -> None:
    """In a sample's own mount namespace: an empty /tmp and /dev/shm, and a /proc that shows only its own processes."""
    fresh_tmp(f"size={tmp_bytes},nr_inodes=65536,mode=1777", visible)
    sys.mount("tmpfs", "/dev/shm", "tmpfs", sys.MS_NOSUID | sys.MS_NODEV, f"size={tmp_bytes // 4},mode=1777")
    own_proc()


def own_proc() -> None:
    """A /proc of this process's pid namespace."""
    sys.mount("proc", "/proc", "proc", sys.MS_NOSUID | sys.MS_NODEV | sys.MS_NOEXEC)
