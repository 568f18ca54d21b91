"""Attacks on the host and on the verdict, as root and as an ordinary user: none succeeds."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import pytest

from passkwh.benchmarks.sandbox import Job, Limits, Outcome, evaluate
from tests.sandbox.forgeries import FORGERIES, TEST
from tests.sandbox.harms import CONTAINED, HARMS
from tests.sandbox.identity import USER, evaluate_as, identities

SECRET = "the secret of another program"
RIGHT = "def double(x):\n    return 2 * x"


class Host:
    """What the attacks are after: a folder, a process and services of somebody else on this machine."""

    def __init__(self, folder: Path, owner: int) -> None:
        self.folder = folder
        self.mark = uuid.uuid4().int % 10**9 + 10**9
        self.limits = Limits(memory_bytes=400 << 20, tmp_bytes=(64 << 20) + self.mark % 10**6, processes=40)
        folder.chmod(0o777)
        (folder / "secret").write_text(SECRET)
        (folder / "secret").chmod(0o666)
        self.victim = subprocess.Popen(["sleep", "600"], user=owner if os.geteuid() == 0 else None)
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.files = [socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)]
        self.abstract = f"passkwh-{self.mark}"
        self.files[0].bind("\0" + self.abstract)
        self.files[1].bind(str(folder / "socket"))
        (folder / "socket").chmod(0o777)
        self.visitors = 0
        for server in (self.tcp, *self.files):
            server.listen()
            threading.Thread(target=self._greet, args=(server,), daemon=True).start()

    def _greet(self, server: socket.socket) -> None:
        while True:
            try:
                visitor, _ = server.accept()
            except OSError:
                return
            self.visitors += 1
            visitor.sendall(b"hello")
            visitor.close()

    def facts(self) -> dict[str, object]:
        return {
            "folder": self.folder, "victim": self.victim.pid, "port": self.tcp.getsockname()[1],
            "abstract": self.abstract, "mark": self.mark,
        }  # fmt: skip

    def processes_left(self) -> list[str]:
        left = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                command = path.read_bytes().decode(errors="replace")
            except OSError:
                continue
            if str(self.mark) in command or str(self.limits.tmp_bytes) in command:
                left.append(command)
        return left

    def close(self) -> None:
        self.victim.kill()
        self.victim.wait()
        for server in (self.tcp, *self.files):
            server.close()


@pytest.fixture(scope="module", params=["root", "user"])
def attacked(request, tmp_path_factory):
    identity = request.param
    if identity not in identities():
        why = "not root" if identity == "root" else "no interpreter here that an ordinary user can run"
        pytest.skip(f"cannot try this as {identity}: {why}")
    folder = tmp_path_factory.mktemp("host")
    os.environ["PASSKWH_TEST_SECRET"] = "hunter2"
    host = Host(folder, USER if identity == "user" else 0)
    try:
        jobs = [Job("right", RIGHT, TEST, "unittest", 5.0)]
        for name, code in HARMS.items():
            filled = code.format(**host.facts())
            seconds = 5.0 if name == "litter every folder" else 1.0  # it must come to its end; others may be ended
            jobs.append(Job(f"harm {name}", filled, CONTAINED, "script", timeout_s=seconds))
        outcomes = evaluate_as(identity, jobs, 4, host.limits, tmp_path_factory.mktemp("readable"))
        yield host, outcomes
    finally:
        del os.environ["PASSKWH_TEST_SECRET"]
        host.close()


WORKS_OUTSIDE = (
    "read a secret", "write a folder outside", "rename a folder", "delete a file",
    "through /proc/self/cwd", "kill a process", "kill by libc", "signal through a pidfd", "see other processes",
    "reach a service of the host", "reach an abstract socket", "reach a socket file", "secrets in the environment",
)  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason="some of these need root to work")
@pytest.mark.parametrize("name", WORKS_OUTSIDE)
def test_the_attack_works_without_the_sandbox(name, tmp_path):
    (tmp_path / "x").mkdir()
    host = Host(tmp_path / "x", 0)
    try:
        program = HARMS[name].format(**host.facts()) + "\nassert attempt()"
        environment = {**os.environ, "PASSKWH_TEST_SECRET": "hunter2"}
        subprocess.run([sys.executable, "-c", program], check=True, env=environment, cwd=tmp_path)
    finally:
        host.close()


def trusted_pass(outcome: Outcome) -> bool:
    return outcome.status == "pass" and not outcome.suspect


def test_an_honest_program_is_trusted(attacked):
    _, outcomes = attacked
    assert trusted_pass(outcomes["right"]), outcomes["right"]


@pytest.mark.parametrize("name", HARMS)
def test_harm_is_contained(name, attacked):
    _, outcomes = attacked
    outcome = outcomes[f"harm {name}"]
    assert "the attack worked" not in outcome.detail
    assert outcome.status in ("pass", "timeout"), outcome


@pytest.fixture(scope="module")
def forged():
    jobs = [Job(name, code, TEST, "unittest", timeout_s=2.0) for name, code in FORGERIES.items()]
    return {outcome.key: outcome for outcome in evaluate(jobs, workers=4)}


@pytest.mark.parametrize("name", FORGERIES)
def test_forgery_gains_no_trusted_pass(name, forged):
    assert not trusted_pass(forged[name]), forged[name]


def test_the_host_is_as_it_was(attacked):
    host, _ = attacked
    assert host.victim.poll() is None
    assert sorted(path.name for path in host.folder.iterdir()) == ["secret", "socket"]
    assert (host.folder / "secret").read_text() == SECRET
    assert host.visitors == 0
    assert not Path("/owned").exists()
    assert host.processes_left() == []


def test_nothing_that_a_program_wrote_is_left_anywhere(attacked):
    host, outcomes = attacked
    assert outcomes["harm litter every folder"].status == "pass", "it ran, and could write in its own folder"
    # The program writes at most three folders deep.
    kernels = ["(", "-path", "/proc", "-o", "-path", "/sys", ")", "-prune", "-o"]  # no files; it takes long to enter
    search = ["find", "/", "-maxdepth", "5", *kernels, "-name", f"litter-{host.mark}", "-print", "-quit"]
    found = subprocess.run(search, capture_output=True, text=True, check=False)  # it meets folders that vanish
    assert found.stdout == ""
