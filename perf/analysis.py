"""How long statistics take: `python perf/analysis.py`. Prints one JSON line last.

Two jobs, each in a process of its own so that its peak memory is its own: loading 100 runs of 1,140 tasks, and the
whole analysis of 25 configurations x 1,140 tasks x 3 repeats with 10,000 resamples by batch (of 16). Runs are
synthetic folders written to a temporary place with texts of a realistic length; writing them is not timed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from passkwh.records import Sample
from passkwh.stored import seal

TASKS = 1140
LIBRARIES = ("scipy.stats", "statsmodels.regression.linear_model", "scikit_posthocs")
TEXT = "    # " + "x" * 74 + "\n"


def write_run(folder: Path, model: str, repeat: int, seed: int, difficulty: np.ndarray, ability: float,
              batch_size: int) -> None:  # fmt: skip
    """A synthetic complete run: energies are log-normal around a task effect, verdicts depend on task and model."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    tasks = len(difficulty)
    passed = rng.random(tasks) < 1 / (1 + np.exp(-(ability - difficulty)))
    tokens = rng.integers(80, 600, tasks)
    joules = np.exp(4.0 + 0.4 * ability + 0.3 * difficulty + 0.002 * tokens + rng.normal(0, 0.2, tasks))
    channels = ["gpu:GPU-0", "cpu:0", "dram:0"]
    lines, clock = [], 0
    for i in range(tasks):
        span = int(joules[i] / 250 * 1e9)
        window = {
            "kind": "generate",
            "session": 0,
            "start_ns": clock,
            "end_ns": clock + span,
            "batch_id": i // batch_size,
        }
        share = {c: {"gross_j": joules[i] * f, "net_j": joules[i] * f * 0.7, "se_j": 0.5, "reason": None}
                 for c, f in zip(channels, (0.8, 0.15, 0.05), strict=True)}  # fmt: skip
        scoring = {c: {"gross_j": 2.0, "net_j": 1.0, "se_j": 0.1, "reason": None} for c in channels}
        lines.append(Sample.model_validate({
            "schema_version": 1, "key": f"{seed:08x}{i:024x}", "task_id": f"BigCodeBench/{i}", "sample_index": 0,
            "order": i, "batch_id": i // batch_size, 
            "batch_size": min(batch_size, tasks - i // batch_size * batch_size), "seed": i, "prompt_tokens": 150,
            "completion_tokens": int(tokens[i]), "text": TEXT * (int(tokens[i]) // 25), "finish_reason": "stop",
            "latency_s": span / 1e9, "ttft_s": 0.05, "generation": window, "generation_energy": share,
            "evaluation": {**window, "kind": "score"}, "evaluation_cpu_s": 1.0, "evaluation_energy": scoring,
            "verdict": {"status": "pass" if passed[i] else "fail", "detail": ""}, "scores": {},
        }).model_dump_json())  # fmt: skip
        clock += span
    (folder / "samples.jsonl").write_bytes(b"".join(seal(line) + b"\n" for line in lines))
    infos = [{"name": c, "provenance": "simulated", "source": "perf", "quantity": "energy_j"} for c in channels]
    (folder / "manifest.json").write_text(json.dumps({
        "run_id": folder.name, "status": "complete",
        "spec": {"model": model, "repeat": repeat, "max_new_tokens": 512, "batch_size": batch_size},
        "model": {"name": model, "adapter": "instruct", "chat": True, "checkpoint": model, "revision": "0" * 40,
                  "dtype": "bfloat16", "device": "cuda:0", "parameters": 10**9},
        "benchmark": {"name": "bigcodebench", "version": "0.1.0", "source": "perf", "sha256": "0", "tasks": tasks},
        "host": {"os": "Linux", "kernel": "6", "python": "3.11", "cpu": "x", "cores": 2, "memory_bytes": 1},
        "meter": {"name": "simulated", "interval_s": 0.02, "channels": infos}, "versions": {"torch": "2.11"},
    }))  # fmt: skip
    idle = {"channel": "gpu:GPU-0", "mean_w": 80.0, "se_w": 0.1, "duration_s": 10.0}
    energy = {"gross_j": float(joules.sum()), "net_j": float(joules.sum()) * 0.7, "se_j": 20.0}
    (folder / "summary.json").write_text(json.dumps({
        "run_id": folder.name, "model": model, "adapter": "instruct", "quant": "none", "benchmark": "bigcodebench",
        "tasks": tasks, "samples": tasks, "solved": float(passed.sum()), "pass_at_k": {"1": float(passed.mean())},
        "gross_energy_j": energy["gross_j"], "net_energy_j": energy["net_j"], "energy_kwh": energy["gross_j"] / 3.6e6,
        "generation_energy_j": energy["gross_j"], "evaluation_energy_j": 0.0, "pass_at_kwh": 1.0,
        "solved_per_kwh": 1.0, "generation_s": clock / 1e9, "evaluation_s": 1.0, "prompt_tokens": 150 * tasks,
        "completion_tokens": int(tokens.sum()), "tokens_per_s": 1.0, "joules_per_token": 1.0,
        "provenance": "simulated",
        "channels": [{"channel": c, "provenance": "simulated", "counted": True, "generation": energy,
                      "evaluation": energy, "idle_before": {**idle, "channel": c},
                      "idle_after": {**idle, "channel": c}} for c in channels],
    }))  # fmt: skip


def write_runs(root: Path, configurations: int, repeats: int, batch_size: int = 1) -> None:
    """``configurations`` x ``repeats`` runs of all tasks."""
    difficulty = np.random.default_rng(0).normal(0.5, 1.2, TASKS)
    for c in range(configurations):
        for r in range(repeats):
            write_run(root / f"m{c:03d}-r{r}", f"family/model-{c:03d}", r, c * 100 + r, difficulty, c / configurations,
                      batch_size)  # fmt: skip


def load_job(root: Path, _resamples: int) -> dict[str, float]:
    """Seconds to load every run under ``root``."""
    from passkwh.analysis.frames import load

    start = time.perf_counter()
    frames = load([root])
    return {"load_s": time.perf_counter() - start, "runs": len(frames.runs), "samples": len(frames.samples)}


def analyse_job(root: Path, resamples: int) -> dict[str, float]:
    """Seconds for the whole analysis; loading runs and importing the statistics' libraries are stated apart."""
    from passkwh.analysis.frames import load
    from passkwh.analysis.overview import AnalysisSettings, analyse
    from passkwh.analysis.pooling import compare

    begin = time.perf_counter()
    for library in LIBRARIES:
        importlib.import_module(library)
    start = time.perf_counter()
    frames = load([root])
    loaded = time.perf_counter()
    result = analyse(compare(frames), AnalysisSettings(resamples=resamples))
    done = time.perf_counter()
    return {
        "import_s": start - begin,
        "load_s": loaded - start,
        "analyse_s": done - loaded,
        "configurations": len(result.configurations),
        "pairs": len(result.pairs),
    }


def _in_a_process(job: str, root: Path, resamples: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--job", job, "--root", str(root), "--resamples", str(resamples)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Write runs, time both jobs, print figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--job", choices=["load", "analyse"])
    parser.add_argument("--root", type=Path)
    parser.add_argument("--resamples", type=int, default=10_000)
    asked = parser.parse_args()
    if asked.job:
        result = (load_job if asked.job == "load" else analyse_job)(asked.root, asked.resamples)
        result["process_cpu_s"] = time.process_time()
        result["peak_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps(result))
        return
    with tempfile.TemporaryDirectory() as place:
        many, repeated = Path(place, "load"), Path(place, "analyse")
        many.mkdir()
        repeated.mkdir()
        write_runs(many, 100, 1)
        write_runs(repeated, 25, 3, batch_size=16)
        load = _in_a_process("load", many, asked.resamples)
        analysis = _in_a_process("analyse", repeated, asked.resamples)
    within = load["load_s"] <= 3 and analysis["analyse_s"] <= 15 and analysis["peak_gib"] <= 1
    print(json.dumps({"load_100_runs": load, "analyse_25x1140x3_by_batch": analysis, "within_targets": within}))


if __name__ == "__main__":
    main()
