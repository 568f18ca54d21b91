"""Servers that a run starts: whatever happens to them or to the run, the reason is said and nothing is left running.

The server is llama.cpp's, or a program that fails as real ones do; the programs of third parties are started by the
same code, with command lines that are tested here and engines that are tested where they are installed.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from passkwh import adapters
from passkwh.adapters.checkpoint import Checkpoint
from passkwh.adapters.engines import sglang, vllm
from passkwh.adapters.engines.base import Decoding, LoadOptions
from passkwh.adapters.engines.served import Server, ServerProcess, start
from passkwh.errors import UsageError
from passkwh.harness.plan import plan
from passkwh.harness.runner import run
from passkwh.harness.runs.folder import RunFolder
from passkwh.prompts import TextPrompt
from passkwh.records import ModelInfo, Spec
from tests.engines.kills import survive

OPTIONS = {"n_threads": 1}
PATIENCE_S = 60.0
KILLS = 3


def eventually(true: Callable[[], bool]) -> bool:
    until_s = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > until_s:
            return False
        time.sleep(0.05)
    return True


def server(code: str, **more: Any) -> Server:
    """A server that is a Python program."""
    return Server("fake", "1.0", (sys.executable, "-c", code, "{port}"), "KEY", "model", **more)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def servers() -> list[psutil.Process]:
    """What is left of servers below this process (the sandbox has processes of its own)."""
    return [one for one in psutil.Process().children(recursive=True) if "keeper.py" in " ".join(one.cmdline())]


def children_of(process: ServerProcess) -> list[psutil.Process]:
    return psutil.Process(process._keeper.pid).children(recursive=True)


# ---------------------------------------------------------------- starting


def info(logged: str) -> ModelInfo:
    return ModelInfo(
        name="m", adapter="base", engine="fake", chat=False, checkpoint="m", revision="1", dtype="f32", device="cpu",
        parameters=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("code", "reasons"),
    [
        ("import sys; sys.exit('no such model')", ["ended with exit code 1", "no such model"]),
        ("import os; os.kill(os.getpid(), 9)", ["was killed by signal 9"]),
        ("raise MemoryError('cannot allocate 80 GiB')", ["exit code 1", "cannot allocate 80 GiB"]),
        ("import time; print('load' + 'ing', flush=True); time.sleep(600)", ["is not healthy after 1 s", "; loading)"]),
    ],
)
def test_a_server_that_does_not_come_up_is_ended_and_its_last_words_are_said(
    code: str, reasons: list[str], tmp_path: Path
) -> None:
    options = LoadOptions(log=tmp_path / "engine.log", options={"start_s": 1.0})
    with pytest.raises(UsageError) as error:
        start(server(code), options, info, lambda client: pytest.fail("it never was healthy"))
    for reason in reasons:
        assert reason in str(error.value)
    assert str(tmp_path / "engine.log") in str(error.value)
    assert not servers()


def test_a_taken_port_is_said_by_the_server(tmp_path: Path, tiny_gguf: Path) -> None:
    pytest.importorskip("xllamacpp", reason="llama.cpp is in the gguf extra")
    program = Path(adapters.__file__).with_name("engines") / "llamacpp_server.py"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        parameters = json.dumps({"model.path": str(tiny_gguf), "port": taken.getsockname()[1]})
        command = (sys.executable, "-P", str(program), parameters)
        options = LoadOptions(log=tmp_path / "engine.log")
        with pytest.raises(UsageError, match=r"exit code 1 .*(couldn't bind HTTP server socket|Failed to init server)"):
            start(
                Server("llamacpp", "1", command, "PASSKWH_SERVER_KEY", "m"),
                options,
                info,
                lambda client: pytest.fail("it never was healthy"),
            )
    assert not servers()


def test_waiting_is_reported(tmp_path: Path) -> None:
    stages: list[str] = []
    process = ServerProcess(server("import time; time.sleep(600)"), tmp_path / "log")
    with pytest.raises(UsageError, match="is not healthy after"):
        process.wait_until_healthy(0.3, stages.append)
    process.close()
    assert stages[0].startswith("starting fake 1.0, for 0 s")


def test_the_log_begins_with_the_command_and_has_no_key(tmp_path: Path) -> None:
    process = ServerProcess(server("import os, time; print(os.environ['PLACE']); time.sleep(600)",
                                   environment={"PLACE": "here", "KEEP": "1"}), tmp_path / "log")  # fmt: skip
    assert eventually(lambda: "\nhere" in process.log.read_text())
    process.move_log(tmp_path / "moved")
    process.close()
    text = (tmp_path / "moved").read_text()
    assert text.startswith(sys.executable)
    assert "{port}" in text
    assert process.key not in text
    assert not (tmp_path / "log").exists()


# ---------------------------------------------------------------- ending

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("ready", child.pid, flush=True)
time.sleep(600)
"""
"""A server with a worker in a session of its own, as engines of several processes have."""

