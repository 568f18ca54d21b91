"""How wrong is the meter? Simulated devices, random windows, and two common ways of metering on the same traces.

    python perf/metering.py

Each device runs the same made-up load (idle, batches with a prefill peak, ripple) for 200 s and is polled every 20 ms.
Over 1,000 random windows of each length the error of three methods against the exact energy:

- ours: ``Trace.energy``
- difference: counter at the first reading after the end minus that after the start (what a begin/end window does)
- trapezoid: polled power (a 1 s average refreshed every 100 ms, as NVML's power usage is) integrated as it comes

and the share of windows whose stated 95 % interval holds the truth. A second table takes windows that begin where
the power steps, as generation windows do. The last line of stdout is one JSON object; nothing here is measured on
this machine's hardware.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace

# The banded systems are small: threads of the linear algebra would only get in each other's way.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import numpy.typing as npt
from laboratory import CHANNEL, EPOCH_NS, Experiment, clock_ns

from passkwh.harness.meter.simulated import Profile

Floats = npt.NDArray[np.float64]

DURATION_S = 200.0
WINDOWS = 1000
LENGTHS_S = (0.2, 1.0, 10.0)
NORMAL_95 = 1.959964

DEVICES = {
    "counter 20 ms, 1 mJ": Profile(period=0.02, jitter=0.004),
    "counter 50 ms, 1 mJ": Profile(period=0.05, jitter=0.01),
    "counter 100 ms, 1 mJ": Profile(period=0.1, jitter=0.02),
    "counter 100 ms, 1 mJ, regular": Profile(period=0.1, jitter=0.001),
    "counter 50 ms, 1 J": Profile(period=0.05, jitter=0.01, resolution=1.0),
    "RAPL 1 ms, 15.3 uJ, wraps at 1 kJ": Profile(period=0.001, jitter=0.0002, resolution=15.3e-6, wrap=1000.0),
    "power 20 ms": Profile(kind="power_w", period=0.02, jitter=0.002),
    "power 100 ms, 1 s average": Profile(kind="power_1s_w", period=0.1, jitter=0.01),
}
POWER_USAGE = Profile(kind="power_1s_w", period=0.1, jitter=0.01)


def load(seed: int) -> tuple[tuple[tuple[float, float], ...], Floats]:
    """A load curve (seconds, watts) that steps every 0.3 to 4 s and ripples by 3 %, and the times of its steps."""
    generator = np.random.default_rng(seed)
    points: list[tuple[float, float]] = []
    steps = []
    now_s, before_w = 0.0, 0.0
    while now_s < DURATION_S:
        length_s = generator.uniform(0.3, 4.0)
        power_w = float(generator.choice([60.0, 110.0, 180.0, 250.0, 300.0]) * generator.uniform(0.9, 1.1))
        count = max(2, int(length_s / 0.037))
        ripple = (0.03 if power_w > 80 else 0.01) * generator.standard_normal(count)
        points += zip(
            np.linspace(now_s, now_s + length_s, count).tolist(), (power_w * (1 + ripple)).tolist(), strict=True
        )
        if abs(power_w - before_w) > 30:
            steps.append(now_s)
        now_s, before_w = now_s + length_s, power_w
    return tuple(points), np.array(steps)


def difference_j(experiment: Experiment, start_s: float, end_s: float) -> float:
    """Counter readings at the window's ends subtracted."""
    time_s = (experiment.series.time_ns - EPOCH_NS) / 1e9
    start, end = int(np.searchsorted(time_s, start_s)), int(np.searchsorted(time_s, end_s))
    return float(experiment.series.value[end] - experiment.series.value[start])


def trapezoid_j(experiment: Experiment, start_s: float, end_s: float) -> float:
    """Polled power integrated as it comes."""
    time_s = (experiment.series.time_ns - EPOCH_NS) / 1e9
    inside = (time_s > start_s) & (time_s < end_s)
    at_s = np.r_[start_s, time_s[inside], end_s]
    power_w: Floats = np.asarray(np.interp(at_s, time_s, experiment.series.value), dtype=np.float64)
    return float(np.sum(np.diff(at_s) * (power_w[1:] + power_w[:-1]) / 2))


