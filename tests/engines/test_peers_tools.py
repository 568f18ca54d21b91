"""Our joules for other programs: `bench meter run` and `measure()` around a tool that serves and asks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import passkwh
from passkwh.adapters import engines

PROGRAM = Path(engines.__file__).with_name("llamacpp_server.py")
TOOL = """
import json, os, resource, subprocess, sys, time, urllib.request

program, parameters = sys.argv[1:]
port = json.loads(parameters)["port"]
server = subprocess.Popen([sys.executable, "-P", program, parameters], stdout=subprocess.PIPE, text=True)
while "listening" not in (line := server.stdout.readline()):
    assert line, "the server has ended"

def ask(tokens):
    body = json.dumps({"prompt": list(range(5, 60)), "max_tokens": tokens, "temperature": 0}).encode()
    headers = {"Content-Type": "application/json", "Authorization": "Bearer key"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/completions", body, headers)
    return json.load(urllib.request.urlopen(request))["usage"]["completion_tokens"]

print("tokens", sum(ask(400) for _ in range(4)), flush=True)
server.terminate()
server.wait()
spent = resource.getrusage(resource.RUSAGE_CHILDREN)
print("cpu_s", spent.ru_utime + spent.ru_stime, flush=True)
"""
"""What serving benchmarks do: a server in a process of its own, and requests to it."""


@pytest.fixture
def command(tiny_gguf: Path, tmp_path: Path) -> list[str]:
    pytest.importorskip("xllamacpp", reason="llama.cpp is in the gguf extra")
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    parameters = {"model.path": str(tiny_gguf), "n_ctx": 512, "cpuparams.n_threads": 1, "cpuparams_batch.n_threads": 1}
    tool = tmp_path / "tool.py"
    tool.write_text(TOOL)
    return [sys.executable, str(tool), str(PROGRAM), json.dumps({**parameters, "port": port})]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSKWH_SERVER_KEY", "key")


def cpu_s(output: str) -> float:
    assert "tokens 16" in output  # four times 400, unless one ended by itself
    return float(output.partition("cpu_s ")[2].split()[0])


def watts_per_core(note: Any) -> float:
    return float(str(note).split(" W per core")[0].split()[-1])


def test_a_command_counts_with_the_server_that_it_starts(command: list[str]) -> None:
    bench = [sys.executable, "-m", "passkwh.cli.main", "meter", "run", "--meter", "estimate", "--idle-s", "0", "--json"]
    done = subprocess.run([*bench, "--", *command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["provenance"] == "estimated"
    assert figures["reason"] is None
    # More than the server's, because the tool itself and the memory count, too.
    with passkwh.measure("estimate") as block:
        pass
    watts = watts_per_core(block.channels["cpu:estimate"].info.note)
    assert figures["energy_j"] >= 0.9 * cpu_s(done.stdout) * watts


def test_a_block_counts_with_the_server_that_it_starts(command: list[str]) -> None:
    with passkwh.measure("estimate") as block:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    channel = block.channels["cpu:estimate"]
    assert channel.energy.gross_j is not None
    assert channel.energy.gross_j >= 0.9 * cpu_s(done.stdout) * watts_per_core(channel.info.note)


def test_a_server_that_is_ended_by_ctrl_c_has_its_energy(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    code = (
        "import pathlib, sys, time\n"
        "try:\n"
        f"    pathlib.Path({str(ready)!r}).touch()\n"
        "    time.sleep(600)\n"
        "except KeyboardInterrupt:\n"
        "    print('saved', flush=True); sys.exit(0)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "passkwh.cli.main", "meter", "run", "--meter", "simulated:steady", "--idle-s", "0",
         "--json", "--", sys.executable, "-c", code],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background ignore it
    )  # fmt: skip
    while not ready.exists():
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    saved, figures = output.splitlines()
    assert saved == "saved"
    assert json.loads(figures)["energy_j"] > 0
