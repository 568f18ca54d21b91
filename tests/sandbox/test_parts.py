"""The evaluator's small parts on their own: reports, the system call filter, imports, limits."""

import errno
import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passkwh.benchmarks.sandbox import PreloadGroup
from passkwh.benchmarks.sandbox.imports import group_of, imported_modules, libraries
from passkwh.benchmarks.sandbox.worker import report, seccomp

# ---------------------------------------------------------------- reports


def written(messages, key):
    read_end, write_end = os.pipe()
    try:
        send = report.sender(write_end, key)
        assert all(send(kind, text) for kind, text in messages)
    finally:
        os.close(write_end)
    with os.fdopen(read_end, "rb") as reader:
        return reader.read()


@given(st.lists(st.tuples(st.text(max_size=10), st.text(max_size=50)), max_size=6))
def test_a_report_is_read_as_it_was_sent(messages):
    key = report.new_key()
    assert report.read(written(messages, key), key) == (messages, True)


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_a_changed_byte_is_noticed(position, change):
    key = report.new_key()
    data = bytearray(written([("tests", "3"), ("status", "pass")], key))
    data[position % len(data)] ^= change
    lines, whole = report.read(bytes(data), key)
    assert not whole or lines == [("tests", "3"), ("status", "pass")]
    assert set(lines) <= {("tests", "3"), ("status", "pass")}


@pytest.mark.parametrize("order", [[1], [0, 0, 1], [1, 0], [0, 1, 0]])
def test_a_missing_repeated_or_moved_line_is_noticed(order):
    key = report.new_key()
    lines = written([("suspect", "x"), ("status", "pass")], key).splitlines(keepends=True)
    assert not report.read(b"".join(lines[index] for index in order), key)[1]


def test_a_line_of_another_key_is_not_read():
    assert report.read(written([("status", "pass")], report.new_key()), report.new_key()) == ([], False)


def test_nothing_is_sent_through_a_replaced_descriptor():
    read_end, write_end = os.pipe()
    other_read, other_write = os.pipe()
    send = report.sender(write_end, report.new_key())
    os.dup2(other_write, write_end)
    assert not send("status", "pass")
    for descriptor in (read_end, write_end, other_read, other_write):
        os.close(descriptor)


# ---------------------------------------------------------------- system calls


def verdict(program, number, architecture, arguments=(0, 0, 0, 0, 0, 0)):
    """What the kernel would make of a call: the filter run by hand."""
    data = struct.pack("<IIQ6Q", number, architecture, 0, *arguments)
    accumulator, position = 0, 0
    while True:
        code, yes, no, value = struct.unpack_from("<HBBI", program, position * 8)
        position += 1
        if code == 0x20:
            accumulator = struct.unpack_from("<I", data, value)[0]
        elif code == 0x06:
            return value
        else:
            holds = {0x15: accumulator == value, 0x35: accumulator >= value, 0x25: accumulator > value,
                     0x45: bool(accumulator & value)}[code]  # fmt: skip
            position += yes if holds else no


ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
X86, ARM = 0xC000003E, 0xC00000B7
REFUSED = ERRNO | errno.EPERM


@pytest.mark.parametrize(
    ("machine", "architecture", "number", "arguments", "expected"),
    [
        ("x86_64", X86, 0, (), ALLOW),  # read
        ("x86_64", X86, 1, (), ALLOW),  # write
        ("x86_64", X86, 165, (), REFUSED),  # mount
        ("x86_64", X86, 101, (), REFUSED),  # ptrace
        ("x86_64", X86, 435, (), ERRNO | errno.ENOSYS),  # clone3
        ("x86_64", X86, 500, (), ERRNO | errno.ENOSYS),  # newer than the table
        ("x86_64", X86, 319, (), REFUSED),  # memfd_create
        ("x86_64", X86, 29, (), REFUSED),  # shmget
        ("x86_64", X86, 56, (17,), ALLOW),  # clone as fork does
        ("x86_64", X86, 56, (0x10000000,), REFUSED),  # clone into a user namespace
        ("x86_64", X86, 41, (2,), ALLOW),  # socket: internet
        ("x86_64", X86, 41, (17,), ERRNO | errno.EAFNOSUPPORT),  # socket: packets
        ("x86_64", X86, 157, (1, 9), REFUSED),  # prctl: parent's death
        ("x86_64", X86, 157, (15,), ALLOW),  # prctl: name
        ("x86_64", X86, 16, (0, 0x5412), REFUSED),  # ioctl: typing into a terminal
        ("x86_64", X86, 16, (0, 0x5401), ALLOW),  # ioctl: terminal settings
        ("x86_64", X86, 0x40000000, (), KILL),  # the x32 numbers
        ("x86_64", 0x40000003, 1, (), KILL),  # the 32-bit numbers
        ("aarch64", ARM, 63, (), ALLOW),  # read
        ("aarch64", ARM, 40, (), REFUSED),  # mount
        ("aarch64", ARM, 117, (), REFUSED),  # ptrace
        ("aarch64", ARM, 97, (), REFUSED),  # unshare
        ("aarch64", ARM, 279, (), REFUSED),  # memfd_create
        ("aarch64", ARM, 194, (), REFUSED),  # shmget
        ("aarch64", ARM, 220, (17,), ALLOW),  # clone as fork does
        ("aarch64", ARM, 220, (0x20000000,), REFUSED),  # clone into a pid namespace
        ("aarch64", ARM, 198, (40,), ERRNO | errno.EAFNOSUPPORT),  # socket: virtual machine
        ("aarch64", ARM, 167, (1, 9), REFUSED),  # prctl: parent's death
        ("aarch64", X86, 63, (), KILL),
    ],
)
def test_the_filter(machine, architecture, number, arguments, expected):
    padded = (*arguments, *(0,) * (6 - len(arguments)))
    assert verdict(seccomp.program(machine), number, architecture, padded) == expected


def test_the_filter_knows_its_machines():
    with pytest.raises(OSError, match="riscv64"):
        seccomp.program("riscv64")


# ---------------------------------------------------------------- imports


def test_imports_are_found_wherever_they_stand():
    code = "import os.path as p, numpy as np\ndef f():\n    from sklearn.svm import SVC\nfrom . import x\n"
    assert imported_modules(code) == {"os", "os.path", "numpy", "sklearn", "sklearn.svm", "sklearn.svm.SVC"}
    assert libraries(code) == {"numpy", "sklearn"}
    assert imported_modules("import (") == set()


def test_a_program_runs_in_the_first_group_that_has_its_libraries():
    groups = [
        PreloadGroup(name, frozenset(libraries)) for name, libraries in (("a", ()), ("b", ["numpy"]), ("c", ["scipy"]))
    ]
    assert [group_of(needed, groups) for needed in (set(), {"numpy"}, {"scipy", "numpy"}, {"unheard_of"})] == [
        0,
        1,
        2,
        0,
    ]
