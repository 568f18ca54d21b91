"""Control groups: programs are in them where they can be made, and none stays behind."""

import os
import subprocess
import sys

import pytest

from passkwh.benchmarks.sandbox import Job, Limits, evaluate
from passkwh.benchmarks.sandbox.cgroup import MemoryGroups, _parent

pytestmark = pytest.mark.skipif(_parent() is None, reason="no memory control group can be made here")


def ours():
    """Names of groups that this process made."""
    parent, _ = _parent()
    return [path.name for path in parent.glob(f"passkwh-{os.getpid()}-*")]


def test_each_program_is_in_a_group_of_its_own():
    code = "import time\nname = open('/proc/self/cgroup').read()\ntime.sleep(0.3)\nraise ValueError(name)"
    outcomes = list(evaluate([Job(str(index), code, "", "script", 10.0) for index in range(4)], workers=2))
    groups = [line for o in outcomes for line in o.detail.splitlines() if f"passkwh-{os.getpid()}-" in line]
    assert len(groups) == 4
    assert len(set(groups)) >= 2
    assert ours() == []


def test_a_family_whose_members_each_stay_below_the_limit_is_ended():
    family = (
        "import os, time\n"
        "for _ in range(20):\n"
        "    if os.fork() == 0:\n"
        "        kept = bytearray(b'x') * (60 << 20)\n"
        "        time.sleep(60)\n"
        "time.sleep(60)"
    )
    limits = Limits(memory_bytes=64 << 20, tmp_bytes=1 << 20)
    outcome = next(iter(evaluate([Job("family", family, "", "script", 30.0)], limits=limits)))
    assert outcome.status == "timeout"
    assert ours() == []


def test_groups_of_a_killed_evaluator_are_removed_by_the_next():
    code = (
        "import os, signal\n"
        "from passkwh.benchmarks.sandbox.cgroup import MemoryGroups\n"
        "assert MemoryGroups(2, 1 << 30).descriptors\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    process = subprocess.run([sys.executable, "-c", code], check=False)
    assert process.returncode == -9
    parent, _ = _parent()
    MemoryGroups(1, 1 << 30).close()
    alive = [path.name.split("-")[1] for path in parent.glob("passkwh-*")]
    assert all(os.path.exists(f"/proc/{pid}") for pid in alive)
