"""How fast are verdicts? This evaluator against bigcodebench 0.2.5's `untrusted_check`, and what the sandbox costs.

    bench setup bigcodebench && bench verify bigcodebench --data FILE
    python perf/evaluator.py --data FILE [--part groundtruth|awake|models] [--every N] [--samples 150] [--workers 2]
    python perf/evaluator.py --part sandbox|looks

groundtruth: reference solutions (every N-th task). models: programs as models write them, made from the reference
solutions with a fixed seed: right, wrong, cut off, endless, leaving by `os._exit`, importing heavy libraries. Both
evaluators get the same programs, the same number of workers and run one after the other in the same session; the
official one runs in the benchmark's environment, with its source unpacked into a temporary folder. awake: this
evaluator alone on reference solutions that compute all the time: how much longer than their CPU time over the workers.
sandbox: programs that do nothing, one at a time, from fork to the last trace of them gone. looks: CPU time of a pass
that is looked at once, again with its test in another process, and again in place: the reference solutions of the
embedded tasks, all processes included and the start of the evaluator left out, by turns.

The official evaluator waits 241 s and more for each endless program. The last line of stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from passkwh.benchmarks.base import Program
from passkwh.benchmarks.bigcodebench import environment, tasks
from passkwh.benchmarks.bigcodebench.benchmark import BigCodeBench
from passkwh.benchmarks.sandbox import Job, evaluate

OFFICIAL = """
import json, sys
from concurrent.futures import ProcessPoolExecutor
sys.path.insert(0, sys.argv[1])
from bigcodebench.eval import untrusted_check

def check(program):
    key, code, test, seconds = program
    status, _ = untrusted_check(code, test, "task_func", 30 * 1024, 30 * 1024, 10, 1, seconds or 20)
    return key, status

if __name__ == "__main__":
    asked = json.load(sys.stdin)
    with ProcessPoolExecutor(max_workers=asked["workers"]) as pool:
        verdicts = dict(pool.map(check, asked["programs"]))
    with open(sys.argv[2], "w") as out:
        json.dump(verdicts, out)