def errors(truth_j: Floats, found_j: Floats) -> dict[str, float]:
    """Error of one method in percent of each window's energy; bias as total over total."""
    relative = np.abs(found_j / truth_j - 1) * 100
    return {
        "bias_percent": float((found_j.sum() / truth_j.sum() - 1) * 100),
        "mean_percent": float(relative.mean()),
        "p95_percent": float(np.quantile(relative, 0.95)),
        "max_percent": float(relative.max()),
    }


def compare(experiment: Experiment, power: Experiment, starts_s: Floats, length_s: float) -> dict[str, object]:
    """All three methods on windows of one device."""
    is_counter = experiment.sensor.profile.kind == "energy_j"
    polled = power if is_counter else experiment
    truth, ours, se, difference, trapezoid = ([] for _ in range(5))
    for start_s in starts_s.tolist():
        end_s = start_s + length_s
        energy = experiment.trace.energy(CHANNEL, 0, clock_ns(start_s), clock_ns(end_s))
        if energy.gross_j is None or energy.se_j is None:
            raise RuntimeError(f"a window is missing: {energy.reason}")
        truth.append(experiment.truth_j(start_s, end_s))
        ours.append(energy.gross_j)
        se.append(energy.se_j)
        trapezoid.append(trapezoid_j(polled, start_s, end_s))
        if is_counter:
            difference.append(difference_j(experiment, start_s, end_s))
    true_j, ours_j = np.array(truth), np.array(ours)
    found: dict[str, object] = {
        "ours": errors(true_j, ours_j),
        "trapezoid": errors(true_j, np.array(trapezoid)),
        "coverage_percent": float(np.mean(np.abs(ours_j - true_j) <= NORMAL_95 * np.array(se)) * 100),
    }
    if is_counter:
        found["difference"] = errors(true_j, np.array(difference))
    return found


def main() -> None:
    """Print the tables and the JSON line."""
    curve, steps_s = load(seed=3)
    power = Experiment(replace(POWER_USAGE, curve=curve), DURATION_S - 5, seed=11)
    generator = np.random.default_rng(7)
    aligned_s = steps_s[(steps_s > 5) & (steps_s < DURATION_S - 20)]
    results: dict[str, dict[str, object]] = {}
    for where in ("random", "at steps"):
        print(
            f"\n{WINDOWS} windows, {where}: error in % of the window's energy (mean / 95th percentile / max), bias in %"
        )
        head = f"{'device':<36}{'length':>7}{'ours':>22}{'bias':>8}{'coverage':>10}{'difference':>24}{'trapezoid':>24}"
        print(head)
        for name, profile in DEVICES.items():
            experiment = Experiment(replace(profile, curve=curve), DURATION_S - 5)
            held: list[float] = []
            for length_s in LENGTHS_S:
                starts_s = (
                    generator.uniform(5, DURATION_S - 17, WINDOWS)
                    if where == "random"
                    else generator.choice(aligned_s, WINDOWS)
                )
                found = compare(experiment, power, starts_s, length_s)
                coverage = found["coverage_percent"]
                assert isinstance(coverage, float)
                held.append(coverage)
                results.setdefault(name, {})[f"{where}, {length_s:g} s"] = found
                ours = found["ours"]
                assert isinstance(ours, dict)
                print(
                    f"{name:<36}{length_s:>5g} s{shown(ours):>22}{ours['bias_percent']:>8.3f}"
                    f"{coverage:>9.1f} {shown(found.get('difference')):>24}"
                    f"{shown(found['trapezoid']):>24}"
                )
            results[name][f"{where}, coverage_percent"] = float(np.mean(held))
    print(json.dumps({"windows": WINDOWS, "polled_every_s": 0.02, "devices": results}))


def shown(found: object) -> str:
    """Mean, 95th percentile and maximum in one cell."""
    if not isinstance(found, dict):
        return "-"
    return f"{found['mean_percent']:.2f} / {found['p95_percent']:.2f} / {found['max_percent']:.1f}"


if __name__ == "__main__":
    main()
