"""What goes wrong around the judged programs: dead zygotes, exhausted memory, interrupts; and what must not be left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from passkwh.benchmarks.sandbox import Job, Limits, evaluate
from passkwh.benchmarks.sandbox.worker import tree
from passkwh.benchmarks.sandbox.worker.isolate import FIRST_OUTER_ID
from passkwh.errors import UsageError
from tests.sandbox.identity import USER

DRIVER = """
import sys
from passkwh.benchmarks.sandbox import Job, Limits, evaluate
limits = Limits(memory_bytes=1 << 30, tmp_bytes={tmp_bytes})
jobs = [Job(str(index), "{code}", "", "script", 60.0) for index in range(4)]
print("begun", flush=True)
for outcome in evaluate(jobs, workers=2, limits=limits, unsafe={unsafe}):
    print(outcome.status, flush=True)
"""


def unique_bytes() -> int:
    """A limit that no other evaluation uses, so that this one's processes can be told from others'."""
    return (64 << 20) + uuid.uuid4().int % 10**6


def processes_with(tmp_bytes: int) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if f'"tmp_bytes": {tmp_bytes}' in command:
            found.append(path.parent.name)
    return found


def wait_until_gone(tmp_bytes: int) -> list[str]:
    for _ in range(200):
        if not (left := processes_with(tmp_bytes)):
            return []
        time.sleep(0.05)
    return left


@pytest.mark.parametrize("generation", [1, 2, 3], ids=["host", "init", "zygote"])
def test_a_killed_process_of_the_evaluator_costs_no_verdict(generation):
    jobs = [Job(str(index), "import time\ntime.sleep(0.1)", "", "script", 20.0) for index in range(12)]
    statuses = {}
    for outcome in evaluate(jobs, workers=2):
        if not statuses:
            level = [os.getpid()]
            for _ in range(generation):
                level = [child for parent in level for child in children(parent)]
            assert level
            os.kill(level[0], signal.SIGKILL)
        assert outcome.key not in statuses
        statuses[outcome.key] = outcome.status
    assert statuses == {job.key: "pass" for job in jobs}


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    own = [int(child) for child in text.split()]
    return [child for child in own if "worker.main" in Path(f"/proc/{child}/cmdline").read_text()]


def test_a_program_that_is_there_whenever_the_zygote_dies_is_given_up():
    jobs = [Job("only", "import time\ntime.sleep(30)", "", "script", 40.0)]
    kills = 0
    others = set(tree.descendants(os.getpid()))  # of other tests, such as a server that they share
    outcomes = evaluate(jobs, workers=1)

    def kill_when_running() -> None:
        nonlocal kills
        while kills < 2:
            for pid in set(tree.descendants(os.getpid())) - others:
                names = [p for p in tree.descendants(pid) if p != pid]
                if len(tree.descendants(pid)) == 2 and pid != os.getpid() and names:
                    time.sleep(0.2)
                    os.kill(pid, signal.SIGKILL)
                    kills += 1
                    time.sleep(0.5)
                    break
            time.sleep(0.05)

    import threading

    killer = threading.Thread(target=kill_when_running)
    killer.start()
    outcome = next(outcomes)
    outcomes.close()
    killer.join()
    assert outcome.status == "error"
    assert "died twice" in outcome.detail


def test_sixteen_programs_that_take_all_memory():
    greedy = "kept = []\nwhile True:\n    kept.append(bytearray(b'x') * (8 << 20))"
    jobs = [Job(str(index), greedy, "", "script", 20.0) for index in range(16)]
    jobs.append(Job("modest", "kept = bytearray(1 << 20)", "", "script", 20.0))
    limits = Limits(memory_bytes=128 << 20)
    outcomes = {outcome.key: outcome for outcome in evaluate(jobs, workers=4, limits=limits)}
    assert outcomes.pop("modest").status == "pass"
    assert {outcome.status for outcome in outcomes.values()} == {"fail"}
    assert all("MemoryError" in outcome.detail for outcome in outcomes.values())


def test_a_tree_of_processes_that_takes_too_much_memory_is_ended():
    family = (
        "import os, time\n"
        "for _ in range(4):\n"
        "    if os.fork() == 0:\n"
        "        kept = bytearray(b'x') * (100 << 20)\n"
        "        time.sleep(60)\n"
        "time.sleep(60)"
    )
    limits = Limits(memory_bytes=256 << 20)
    outcome = next(iter(evaluate([Job("family", family, "", "script", 50.0)], limits=limits)))
    assert outcome.status == "timeout"
    assert "MiB of memory" in outcome.detail


def test_cpu_time_is_limited_from_outside():
    spinning = "import os\nfor _ in range(3): os.fork()\nwhile True: pass"
    limits = Limits(memory_bytes=1 << 30, cpu_factor=0.05)
    outcome = next(iter(evaluate([Job("spin", spinning, "", "script", 30.0)], limits=limits)))
    assert outcome.status == "timeout"
    assert outcome.cpu_s < 30


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_evaluation_leaves_no_process(stop):
    tmp_bytes = unique_bytes()
    program = DRIVER.format(tmp_bytes=tmp_bytes, code="while True: pass", unsafe=False)
    driver = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert driver.stdout is not None
    assert driver.stdout.readline() == b"begun\n"
    while len(processes_with(tmp_bytes)) < 4:  # host, init, zygote and a program
        time.sleep(0.05)
    driver.send_signal(stop)
    driver.wait()
    driver.stdout.close()
    assert wait_until_gone(tmp_bytes) == []


def test_closing_the_iterator_ends_everything():
    tmp_bytes = unique_bytes()
    jobs = [Job("quick", "", "", "script", 5.0), Job("slow", "import time\ntime.sleep(60)", "", "script", 90.0)]
    outcomes = evaluate(jobs, workers=2, limits=Limits(memory_bytes=1 << 30, tmp_bytes=tmp_bytes))
    assert next(outcomes).key == "quick"
    outcomes.close()
    assert wait_until_gone(tmp_bytes) == []


def test_nothing_is_left_in_the_file_system():
    code = (
        "import os, tempfile\n"
        "for folder in ('/tmp', '/var/tmp', '/dev/shm', '.', os.path.expanduser('~')):\n"
        "    try: open(folder + '/left', 'w').write('x')\n"
        "    except OSError: pass\n"
        "tempfile.mkdtemp(prefix='left-')\n"
    )
    list(evaluate([Job(str(index), code, "", "script", 10.0) for index in range(4)]))
    left = []
    for folder in ("/tmp", "/var/tmp", "/dev/shm", os.getcwd(), os.path.expanduser("~"), "/"):
        for entry in os.scandir(folder):
            owner = entry.stat(follow_symlinks=False).st_uid
            if entry.name.startswith(("passkwh-judged-", "left")) or FIRST_OUTER_ID <= owner < FIRST_OUTER_ID + 65536:
                left.append(entry.path)
    assert left == []


def refused(unsafe: bool) -> subprocess.CompletedProcess[str]:
    """An evaluation where the kernel allows no further user namespace."""
    program = DRIVER.format(tmp_bytes=unique_bytes(), code="pass", unsafe=unsafe)
    script = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$0" -c "$1"'
    command = ["unshare", "--user", "--map-root-user", "sh", "-c", script, sys.executable, program]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_missing_layer_is_named_and_nothing_runs():
    done = refused(unsafe=False)
    if "unshare" in done.stderr and "evaluation" not in done.stderr:
        pytest.skip(f"no user namespace to try this in: {done.stderr}")
    assert done.stdout == "begun\n"
    assert "user namespace (" in done.stderr
    assert "--unsafe-evaluation" in done.stderr


def test_unsafe_evaluation_goes_on_with_the_layers_there_are():
    done = refused(unsafe=True)
    if "unshare" in done.stderr:
        pytest.skip(f"no user namespace to try this in: {done.stderr}")
    assert done.stdout.split() == ["begun", *["pass"] * 4]


def test_an_interpreter_that_does_not_run_is_refused(tmp_path):
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\nexit 3\n")
    fake.chmod(0o755)
    with pytest.raises(UsageError, match="does not run as a Python interpreter"):
        list(evaluate([Job("a", "", "", "script", 1.0)], python=fake))


def test_the_ordinary_user_of_these_tests_owns_nothing():
    assert not any(entry.stat(follow_symlinks=False).st_uid == USER for entry in os.scandir("/tmp"))