OWNER = """
import sys, time
from pathlib import Path
from passkwh.adapters.engines.served import Server, ServerProcess
process = ServerProcess(Server("fake", "1", (sys.executable, "-c", sys.argv[1]), "KEY", "m"), Path(sys.argv[2]))
print(process._keeper.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_its_owner_however_that_ends(sign: signal.Signals, tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = STUBBORN.replace("signal.SIG_IGN", "signal.SIG_DFL")
    owner = subprocess.Popen([sys.executable, "-c", OWNER, code, str(log)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    keeper = psutil.Process(int(owner.stdout.readline()))
    assert eventually(lambda: "\nready " in log.read_text())
    processes = [keeper, *keeper.children(recursive=True)]
    assert len(processes) == 3
    owner.send_signal(sign)
    owner.wait()
    assert eventually(lambda: all(gone(process.pid) for process in processes))


def test_workers_of_a_server_that_was_killed_are_ended(tmp_path: Path) -> None:
    process = ServerProcess(server(STUBBORN), tmp_path / "log")
    assert eventually(lambda: "\nready " in process.log.read_text())
    processes = children_of(process)
    assert len(processes) == 2
    os.kill(processes[0].pid, signal.SIGKILL)
    assert eventually(lambda: all(gone(one.pid) for one in processes))
    assert "was killed by signal 9" in str(process.ended(PATIENCE_S))
    process.close()


def test_a_server_dies_with_its_keeper(tmp_path: Path) -> None:
    process = ServerProcess(server(STUBBORN), tmp_path / "log")
    assert eventually(lambda: "\nready " in process.log.read_text())
    child = children_of(process)[0]
    process._keeper.kill()
    assert eventually(lambda: gone(child.pid))
    process.close()
    for left in psutil.process_iter(["cmdline"]):  # its own worker is an orphan of the kernel's then
        if left.pid == int(process.log.read_text().partition("\nready ")[2].split()[0]):
            left.kill()


# ---------------------------------------------------------------- runs


@pytest.fixture(scope="module")
def spec(tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Spec:
    """Six tasks of a real model in a real server."""
    pytest.importorskip("xllamacpp", reason="llama.cpp is in the gguf extra")
    tasks = [
        {"task_id": f"T/{i}", "prompt": f"def f{i}(x):\n", "canonical_solution": "    return x\n",
         "entry_point": f"f{i}", "test": f"def check(f):\n    assert f({i}) == {i}\n"}
        for i in range(6)
    ]  # fmt: skip
    data = tmp_path_factory.mktemp("data") / "tasks.jsonl"
    data.write_text("".join(json.dumps(task) + "\n" for task in tasks))
    return Spec(
        model=str(tiny_gguf), engine="llamacpp", engine_options=OPTIONS, benchmark="humaneval",
        benchmark_options={"data": str(data)}, max_new_tokens=8, meter="estimate", idle_s=0.1,
    )  # fmt: skip


def test_a_run_keeps_what_its_server_was_and_counts_its_cpu_time(spec: Spec, tmp_path: Path) -> None:
    folder = run(plan(spec, tmp_path))
    manifest, summary = folder.manifest(), folder.summary()
    assert manifest.model.engine == "llamacpp"
    assert manifest.model.engine_info["n_threads"] == 1
    assert "llamacpp_server.py" in str(manifest.model.engine_info["command"])
    assert "listening on" in (folder.path / "engine-000.log").read_text()
    assert list(tmp_path.iterdir()) == [folder.path]
    # An estimate is of CPU time of this process and all below it: nothing but the server computes anything here.
    assert summary.generation_energy_j is not None
    assert summary.generation_energy_j > 0
    samples = RunFolder.open(folder.path).samples()
    shares = [sample.generation_energy["cpu:estimate"].gross_j or 0.0 for sample in samples]
    assert sum(shares) == pytest.approx(summary.generation_energy_j, rel=0.005)
    assert {sample.cached_tokens for sample in samples} == {0}
    assert not servers()


class KillsServer:
    """Progress that kills the server with -9 when two samples have been made."""

    def update(self, status: Any) -> None:
        if status.stage == "generating" and status.done == 2:
            for child in psutil.Process().children(recursive=True):
                if "llamacpp_server.py" in " ".join(child.cmdline()) and "keeper.py" not in " ".join(child.cmdline()):
                    child.kill()


def test_a_run_whose_server_is_killed_says_so_and_goes_on_with_resume(spec: Spec, tmp_path: Path) -> None:
    planned = plan(spec, tmp_path)
    with pytest.raises(UsageError, match=r"llamacpp was killed by signal 9 .*engine-000.log.*--resume"):
        run(planned, progress=KillsServer())
    assert not servers()
    assert len(RunFolder.open(planned.folder).samples()) == 2
    samples = run(planned, resume=True).samples()
    assert len(samples) == len({sample.key for sample in samples}) == 6
    assert (planned.folder / "engine-001.log").exists()


def test_what_is_cached_is_recorded_when_the_user_wants_a_cache(tiny_gguf: Path, tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="llama.cpp is in the gguf extra")
    model = adapters.load(
        adapters.resolve(str(tiny_gguf)), options={**OPTIONS, "cache_prompt": True}, log=tmp_path / "log", max_tokens=99
    )
    prompt = TextPrompt("one and the same prompt")
    counts = [model.generate([prompt], Decoding(2), [0])[0].cached_tokens for _ in range(2)]
    model.close()
    assert counts[0] == 0
    assert counts[1] is not None
    assert counts[1] > 10


# ---------------------------------------------------------------- command lines of vLLM and SGLang


@pytest.fixture
def checkpoint(tiny_llama: Path) -> Checkpoint:
    return adapters.resolve(str(tiny_llama))


def test_vllm_is_started_without_a_prefix_cache_on_loopback(checkpoint: Checkpoint) -> None:
    options = LoadOptions(parallel=8, max_tokens=100, options={"block_size": 16, "quantization": "gptq"})
    words, variables = vllm.command(checkpoint, options, "bfloat16", "cpu")
    line = " ".join(words)
    for part in (
        f"--model {checkpoint.path}", "--host 127.0.0.1 --port {port}", "--dtype bfloat16", "--max-num-seqs 8",
        "--no-enable-prefix-caching", "--enable-prompt-tokens-details", "--generation-config vllm",
        "--max-model-len 300", "--enforce-eager",
    ):  # fmt: skip
        assert part in line
    assert variables["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    on_gpu, of_gpu = vllm.command(checkpoint, options, "bfloat16", "gpu")
    assert "--enforce-eager" not in on_gpu
    assert of_gpu == {"VLLM_MAX_STOP_STRINGS": "64"}, "by itself it takes four"


def test_what_the_user_sets_takes_the_place_of_what_the_run_would(checkpoint: Checkpoint) -> None:
    options = LoadOptions(parallel=8, options={"max_num_seqs": 2, "enable_prefix_caching": True, "start_s": 5})
    words, _ = vllm.command(checkpoint, options, "float32", "gpu")
    assert "--max-num-seqs" not in words
    assert "--no-enable-prefix-caching" not in words
    from passkwh.adapters.engines.served_folder import flags

    assert flags(options.options) == ["--max-num-seqs", "2", "--enable-prefix-caching"]


def test_sglang_is_started_without_its_radix_cache(checkpoint: Checkpoint) -> None:
    words, _ = sglang.command(checkpoint, LoadOptions(parallel=4), "float16", "gpu")
    line = " ".join(words)
    for part in ("--disable-radix-cache", "--max-running-requests 4", "--sampling-defaults openai", "--api-key {key}"):
        assert part in line


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_an_engine_that_is_not_installed_names_the_command(
    engine: str, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PASSKWH_CACHE", str(tmp_path))
    monkeypatch.delenv(f"PASSKWH_{engine.upper()}_PYTHON", raising=False)
    with pytest.raises(UsageError, match=f"bench setup {engine}"):
        adapters.choose(checkpoint, engine)
    monkeypatch.setenv(f"PASSKWH_{engine.upper()}_PYTHON", sys.executable)
    with pytest.raises(UsageError, match="is not installed there"):
        adapters.choose(checkpoint, engine)


def test_options_that_the_run_sets_are_refused() -> None:
    with pytest.raises(UsageError, match="takes a free port"):
        vllm.ENGINE.check_options({"port": 80})
    with pytest.raises(UsageError, match="names the model"):
        sglang.ENGINE.check_options({"model_path": "x"})


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_or_left_running_by_kills_at_random(spec: Spec, tmp_path: Path) -> None:
    arguments = [
        "--model", spec.model, "--engine-option", "n_threads=1", "--benchmark", "humaneval",
        "--data", str(spec.benchmark_options["data"]), "--samples", "40", "--temperature", "1",
        "--max-new-tokens", "48", "--concurrency", "4", "--meter", "simulated", "--idle-s", "0.1",
    ]  # fmt: skip
    counted = survive(arguments, tmp_path, KILLS, seed=0)
    assert counted == {"kills": KILLS, "samples": 6 * 40, "lost": 0, "doubled": 0, "orphans": 0, "wrong_energies": 0}
