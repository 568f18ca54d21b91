"""Kills of runs, sweeps, quantizing, serving and board builds: `python -m perf.kills [--run 40] [--sweep 15] ...`.

What is killed is called again until it ends; then what was stored before a kill must be there, once. Runs of the toy
model, the quantizing of a tiny checkpoint and the building of a board are killed at random calls that change a file
(write, fsync, rename, unlink, truncate); a study of toy runs at random moments, its driver or the run's process; a
server of the tiny checkpoint while it is asked; with --engine also a run with four requests in flight, or its llama.cpp
server. All of them are the real programs. Needs a C compiler and Linux. Prints one JSON line last, with what was lost
(missing or changed) and what stands twice.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil

from passkwh.harness.runs.folder import RunFolder
from perf import synthetic
from tests.adapters.conftest import save
from tests.mishaps.conftest import Attempts, compiled
from tests.sweep.kills import survive

MODULES = ("torch", "transformers", "safetensors.torch", "uvicorn", "passkwh.serve.service")
TOY = Path(__file__).resolve().parents[1] / "examples" / "plugin"
PROMPTS = ("def f(x):", "class A:", "import os", "x = 1")
START_S = 120.0
"""For which a server is waited for."""


def _stored(out: Path) -> dict[str, str]:
    return {s.key: s.text for path in out.glob("*/manifest.json") for s in RunFolder.open(path.parent).samples()}


def runs(attempts: Attempts, kills: int, chance: random.Random) -> dict[str, int]:
    """Kill runs, each until it is complete."""
    killed = lost = doubled = complete = 0
    while killed < kills:
        out = attempts.folder / f"run-{complete}"
        command = [
            "run", "--model", "toy:2", "--benchmark", "toy-sums", "--samples", 3, "--batch-size", 2, "--out", out,
            "--idle-s", 0.05, "--meter", "simulated", "--json", "--resume",
        ]  # fmt: skip
        kept: dict[str, str] = {}
        while True:
            fault = ["any", str(out), chance.randint(1, 60), 0] if killed < kills else ["none", "none", 1, 0]
            ended = attempts(*command, fault=fault)
            now = _stored(out)
            lost += sum(now.get(key) != text for key, text in kept.items())
            kept = now
            killed += ended["code"] == -signal.SIGKILL
            if list(out.glob("*/summary.json")):  # complete, even where it was killed while it cleared up
                break
            if ended["code"] not in (0, -signal.SIGKILL):
                raise SystemExit(f"a run ended by itself: {ended['err']}")
        (path,) = out.iterdir()
        lines = (path / "samples.jsonl").read_bytes().splitlines()
        lost += 12 - len(kept)
        doubled += len(lines) - len(kept)
        complete += 1
    return {"kills": killed, "complete": complete, "lost": lost, "doubled": doubled}


def boards(attempts: Attempts, kills: int, chance: random.Random) -> dict[str, int]:
    """Kill the building of a board; what a build then makes must be what an undisturbed one makes."""
    packs = attempts.folder / "packs"
    made = synthetic.write_runs(attempts.folder / "good", synthetic.THESIS[:3], tasks=4)
    ended = attempts("leaderboard", "pack", *made, "--out", packs, "--json")
    if ended["code"] != 0:
        raise SystemExit(f"no packs: {ended['err']}")
    site = attempts.folder / "site"
    killed = built = 0
    while killed < kills:
        ended = attempts(
            "leaderboard", "build", packs, "--out", site, fault=["any", str(site), chance.randint(1, 40), 0]
        )
        killed += ended["code"] == -signal.SIGKILL
        built += ended["code"] == 0
        if ended["code"] not in (0, -signal.SIGKILL):
            raise SystemExit(f"a build ended by itself: {ended['err']}")
    attempts("leaderboard", "build", packs, "--out", site)
    fresh = attempts.folder / "fresh"
    attempts("leaderboard", "build", packs, "--out", fresh)
    here, there = (
        {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        for folder in (site, fresh)
    )
    lost = sum(here.get(name) != content for name, content in there.items())
    return {"kills": killed, "built": built, "lost": lost, "doubled": len(here.keys() - there.keys())}


def quantizing(attempts: Attempts, model: Path, kills: int, chance: random.Random) -> dict[str, int]:
    """Kill ``bench quantize``; it must then make the checkpoint that it makes undisturbed, and leave no draft."""

    def quantize(cache: Path, **luck: Any) -> dict[str, Any]:
        command = ("quantize", model, "--meter", "simulated", "--json")
        return attempts(*command, environment={"PASSKWH_CACHE": str(cache)}, **luck)

    def made(cache: Path) -> str:
        return str(json.loads(quantize(cache)["out"].splitlines()[-1])["revision"])

    right = made(attempts.folder / "cache")
    killed = complete = lost = doubled = 0
    while killed < kills:
        cache = attempts.folder / f"cache-{complete}"
        while killed < kills:
            ended = quantize(cache, fault=["any", str(cache), chance.randint(1, 12), 0])
            killed += ended["code"] == -signal.SIGKILL
            if ended["code"] == 0:
                break
            if ended["code"] != -signal.SIGKILL:
                raise SystemExit(f"quantizing ended by itself: {ended['err']}")
        lost += made(cache) != right
        doubled += len(list((cache / "quantized").iterdir())) - 1
        complete += 1
    return {"kills": killed, "complete": complete, "lost": lost, "doubled": doubled}


def serving(attempts: Attempts, model: Path, kills: int, chance: random.Random) -> dict[str, int]:
    """Kill ``bench serve`` while it is asked; the next one takes its port and answers what it would have answered."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    right: dict[str, str] = {}
    killed = answers = lost = doubled = 0
    with httpx.Client(timeout=60) as http:
        while killed < kills:
            command = ("serve", "--model", model, "--port", port, "--idle-s", 0, "--meter", "simulated", "--json")
            server = threading.Thread(target=attempts, args=command)
            server.start()
            _wait_for(http, url)
            texts = [_ask(http, url, prompt) for prompt in PROMPTS]  # of a server after a kill, from the second on
            for prompt, text in zip(PROMPTS, texts, strict=True):
                lost += text is None or right.setdefault(prompt, text) != text
            with ThreadPoolExecutor(len(PROMPTS)) as clients:
                asked = [clients.submit(_ask, http, url, prompt, right) for prompt in PROMPTS]
                time.sleep(chance.uniform(0.0, 1.0))
                (victim,) = psutil.Process(attempts.pid).children()
                family = [victim, *victim.children(recursive=True)]
                victim.kill()
            server.join()
            during = [answer.result() for answer in asked]
            killed += 1
            answers += sum(text is not None for text in during)
            lost += sum(text == "" for text in during)
            doubled += sum(process.is_running() and process.status() != "zombie" for process in family[1:])
    return {"kills": killed, "answers_before_a_kill": answers, "lost": lost, "doubled": doubled}


