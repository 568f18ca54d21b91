"""Kills at any call that changes a file: `python -m perf.kills [--run 60] [--board 20] [--engine 20]`.

A run of the toy model, and the building of a board, are killed at random calls (write, fsync, rename, unlink, truncate)
and called again until they end; with --sweep and --quantize also a study and the quantizing of a model, and with
--engine a run with four requests in flight or its llama.cpp server, at random moments. Counts what was lost, stands
twice, was left running or has wrong energies. Needs a C compiler and Linux. Prints one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from passkwh.harness.runs.folder import RunFolder
from perf import synthetic
from tests.mishaps.conftest import Attempts, compiled

BENCH = [sys.executable, "-m", "passkwh.cli.main"]


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
            if ended["code"] == 0:
                break
            killed += 1
        (path,) = out.iterdir()
        lines = (path / "samples.jsonl").read_bytes().splitlines()
        lost += 12 - len(kept)
        doubled += len(lines) - len(kept)
        complete += 1
    return {"kills": killed, "complete": complete, "lost": lost, "doubled": doubled}


def boards(attempts: Attempts, kills: int, chance: random.Random) -> dict[str, int]:
    """Kill the building of a board; what a build then makes must be what an undisturbed one makes."""
    packs = attempts.folder / "packs"
    made = synthetic.write_runs(attempts.folder / "good", synthetic.THESIS[:3], tasks=4, shorter=100.0, interval_s=0.5)
    attempts("leaderboard", "pack", *made, "--out", packs, "--json")
    site = attempts.folder / "site"
    killed = built = 0
    while killed < kills:
        ended = attempts(
            "leaderboard", "build", packs, "--out", site, fault=["any", str(site), chance.randint(1, 40), 0]
        )
        killed += ended["code"] != 0
        built += ended["code"] == 0
    attempts("leaderboard", "build", packs, "--out", site)
    fresh = attempts.folder / "fresh"
    attempts("leaderboard", "build", packs, "--out", fresh)
    names = [{str(file.relative_to(folder)) for file in folder.rglob("*")} for folder in (site, fresh)]
    return {"kills": killed, "built": built, "lost": len(names[1] - names[0]), "left_over": len(names[0] - names[1])}


def quantizing(model: Path, root: Path, kills: int, chance: random.Random) -> dict[str, int]:
    """Kill ``bench quantize``; it must then make the checkpoint that it makes undisturbed."""
    revisions = set()
    for number in range(kills):
        environment = os.environ | {"PASSKWH_CACHE": str(root / f"cache-{number}")}
        command = [*BENCH, "quantize", str(model), "--meter", "simulated", "--json"]
        victim = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(3.0, 20.0))
        victim.kill()
        victim.wait()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        revisions.add(json.loads(done.stdout.splitlines()[-1])["revision"])
    return {"kills": kills, "different_results": len(revisions) - 1 if revisions else 0}


def sweeps(model: Path, root: Path, kills: int, seed: int) -> dict[str, Any]:
    """Kill a study and its runs."""
    from tests.sweep.kills import survive

    study = root / "study.toml"
    study.write_text(
        f'[study]\nname = "killed"\nrepeats = 3\nretries = 9\n[[configuration]]\nmodel = "{model}"\n'
        'benchmark = "bigcodebench"\nbenchmark_options = {subset = "sample"}\nlimit = 4\nmax_new_tokens = 24\n'
        'meter = "simulated"\nidle_s = 0.1\n'
    )
    return survive(str(study), root / "studies", kills, 3.0, seed)


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
    for name, count in (("run", 60), ("board", 20), ("sweep", 0), ("quantize", 0), ("engine", 0)):
        parser.add_argument(f"--{name}", type=int, default=count)
    parser.add_argument("--model", type=Path, help="a tiny checkpoint, for --sweep and --quantize")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    chance = random.Random(asked.seed)
    root = Path(tempfile.mkdtemp())
    attempts = Attempts(compiled(root), root)
    result: dict[str, Any] = {"run": runs(attempts, asked.run, chance), "board": boards(attempts, asked.board, chance)}
    attempts.close()
    if asked.engine:
        result["engine"] = engines(root, asked.engine, asked.seed)
    if asked.quantize:
        result["quantize"] = quantizing(asked.model, root, asked.quantize, chance)
    if asked.sweep:
        result["sweep"] = sweeps(asked.model, root, asked.sweep, asked.seed)
    shutil.rmtree(root)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