"""
MIX = {"right": 0.25, "wrong": 0.40, "cut off": 0.20, "heavy": 0.08, "endless": 0.04, "leaves": 0.03}
IDLE_S = 0.5
"""A reference that was off the CPU for longer slept."""
HEAVY = "import sklearn.ensemble, scipy.stats, matplotlib.pyplot, pandas, seaborn, nltk, statsmodels.api\n"


def model_like(benchmark: BigCodeBench, count: int, seed: int) -> list[tuple[str, str, str]]:
    """(key, task_id, program) of ``count`` programs in the proportions of ``MIX``."""
    rng = random.Random(seed)
    tasks = rng.sample([task.task_id for task in benchmark.tasks], count)
    kinds = [kind for kind, share in MIX.items() for _ in range(round(share * count))]
    kinds = (kinds + ["wrong"] * count)[:count]
    programs = []
    for task_id, kind in zip(tasks, kinds, strict=True):
        problem = benchmark.by_id[task_id]
        head, reference = problem.complete_prompt, problem.reference
        program = {
            "right": reference,
            "wrong": head + "\n    return None",
            "cut off": reference.rstrip()[: -len(problem.canonical_solution) // 3].rstrip() + " = (",
            "heavy": HEAVY + head + "\n    return None",
            "endless": head + "\n    while True:\n        pass",
            "leaves": "import os\n" + head + "\n    os._exit(0)",
        }[kind]
        programs.append((f"{kind} {task_id}", task_id, program))
    rng.shuffle(programs)
    return programs


def run_ours(benchmark: BigCodeBench, programs: list[tuple[str, str, str]]) -> dict[str, Any]:
    """Verdicts, wall time and CPU time of everything that ran for them."""
    before, began = _cpu_s(), time.monotonic()
    scores = list(
        benchmark.score_programs([(key, task_id, Program(code)) for key, task_id, code in programs], anew=True)
    )
    wall_s = time.monotonic() - began
    verdicts = {score.key: score.verdict.status for score in scores if score.verdict}
    judged_cpu_s = sum(score.cpu_s or 0 for score in scores)
    return {"verdicts": verdicts, "wall_s": wall_s, "cpu_s": _cpu_s() - before, "judged_cpu_s": judged_cpu_s}


def run_official(benchmark: BigCodeBench, programs: list[tuple[str, str, str]], workers: int) -> dict[str, Any]:
    """The same by `untrusted_check`, calibrated as `bigcodebench.evaluate` calibrates."""
    interpreter = environment.built()
    assert interpreter is not None
    asked = []
    for key, task_id, program in programs:
        problem, reference = benchmark.by_id[task_id], benchmark.known_reference(task_id)
        code = problem.code_prompt + "\n    pass\n" + program
        asked.append([key, code, problem.test, reference.seconds if reference else None])
    with tempfile.TemporaryDirectory() as folder:
        install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder, "bigcodebench==0.2.5"]
        subprocess.run(install, check=True, capture_output=True)
        before, began = _cpu_s(), time.monotonic()
        script, out, asked_file = Path(folder) / "official.py", Path(folder) / "out.json", Path(folder) / "asked.json"
        script.write_text(OFFICIAL)
        asked_file.write_text(json.dumps({"workers": workers, "programs": asked}))
        with asked_file.open() as stdin:
            process = subprocess.Popen(
                [str(interpreter.python), str(script), folder, str(out)], stdin=stdin, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, cwd=folder, env={**os.environ, "HOME": folder}, start_new_session=True,
            )  # fmt: skip
            process.wait()
        wall_s = time.monotonic() - began
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # programs that left by os._exit leave the official helpers behind
        verdicts = json.loads(out.read_text())
    return {"verdicts": verdicts, "wall_s": wall_s, "cpu_s": _cpu_s() - before}


def sandbox_cost(count: int) -> dict[str, float]:
    """Milliseconds of a judged program that does nothing, from fork to the last trace of it gone, one at a time."""
    jobs = [Job(str(index), "", "", "script", 10.0) for index in range(count)]
    began = time.monotonic()
    outcomes = list(evaluate(jobs, workers=1))
    wall_ms = sorted((outcome.end_ns - outcome.start_ns) / 1e6 for outcome in outcomes)
    cpu_ms = sorted(outcome.cpu_s * 1e3 for outcome in outcomes)
    return {
        "programs": count,
        "median_wall_ms": wall_ms[count // 2],
        "median_cpu_ms": cpu_ms[count // 2],
        "throughput_ms": (time.monotonic() - began) * 1e3 / count,
    }


def looks(repeats: int = 5) -> dict[str, Any]:
    """Milliseconds of CPU time a pass, by how often it is looked at: the median of so many turns."""
    embedded = [json.loads(line) for line in tasks.SAMPLE.read_text("utf-8").splitlines()]
    unusual, shared = "\nclass Unused:\n    pass\n", "\nfrom unittest import mock\n"
    kinds = {"once": ("", ""), "again, apart": (unusual, ""), "again, in place": (unusual, shared)}
    spent: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(repeats):
        for kind, (more, in_test) in kinds.items():
            jobs = [
                Job(f"{task['task_id']} {again}", task["complete_prompt"] + task["canonical_solution"] + more,
                    task["test"] + in_test, "unittest", 30.0)
                for again in range(2)
                for task in embedded
            ]  # fmt: skip
            before = _cpu_s()
            list(evaluate(jobs[:1], workers=1))
            started = _cpu_s()
            outcomes = list(evaluate(jobs, workers=1))
            spent[kind].append((_cpu_s() - started - (started - before)) / (len(jobs) - 1) * 1e3)
            if any(outcome.status != "pass" or outcome.suspect for outcome in outcomes):
                sys.exit("a reference solution is not trusted")
    medians = {kind: statistics.median(values) for kind, values in spent.items()}
    ratios = {kind: medians[kind] / medians["once"] for kind in medians}
    return {"programs": 2 * len(embedded), "turns": repeats, "cpu_ms": medians, "by_one_look": ratios}


def awake(benchmark: BigCodeBench, programs: list[tuple[str, str, str]], workers: int) -> dict[str, Any]:
    """Wall time over CPU time per worker, of programs whose references wait for nothing."""
    references = {key: benchmark.known_reference(task_id) for key, task_id, _ in programs}
    if not all(references.values()):
        sys.exit("which tasks sleep is not known yet: bench verify bigcodebench --data FILE")
    busy = {key for key, found in references.items() if found and found.seconds - found.cpu_s < IDLE_S}
    chosen = [program for program in programs if program[0] in busy]
    ours = run_ours(benchmark, chosen)
    return {
        "programs": len(chosen),
        "workers": workers,
        "wall_s": ours["wall_s"],
        "cpu_s": ours["cpu_s"],
        "wall_over_cpu_per_core": ours["wall_s"] / (ours["cpu_s"] / workers),
    }


def compare(benchmark: BigCodeBench, programs: list[tuple[str, str, str]], workers: int) -> dict[str, Any]:
    """Both evaluators on the same programs."""
    ours = run_ours(benchmark, programs)
    print(f"ours: {ours['wall_s']:.1f} s", file=sys.stderr, flush=True)
    official = run_official(benchmark, programs, workers)
    print(f"official: {official['wall_s']:.1f} s", file=sys.stderr, flush=True)
    differ = {
        key: [ours["verdicts"].get(key), status]
        for key, status in official["verdicts"].items()
        if (ours["verdicts"].get(key) == "pass") != (status == "pass")
    }
    return {
        "programs": len(programs),
        "workers": workers,
        "ours_wall_s": ours["wall_s"],
        "official_wall_s": official["wall_s"],
        "speedup": official["wall_s"] / ours["wall_s"],
        "ours_cpu_s": ours["cpu_s"],
        "official_cpu_s": official["cpu_s"],
        "wall_over_cpu_per_core": ours["wall_s"] / (ours["cpu_s"] / workers),
        "passes": sum(status == "pass" for status in ours["verdicts"].values()),
        "verdicts_that_differ": differ,
    }


def _cpu_s() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data")
    parser.add_argument("--part", choices=["groundtruth", "awake", "models", "sandbox", "looks"], default="groundtruth")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--samples", type=int, default=150)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    if asked.part == "sandbox":
        print(json.dumps(sandbox_cost(200)))
        return
    if asked.part == "looks":
        print(json.dumps(looks()))
        return
    if asked.data is None:
        parser.error("--data is needed for this part")
    if environment.built() is None:
        sys.exit("the benchmark's environment is not built: bench setup bigcodebench")
    benchmark = BigCodeBench({"data": asked.data, "workers": asked.workers})
    if asked.part == "models":
        programs = model_like(benchmark, asked.samples, asked.seed)
    else:
        ids = [task.task_id for task in benchmark.tasks][:: asked.every]
        programs = [(task_id, task_id, benchmark.by_id[task_id].reference) for task_id in ids]
    if asked.part == "awake":
        print(json.dumps(awake(benchmark, programs, asked.workers)))
        return
    print(json.dumps(compare(benchmark, programs, asked.workers)))


if __name__ == "__main__":
    main()