def _wait_for(http: httpx.Client, url: str) -> None:
    end_s = time.monotonic() + START_S
    while True:
        try:
            http.get(f"{url}/health").raise_for_status()
            return
        except httpx.HTTPError:
            if time.monotonic() > end_s:
                raise
            time.sleep(0.05)


def _ask(http: httpx.Client, url: str, prompt: str, right: dict[str, str] | None = None) -> str | None:
    """The completion; None where the server is gone, empty where it is another one than ``right`` has."""
    body = {"model": "tiny", "prompt": prompt, "temperature": 0, "max_tokens": 24}
    try:
        answer = http.post(f"{url}/v1/completions", json=body)
    except httpx.HTTPError:
        return None
    (choice,) = answer.json()["choices"]
    return str(choice["text"]) if right is None or right[prompt] == choice["text"] else ""


def sweeps(root: Path, kills: int, seed: int) -> dict[str, Any]:
    """Kill a study of toy runs, and its runs; ``survive`` raises where anything is lost or stands twice."""
    plugin = root / "plugin"
    shutil.copytree(TOY / "src", plugin)
    about = plugin / "passkwh_toy-0.1.0.dist-info"  # as an installer would write it
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: passkwh-toy\nVersion: 0.1.0\n")
    (about / "entry_points.txt").write_text(
        "[passkwh.engines]\ntoy = passkwh_toy.engine:ENGINE\n"
        "[passkwh.benchmarks]\ntoy-sums = passkwh_toy.benchmark:ToySums\n"
    )
    os.environ["PYTHONPATH"] = os.pathsep.join([str(plugin), *filter(None, [os.environ.get("PYTHONPATH")])])
    study = root / "study.toml"
    study.write_text(
        'name = "killed"\nrepeats = 3\nretries = 9\n[defaults]\nmodel = "toy:2"\nbenchmark = "toy-sums"\n'
        'samples = 8\nbatch_size = 2\nmeter = "simulated"\nidle_s = 0.1\n[matrix]\nseed = [1]\n'
    )
    killed, survived, studies = 0, [], 0
    while killed < kills:
        survived.append(survive(str(study), root / f"studies-{studies}", kills - killed, 0.6, seed + studies))
        killed += sum(survived[-1]["kills"].values())
        studies += 1
    totals = {name: sum(one[name] for one in survived) for name in ("runs", "samples", "sessions")}
    return {"kills": killed, "studies": studies, **totals, "lost": 0, "doubled": 0}


def engines(root: Path, kills: int, seed: int) -> dict[str, int]:
    """Kill runs with four requests in flight, and their servers."""
    from tests.engines.kills import survive

    arguments = [
        "--model", "smollm2-135m-instruct", "--quant", "gguf-q4_1", "--engine-option", "n_threads=1",
        "--subset", "sample", "--concurrency", "4", "--max-new-tokens", "16", "--meter", "simulated", "--idle-s", "0.1",
    ]  # fmt: skip
    return survive(arguments, root / "engine", kills, seed)


def main() -> None:
    """Kill as asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, count in (("run", 40), ("sweep", 15), ("quantize", 15), ("serve", 15), ("board", 15), ("engine", 0)):
        parser.add_argument(f"--{name}", type=int, default=count)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    chance = random.Random(asked.seed)
    root = Path(tempfile.mkdtemp())
    model = save(root / "tiny", "llama", adds_begin=True)
    attempts = Attempts(compiled(root), root, *MODULES)
    result: dict[str, Any] = {}
    for name, part in (
        ("run", lambda: runs(attempts, asked.run, chance)),
        ("board", lambda: boards(attempts, asked.board, chance)),
        ("quantize", lambda: quantizing(attempts, model, asked.quantize, chance)),
        ("serve", lambda: serving(attempts, model, asked.serve, chance)),
        ("sweep", lambda: sweeps(root, asked.sweep, asked.seed)),
        ("engine", lambda: engines(root, asked.engine, asked.seed)),
    ):
        if getattr(asked, name):
            result[name] = part()
            print(json.dumps({name: result[name]}), flush=True)
    attempts.close()
    shutil.rmtree(root)
    print(
        json.dumps({**result, **{n: sum(r.get(n, 0) for r in result.values()) for n in ("kills", "lost", "doubled")}})
    )


if __name__ == "__main__":
    main()
