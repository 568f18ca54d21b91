"""A system call filter: what no solution needs and an escape would start with is refused.

Everything else is allowed: the namespaces and the missing privileges carry the isolation, the filter makes the kernel's
surface smaller. Calls of another architecture kill the process; calls newer than this table do not exist.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import struct

from . import syscalls

with open(os.path.join(os.path.dirname(__file__), "denied_calls.json")) as _file:
    _DENIED: dict[str, tuple[int, int | None]] = json.load(_file)
"""Name: number on x86-64, number on aarch64 (None: does not exist there)."""
_NEWEST = 462  # the newest call this table was made with (mseal)
_CLONE, _CLONE3, _SOCKET, _PRCTL, _IOCTL = (56, 220), (435, 435), (41, 198), (157, 167), (16, 29)
_NAMESPACE_FLAGS = 0x7E020000
_FAMILIES = (1, 2, 10, 16)  # unix, inet, inet6, netlink (interface lists)
_TERMINAL_INJECTION = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_X32 = 0x40000000

_LOAD, _JEQ, _JGE, _JGT, _JSET, _RETURN = 0x20, 0x15, 0x35, 0x25, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NR, _ARCH, _ARG0, _ARG1 = 0, 4, 16, 24
_SECCOMP_SET_MODE_FILTER = 1

_Instruction = tuple[int, int, int, int]


def program(machine: str) -> bytes:
    """The filter as classic BPF, 8 bytes an instruction. Raises OSError for a machine it is not written for."""
    if machine not in _ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"the system call filter is not written for {machine}")
    column, architecture = _ARCHITECTURES[machine]
    refuse = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    absent = (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)
    code: list[_Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_JEQ, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NR),
    ]
    if machine == "x86_64":
        code += [(_JGE, 0, 1, _X32), (_RETURN, 0, 0, _KILL)]
    code += [(_JGT, 0, 1, _NEWEST), absent]
    code += [(_JEQ, 0, 1, _CLONE3[column]), absent]  # its flags are out of a filter's reach; libc falls back to clone
    for numbers in _DENIED.values():
        number = numbers[column]
        if number is not None:
            code += [(_JEQ, 0, 1, number), refuse]
    code += _on(_CLONE[column], [(_LOAD, 0, 0, _ARG0), (_JSET, 0, 1, _NAMESPACE_FLAGS), refuse])
    code += _on(_PRCTL[column], [(_LOAD, 0, 0, _ARG0), (_JEQ, 0, 1, syscalls.PR_SET_PDEATHSIG), refuse])
    code += _on(_IOCTL[column], [(_LOAD, 0, 0, _ARG1), *_refuse_any(_TERMINAL_INJECTION, refuse)])
    code += _on(_SOCKET[column], [(_LOAD, 0, 0, _ARG0), *_refuse_others(_FAMILIES)])
    code.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)


def _on(number: int, body: list[_Instruction]) -> list[_Instruction]:
    """``body`` for one system call; the number is loaded again after it."""
    body = [*body, (_LOAD, 0, 0, _NR)]
    return [(_JEQ, 0, len(body), number), *body]


def _refuse_any(values: tuple[int, ...], refuse: _Instruction) -> list[_Instruction]:
    return [instruction for value in values for instruction in ((_JEQ, 0, 1, value), refuse)]


def _refuse_others(values: tuple[int, ...]) -> list[_Instruction]:
    allowed = [(_JEQ, len(values) - index, 0, value) for index, value in enumerate(values)]
    return [*allowed, (_RETURN, 0, 0, _ERRNO | errno.EAFNOSUPPORT)]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install() -> None:
    """Apply the filter to this process and all its descendants; cannot be undone."""
    code = program(syscalls.MACHINE)
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    pointer = ctypes.byref(_Program(len(code) // 8, code))
    syscalls.call("seccomp", ctypes.c_uint(_SECCOMP_SET_MODE_FILTER), ctypes.c_uint(0), pointer)
