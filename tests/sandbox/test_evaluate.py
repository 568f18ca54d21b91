"""Judging programs with real processes: verdicts, limits of time, and what an outcome carries."""

import socket
import time

import pytest

from passkwh.benchmarks.sandbox import Job, evaluate

TEST = """
import unittest

class TestCases(unittest.TestCase):
    def test_double(self):
        self.assertEqual(double(2), 4)

    def test_zero(self):
        self.assertEqual(double(0), 0)
"""

DEAF = """
def double(x):
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass
"""

PROGRAMS = {
    "right": ("def double(x):\n    return 2 * x", "pass", ""),
    "wrong": ("def double(x):\n    return x + 1", "fail", "3 != 4"),
    "broken": ("def double(x:\n    return", "fail", "SyntaxError"),
    "null": ("def double(x):\n    return '\0'", "fail", ""),
    "missing": ("def triple(x):\n    return 3 * x", "fail", "NameError"),
    "raises": ("raise SystemExit(0)", "fail", "SystemExit"),
    "leaves": ("import os\ndef double(x):\n    os._exit(0)", "timeout", "ended by itself"),
    "endless": ("def double(x):\n    while True: pass", "timeout", "no verdict within"),
    "endless once": ("def double(x):\n    while x == 0: pass\n    return 2 * x", "fail", "TimeoutException"),
    "never": ("while True: pass", "timeout", "no verdict within"),
    "deaf": (DEAF, "timeout", "no verdict within"),
}


@pytest.fixture(scope="module")
def outcomes():
    jobs = [Job(name, code, TEST, "unittest", timeout_s=1.0) for name, (code, _, _) in PROGRAMS.items()]
    before = time.monotonic_ns()
    found = list(evaluate(jobs, workers=2))
    assert sorted(outcome.key for outcome in found) == sorted(PROGRAMS)
    assert all(before <= outcome.start_ns <= outcome.end_ns <= time.monotonic_ns() for outcome in found)
    return {outcome.key: outcome for outcome in found}


@pytest.mark.parametrize("name", PROGRAMS)
def test_verdict_of(name, outcomes):
    _, status, detail = PROGRAMS[name]
    assert outcomes[name].status == status
    assert detail in outcomes[name].detail


def test_a_passing_program_says_how_many_tests_it_ran(outcomes):
    assert outcomes["right"].tests_run == 2


def test_cpu_time_of_a_busy_program_is_counted(outcomes):
    assert outcomes["never"].cpu_s > outcomes["right"].cpu_s > 0


def test_scripts_pass_unless_they_raise():
    jobs = [
        Job("good", "def one():\n    return 1", "assert one() == 1", "script", 5.0),
        Job("bad", "def one():\n    return 2", "assert one() == 1, 'not one'", "script", 5.0),
    ]
    outcomes = {outcome.key: outcome for outcome in evaluate(jobs, workers=1)}
    assert outcomes["good"].status == "pass"
    assert outcomes["bad"].status == "fail"
    assert "not one" in outcomes["bad"].detail


def test_keys_must_be_unique():
    job = Job("same", "", "", "script", 1.0)
    with pytest.raises(ValueError, match="unique"):
        list(evaluate([job, job]))


def test_only_jobs_that_may_use_the_network_reach_it():
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = f"import socket\nsocket.create_connection(('127.0.0.1', {server.getsockname()[1]}), timeout=2)"
        jobs = [Job("inside", code, "", "script", 5.0), Job("outside", code, "", "script", 5.0, network=True)]
        outcomes = {outcome.key: outcome.status for outcome in evaluate(jobs)}
    assert outcomes == {"inside": "fail", "outside": "pass"}


def test_services_inside_a_program_work_and_do_not_meet():
    code = (
        "import socket, time\n"
        "server = socket.create_server(('127.0.0.1', 8765))\n"
        "client = socket.create_connection(('127.0.0.1', 8765))\n"
        "time.sleep(0.3)\n"
    )
    jobs = [Job(str(index), code, "", "script", 5.0) for index in range(4)]
    assert {outcome.status for outcome in evaluate(jobs, workers=4)} == {"pass"}


def test_programs_start_with_an_empty_folder_of_their_own():
    code = (
        "import os, multiprocessing, tempfile\n"
        "assert os.listdir() == []\n"
        "open('file', 'w').write('x')\n"
        "open(os.path.expanduser('~/file'), 'w').write('x')\n"
        "with tempfile.TemporaryDirectory() as folder: pass\n"
        "with multiprocessing.Pool(2) as pool:\n"
        "    assert pool.map(abs, [-1, 2]) == [1, 2]\n"
        "assert os.popen('echo a; id -u').read().split()[0] == 'a'\n"
    )
    outcomes = list(evaluate([Job(str(index), code, "", "script", 10.0) for index in range(3)]))
    assert {(outcome.status, outcome.detail) for outcome in outcomes} == {("pass", "")}


def test_sleeping_programs_leave_their_worker_to_others():
    sleeper = "import time\ntime.sleep(3)"
    jobs = [Job(str(index), sleeper, "", "script", 10.0, sleeps=True) for index in range(4)]
    outcomes = list(evaluate(jobs, workers=1))
    assert {outcome.status for outcome in outcomes} == {"pass"}
    assert max(outcome.start_ns for outcome in outcomes) < min(outcome.end_ns for outcome in outcomes)


def test_a_program_found_asleep_leaves_its_worker_too():
    jobs = [
        Job("asleep", "import time\ntime.sleep(6)", "", "script", 20.0, expected_s=9.0),
        Job("awake", "", "", "script", 10.0),
    ]
    outcomes = {outcome.key: outcome for outcome in evaluate(jobs, workers=1)}
    assert outcomes["asleep"].start_ns < outcomes["awake"].start_ns
    assert outcomes["awake"].end_ns < outcomes["asleep"].end_ns
