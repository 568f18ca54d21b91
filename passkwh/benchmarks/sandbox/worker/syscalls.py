"""The system calls that the sandbox needs and Python does not offer, through ctypes. x86-64 and aarch64 Linux."""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import socket
import struct

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2

MOUNT_ATTR_RDONLY = 1
MOUNT_ATTR_NOSUID = 2

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

MACHINE = platform.machine()
NUMBERS = {
    "x86_64": {"capset": 126, "pivot_root": 155, "seccomp": 317, "mount_setattr": 442},
    "aarch64": {"capset": 91, "pivot_root": 41, "seccomp": 277, "mount_setattr": 442},
}.get(MACHINE, {})

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_prctl = _libc.prctl  # found once, and not in each forked process
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_SIOCSIFFLAGS = 0x8914
_IFF_UP_RUNNING = 0x1 | 0x40
_CAPABILITY_VERSION_3 = 0x20080522


def check(result: int, what: str) -> int:
    """``result``, or OSError with errno when it is negative."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def call(name: str, *arguments: object) -> int:
    """A system call by number, for those that libc does not wrap."""
    if name not in NUMBERS:
        raise OSError(f"{name}: its number on {MACHINE} is not known here")
    return check(_libc.syscall(NUMBERS[name], *arguments), name)


def prctl(option: int, value: int) -> None:
    """prctl(2) with one argument."""
    check(_prctl(option, value, 0, 0, 0), f"prctl({option})")


def unshare(flags: int) -> None:
    """Move this process, or its future children (pid), into new namespaces."""
    check(_libc.unshare(flags), "unshare")


def setns(descriptor: int, kind: int) -> None:
    """Move this process, or its future children (pid), into an existing namespace."""
    check(_libc.setns(descriptor, kind), "setns")


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """mount(2)."""
    encoded = [value.encode() if value is not None else None for value in (source, target, kind, data)]
    result = _libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3])
    check(result, f"mount {kind or 'bind'} on {target}")


def unmount(target: str) -> None:
    """Detach a mount and all that is mounted below it."""
    check(_libc.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def pivot_root(new_root: str, old_root: str) -> None:
    """Swap the root directory."""
    call("pivot_root", new_root.encode(), old_root.encode())


def set_mount_attributes(target: str, attributes: int, recursive: bool) -> None:
    """Set ``MOUNT_ATTR_*`` on a mount, and with ``recursive`` on all below it (Linux 5.12)."""
    block = struct.pack("<QQQQ", attributes, 0, 0, 0)
    call(
        "mount_setattr",
        ctypes.c_int(_AT_FDCWD),
        target.encode(),
        ctypes.c_uint(_AT_RECURSIVE if recursive else 0),
        ctypes.c_char_p(block),
        ctypes.c_size_t(len(block)),
    )


def loopback_up() -> None:
    """Switch on the loopback device of this network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP_RUNNING))


def drop_capabilities() -> None:
    """Give up every capability."""
    header = struct.pack("<II", _CAPABILITY_VERSION_3, 0)
    call("capset", ctypes.c_char_p(header), ctypes.c_char_p(bytes(24)))
