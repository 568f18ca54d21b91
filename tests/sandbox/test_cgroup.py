"""Control groups: programs are in them where they can be made, and none stays behind."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from passkwh.benchmarks.sandbox import Job, Limits, evaluate
from passkwh.benchmarks.sandbox.cgroup import ControlGroups, hierarchies

CONTROLLERS = frozenset().union(*(hierarchy.controllers for hierarchy in hierarchies()))
pytestmark = pytest.mark.skipif("memory" not in CONTROLLERS, reason="no memory control group can be made here")


def ours():
    """Names of groups that this process made."""
    found = [hierarchy.parent.glob(f"passkwh-{os.getpid()}-*") for hierarchy in hierarchies()]
    return [path.name for paths in found for path in paths]


def test_each_program_is_in_a_group_of_its_own_in_every_hierarchy():
    code = "import time\nname = open('/proc/self/cgroup').read()\ntime.sleep(0.3)\nraise ValueError(name)"
    outcomes = list(evaluate([Job(str(index), code, "", "script", 10.0) for index in range(4)], workers=2))
    groups = [line for o in outcomes for line in o.detail.splitlines() if f"passkwh-{os.getpid()}-" in line]
    assert len(groups) == 4 * len(hierarchies())
    assert len(set(groups)) >= 2 * len(hierarchies())
    assert ours() == []


@pytest.mark.skipif("cpuacct" not in CONTROLLERS, reason="no control group counts CPU time here")
def test_a_group_counts_cpu_time_of_children_that_nobody_waited_for():
    groups = ControlGroups(1, 1 << 30)
    try:
        read_cpu_s = groups.groups[0].read_cpu_s
        assert read_cpu_s() == 0
        spin = "import time\nwhile time.process_time() < 0.3: pass"
        code = f"import os, subprocess, sys\nfor fd in {groups.groups[0].descriptors}: os.write(fd, b'0')\n"
        code += f"subprocess.Popen([sys.executable, '-c', {spin!r}]).pid\nimport time; time.sleep(0)"
        subprocess.run([sys.executable, "-c", code], pass_fds=groups.groups[0].descriptors, check=True)
        deadline = 600
        while read_cpu_s() < 0.3 and deadline:
            deadline -= 1
            time.sleep(0.05)
        assert read_cpu_s() >= 0.3
        while (
            any(
                path.read_text()
                for path in (Path(f"/proc/self/fd/{fd}").resolve() for fd in groups.groups[0].descriptors)
            )
            and deadline
        ):
            deadline -= 1
            time.sleep(0.05)
    finally:
        groups.close()
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
        "from passkwh.benchmarks.sandbox.cgroup import ControlGroups\n"
        "assert ControlGroups(2, 1 << 30).groups\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    process = subprocess.run([sys.executable, "-c", code], check=False)
    assert process.returncode == -9
    ControlGroups(1, 1 << 30).close()
    left = [hierarchy.parent.glob("passkwh-*") for hierarchy in hierarchies()]
    alive = [path.name.split("-")[1] for paths in left for path in paths]
    assert all(os.path.exists(f"/proc/{pid}") for pid in alive)
