"""What the recorder costs: CPU of its thread at 20 ms with two GPUs, and its effect on generation.

    python perf/recorder_cost.py [--seconds 20] [--rounds 100] [--no-generation]

The GPUs are fake (tests/meter/fake_nvml.c), the bindings, Zeus and our channels are real; the fake driver answers
faster than a real one, so on a real GPU the driver's own time comes on top (``bench doctor --meter`` shows it). The
second part generates with SmolLM2-135M on this CPU, with and without the recorder by turns: each generation with it is
compared with the ones right before and after.
The last line of stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
INTERVAL_S = 0.02
TOKENS = 24
ALLOWED_CPU = 0.01
ALLOWED_SLOWDOWN = 0.005


def thread_cost(meter: str, seconds: float) -> dict[str, float]:
    """CPU share of one core of the recorder's thread, and how many rounds it read."""
    from passkwh.harness.meter import Recorder, open_meter

    channels = open_meter(meter)
    recorder = Recorder(channels, lambda table: None, session=0, interval_s=INTERVAL_S)
    recorder.start()
    thread = recorder._thread
    assert thread is not None
    assert thread.ident is not None
    clock = time.pthread_getcpuclockid(thread.ident)
    start_ns, start_cpu_ns = time.monotonic_ns(), time.clock_gettime_ns(clock)
    time.sleep(seconds)
    used_ns, wall_ns = time.clock_gettime_ns(clock) - start_cpu_ns, time.monotonic_ns() - start_ns
    recorder.stop()
    return {
        "channels": len(channels),
        "core_share": used_ns / wall_ns,
        "us_per_round": used_ns / wall_ns * INTERVAL_S * 1e6,
        "waking_share": waking_cost(seconds / 2),
    }


def waking_cost(seconds: float) -> float:
    """CPU share of a thread that only sleeps as often: what any recorder must cost on this machine."""
    done = threading.Event()

    def sleep() -> None:
        while not done.is_set():
            time.sleep(INTERVAL_S)

    thread = threading.Thread(target=sleep)
    thread.start()
    assert thread.ident is not None
    clock = time.pthread_getcpuclockid(thread.ident)
    start_ns, start_cpu_ns = time.monotonic_ns(), time.clock_gettime_ns(clock)
    time.sleep(seconds)
    share = (time.clock_gettime_ns(clock) - start_cpu_ns) / (time.monotonic_ns() - start_ns)
    done.set()
    thread.join()
    return share


def with_two_gpus(seconds: float) -> dict[str, float]:
    """The same in a process that sees two fake GPUs."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise SystemExit("error: a C compiler is needed to build the fake driver")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "libnvidia-ml.so.1"
        source = ROOT / "tests" / "meter" / "fake_nvml.c"
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source)], check=True)
        (Path(folder) / "gpus.txt").write_text("0 period_ms 100\n1 period_ms 20\n", encoding="utf-8")
        environment = os.environ | {"LD_LIBRARY_PATH": folder, "FAKE_NVML": str(Path(folder) / "gpus.txt")}
        environment.pop("CUDA_VISIBLE_DEVICES", None)
        command = [sys.executable, __file__, "--only-meter", "nvidia", "--seconds", str(seconds)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def generation(rounds: int) -> dict[str, float]:
    """Time of a generation with the recorder over the mean of those without right before and after it."""
    import torch

    from passkwh import adapters
    from passkwh.harness.meter import Recorder, open_meter
    from passkwh.harness.plan import plan
    from passkwh.records import Spec

    with tempfile.TemporaryDirectory() as out:
        planned = plan(Spec(model="smollm2-135m-instruct", limit=1, max_new_tokens=64, meter="estimate"), Path(out))
        loaded = adapters.load(adapters.prepare(planned.checkpoint))
    model, tokenizer = loaded._model, loaded._tokenizer  # type: ignore[attr-defined]
    inputs = tokenizer(["def fibonacci(n):"], return_tensors="pt")

    def generate() -> float:
        start_s = time.perf_counter()
        with torch.inference_mode():
            model.generate(**inputs, max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=False)
        return time.perf_counter() - start_s

    def recorded() -> float:
        with Recorder(open_meter("estimate"), lambda table: None, session=0, interval_s=INTERVAL_S) as recorder:
            recorder.mark()
            duration_s = generate()
            recorder.mark()
        return duration_s

    generate()
    ratios, before_s = [], generate()
    for _ in range(rounds):
        with_s, after_s = recorded(), generate()
        ratios.append(2 * with_s / (before_s + after_s))
        before_s = after_s
    ratios.sort()
    # The 95 % interval of a median, from the order of the values alone (binomial, by its normal approximation).
    reach = 0.98 * rounds**0.5
    low, high = (ratios[min(max(round(rounds / 2 + sign * reach), 0), rounds - 1)] for sign in (-1, 1))
    return {"rounds": rounds, "median_ratio": statistics.median(ratios), "low": low, "high": high}


def main() -> None:
    """Print what was found, and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--no-generation", action="store_true")
    parser.add_argument("--only-meter", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only_meter:
        print(json.dumps(thread_cost(options.only_meter, options.seconds)))
        return
    result: dict[str, object] = {"interval_s": INTERVAL_S}
    for name, found in (
        ("two fake GPUs", with_two_gpus(options.seconds)),
        ("estimate", thread_cost("estimate", options.seconds)),
    ):
        print(
            f"{name}: {found['core_share']:.2%} of one core, {found['us_per_round']:.0f} µs a round "
            f"(of which waking up {found['waking_share']:.2%}; allowed {ALLOWED_CPU:.0%})"
        )
        result[name] = found
    if not options.no_generation:
        found = generation(options.rounds)
        print(
            f"generation with the recorder over without: median {found['median_ratio']:.4f} "
            f"[{found['low']:.4f}, {found['high']:.4f}] of {options.rounds} (allowed {1 + ALLOWED_SLOWDOWN})"
        )
        result["generation"] = found
    print(json.dumps(result))


if __name__ == "__main__":
    main()
