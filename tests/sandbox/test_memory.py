"""Memory that belongs to no process alone, and CPU time of children that nobody waits for: both are counted."""

from __future__ import annotations

import pytest

from passkwh.benchmarks.sandbox import Job, Limits
from tests.sandbox.identity import evaluate_as, identities

LIMITS = Limits(memory_bytes=200 << 20, tmp_bytes=64 << 20, processes=60)

REFUSED = {
    "a file in memory": "import os\nos.memfd_create('x')",
    "a System V segment": """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
if libc.shmget(0, 1 << 20, 0o1600) < 0:
    raise OSError(ctypes.get_errno(), "refused")
""",
    "a System V queue": """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
if libc.msgget(0, 0o1600) < 0:
    raise OSError(ctypes.get_errno(), "refused")
""",
}

_CHILDREN = """
import mmap, os, time
for _ in range(6):
    if os.fork() == 0:
        kept = mmap.mmap(-1, 60 << 20)
        for start in range(0, 60 << 20, 4096):
            kept[start] = 1
        {then}
        time.sleep(60)
time.sleep(60)
"""

HELD = {
    "children's shared mappings": _CHILDREN.format(then="pass"),
    "shared pages that are no longer mapped in": _CHILDREN.format(then="kept.madvise(mmap.MADV_DONTNEED)"),
    "socket buffers": """
import os, socket, time
for _ in range(3):
    if os.fork() == 0:
        break
kept = []
for _ in range(450):
    pair = socket.socketpair()
    kept.append(pair)
    for end in pair:
        end.setblocking(False)
        try:
            while True:
                end.send(bytes(1 << 16))
        except BlockingIOError:
            pass
time.sleep(60)
""",
}

HONEST = """
import mmap, multiprocessing, socket
kept = mmap.mmap(-1, 64 << 20)
with multiprocessing.Pool(4) as pool:
    assert pool.map(abs, range(-9, 0)) == list(range(9, 0, -1))
shared = multiprocessing.Array("d", 100_000)
pairs = [socket.socketpair() for _ in range(40)]
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
peer, _ = server.accept()
client.sendall(b"x" * 100_000)
assert len(peer.recv(1 << 20)) > 0
"""


@pytest.fixture(scope="module", params=["root", "user"])
def outcomes(request, tmp_path_factory):
    if request.param not in identities():
        pytest.skip(f"cannot try this as {request.param}")
    programs = {**REFUSED, **HELD, "honest": HONEST}
    jobs = [Job(name, code, "", "script", 15.0) for name, code in programs.items()]
    return evaluate_as(request.param, jobs, 2, LIMITS, tmp_path_factory.mktemp("readable"))


@pytest.mark.parametrize("name", REFUSED)
def test_memory_that_nobody_can_count_is_refused(name, outcomes):
    assert outcomes[name].status == "fail"
    assert "Error: [Errno 1]" in outcomes[name].detail


@pytest.mark.parametrize("name", HELD)
def test_memory_that_a_family_holds_together_ends_it(name, outcomes):
    assert outcomes[name].status == "timeout"
    assert "MiB of memory, 200 allowed" in outcomes[name].detail


def test_an_honest_use_of_shared_memory_and_sockets_passes(outcomes):
    assert (outcomes["honest"].status, outcomes["honest"].detail) == ("pass", "")


# The child says when it has used its CPU time; how long that takes is not known on a busy machine.
_BEGIN = """
import os, signal, time
{before}
reader, writer = os.pipe()
if os.fork() == 0:
    while time.process_time() < 0.4: pass
    os.write(writer, b"x")
    {child}
os.read(reader, 1)
{parent}
"""
CHILDREN = {
    "waited for": _BEGIN.format(before="", child="os._exit(0)", parent="os.wait()"),
    "left behind": _BEGIN.format(before="", child="time.sleep(600)", parent="time.sleep(1)"),
    "ignored": _BEGIN.format(
        before="signal.signal(signal.SIGCHLD, signal.SIG_IGN)", child="time.sleep(600)", parent="time.sleep(1)"
    ),
    "ended from outside": _BEGIN.format(
        before="", child="time.sleep(600)", parent="kept = bytearray(b'x') * (90 << 20)"
    )
    + "if os.fork() == 0: kept = bytearray(b'x') * (90 << 20)\nkept += kept[:5 << 20]\ntime.sleep(600)",
}


@pytest.mark.parametrize("identity", ["root", "user"])
def test_cpu_time_of_children_counts_whatever_becomes_of_them(identity, tmp_path):
    if identity not in identities():
        pytest.skip(f"cannot try this as {identity}")
    jobs = [Job(name, code, "", "script", 120.0) for name, code in CHILDREN.items()]
    outcomes = evaluate_as(identity, jobs, 4, LIMITS, tmp_path)
    assert {name: outcome.cpu_s >= 0.38 for name, outcome in outcomes.items()} == dict.fromkeys(CHILDREN, True)
    assert outcomes["ended from outside"].status == "timeout"
