"""A system call filter: what no solution needs and an escape would start with is refused.

Everything else is allowed: the namespaces and the missing privileges carry the isolation, the filter makes the kernel's
surface smaller. Calls of another architecture kill the process; calls newer than this table do not exist.
"""

from __future__ import annotations

import ctypes
import errno
import struct

from . import syscalls

# name: number on x86-64, number on aarch64 (None: does not exist there)
_DENIED: dict[str, tuple[int, int | None]] = {
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "unshare": (272, 97), "setns": (308, 268),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "process_madvise": (440, 440),
    "reboot": (169, 142), "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "fanotify_init": (300, 262),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "syslog": (103, 116), "vhangup": (153, 58),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266), "adjtimex": (159, 171),
    "sethostname": (170, 161), "setdomainname": (171, 162), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264), "lookup_dcookie": (212, 18),
    "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None), "uselib": (134, None),
    "nfsservctl": (180, 42), "migrate_pages": (256, 238), "move_pages": (279, 239),
}  # fmt: skip
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
