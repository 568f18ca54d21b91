"""How often printed intervals cover and tests err: `python perf/calibration.py`. Writes docs/calibration.json and .svg.

Invented worlds in which the truth is known, each 1,000 times, through the same code as `bench analyze`: samples become
a table of units, the table is resampled and tested. Each world has random numbers of its own. The tables of
docs/calibration.md are written, too. Counts are kept after every 100 experiments in `--state`, so that a run that was
stopped goes on; `--experiments 100 --world NAME` is a quick look.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from passkwh.analysis.bootstrap import DIRECTIONS, draw
from passkwh.analysis.equivalence import paired_rates
from passkwh.analysis.frames import Frames, Run
from passkwh.analysis.independent_tests import kruskal_wallis
from passkwh.analysis.intervals import contrasts, intervals
from passkwh.analysis.mixed import mixed_model
from passkwh.analysis.overview import CONTRASTED
from passkwh.analysis.paired_tests import friedman
from passkwh.analysis.pairs import compare_pairs
from passkwh.analysis.pooling import Comparison, ConfigurationRuns
from passkwh.analysis.ranking import any_difference, rank, spread_of
from passkwh.analysis.regression import Method, fit_regression
from passkwh.analysis.task_table import task_table
from passkwh.analysis.time_order import time_order
from passkwh.records import (
    BenchmarkInfo,
    ChannelTotal,
    Energy,
    HostInfo,
    IdleBaseline,
    Manifest,
    MeterInfo,
    ModelInfo,
    Session,
    Spec,
    Summary,
)

Floats = NDArray[np.float64]
RESAMPLES = 1000
MARGIN = 0.1
LEVEL = 0.95
METHODS: tuple[Method, ...] = ("with intercept", "Newey-West", "GLSAR")
"""Regressions whose coefficients have a truth here; without an intercept a domain's stands in for one."""


@dataclass(frozen=True)
class World:
    """What makes energies and verdicts of configurations that are equal in truth. Spreads are of logs."""

    name: str
    about: str
    tasks: int = 100
    repeats: tuple[int, ...] = (1, 1)
    """Runs of each configuration."""
    batch: tuple[int, ...] = (1, 1)
    """Batch size of each configuration."""
    samples: int = 1
    task_sd: float = 0.6
    noise_sd: float = 0.1
    interaction_sd: float = 0.0
    """Task x configuration."""
    batch_sd: float = 0.0
    run_sd: tuple[float, ...] = (0.0, 0.0)
    """Of each configuration."""
    ar: float = 0.0
    """Autocorrelation of the noise."""
    warm_up: float = 0.0
    """Growth over a run."""
    ties: bool = False
    """Energies read in steps so coarse that many are equal."""
    idle_se: float = 0.0
    """Stated standard error of idle power, as a share of net power; net energies are analysed."""
    meter_se: float = 0.0
    """Stated error that all readings of a run share, as a share."""
    solved: float = 0.4
    same_verdicts: float = 0.0
    """Chance that a task's verdict is the same whatever is run."""
    in_time: bool = False
    """Whether what rests on the order of time, and regressions, are asked, too: they take most of the time."""
    shuffled: bool = False
    """Each configuration takes the tasks in an order of its own."""

    @property
    def realised(self) -> bool:
        """One run each and runs that differ: what can be said is of these runs."""
        return max(self.repeats) == 1 and any(self.run_sd)


B16 = (16, 16)
WORLDS: tuple[World, ...] = (
    World("plain", "one run each, batch 1", in_time=True),
    World("few tasks", "10 tasks, one run each", tasks=10),
    World("batches of 16", "160 tasks in 10 batches, each off by 5 %", tasks=160, batch=B16, batch_sd=0.05,
          in_time=True),
    World("short last batch", "150 tasks in batches of 8, the last of 6", tasks=150, batch=(8, 8), batch_sd=0.05),
    World("one side batched", "batch 16 against 1", tasks=160, batch=(16, 1), batch_sd=0.05),
    World("unlike batches", "batch 5 against 7", tasks=350, batch=(5, 7), batch_sd=0.05),
    World("batches at random", "batch 8 on both sides, in orders of their own", tasks=160, batch=(8, 8),
          batch_sd=0.05, shuffled=True),
    World("one run each, runs differ", "run sd 2 %: asked of these two runs", run_sd=(0.02, 0.02)),
    World("3 repeats", "run sd 2 %", repeats=(3, 3), run_sd=(0.02, 0.02), noise_sd=0.03, in_time=True),
    World("2 repeats", "run sd 2 %", repeats=(2, 2), run_sd=(0.02, 0.02), noise_sd=0.03),
    World("5 repeats, interaction", "run sd 1 %, task x configuration 10 %", repeats=(5, 5), run_sd=(0.01, 0.01),
          interaction_sd=0.1),
    World("repeats of equal runs", "3 repeats, no run-to-run error", repeats=(3, 3)),
    World("unequal repeats", "2 runs against 5, run sd 2 %", repeats=(2, 5), run_sd=(0.02, 0.02)),
    World("one side repeated", "1 run against 4, run sd 2 %", repeats=(1, 4), run_sd=(0.02, 0.02)),
    World("unequal run scatter", "4 repeats, run sd 1 % and 4 %", repeats=(4, 4), run_sd=(0.01, 0.04)),
    World("repeats and batches", "3 repeats, batch 16 of 5 %, run sd 2 %", tasks=160, repeats=(3, 3), batch=B16,
          batch_sd=0.05, run_sd=(0.02, 0.02)),
    World("autocorrelation 0.5", "400 tasks, noise follows itself", tasks=400, ar=0.5, in_time=True),
    World("autocorrelation 0.8", "400 tasks, noise follows itself", tasks=400, ar=0.8),
    World("short and autocorrelated", "100 tasks, 0.8", ar=0.8),
    World("warm-up", "each run grows by 10 %", warm_up=0.1),
    World("ties", "energies read in coarse steps", ties=True),
    World("idle error", "net energy, idle known to 3 %", idle_se=0.03),
    World("meter error", "2 % that all readings of a run share", meter_se=0.02),
    World("hardly any solved", "36 tasks, 3 % pass", tasks=36, solved=0.03),
    World("nearly all solved", "36 tasks, 95 % pass", tasks=36, solved=0.95),
    World("like verdicts", "90 % of verdicts do not depend on the configuration", same_verdicts=0.9),
    World("5 samples a task", "with temperature", samples=5, in_time=True),
    World("12 configurations", "36 tasks, all equal", tasks=36, repeats=(1,) * 12, batch=(1,) * 12, run_sd=(0.0,) * 12),
    World("5 configurations, few tasks", "10 tasks, all equal", tasks=10, repeats=(1,) * 5, batch=(1,) * 5,
          run_sd=(0.0,) * 5),
)  # fmt: skip


@dataclass
class Tally:
    """How often something was so, of how many times it was asked."""

    hits: dict[str, int] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, hit: bool | None) -> None:
        """Count once; None where it could not be asked."""
        if hit is not None:
            self.hits[name] = self.hits.get(name, 0) + bool(hit)
            self.asked[name] = self.asked.get(name, 0) + 1

    def shares(self) -> dict[str, float]:
        """Of those that were asked in most experiments."""
        most = max(self.asked.values(), default=0)
        return {name: self.hits[name] / n for name, n in self.asked.items() if n >= 0.5 * most}


# ---------------------------------------------------------------- inventing runs


def template(world: World) -> Comparison:
    """The runs of a world without their samples."""
    runs, configurations = [], []
    for c, repeats in enumerate(world.repeats):
        own = []
        for r in range(repeats):
            own.append(len(runs))
            # Interleaved: each repeat of all before the next, in turning order.
            turn = r * len(world.repeats) + (c if r % 2 == 0 else len(world.repeats) - 1 - c)
            runs.append(_run(world, c, r, f"2026-01-{1 + turn // 24:02d}T{turn % 24:02d}:00:00Z"))
        configurations.append(ConfigurationRuns(f"c{c}", tuple(own)))
    tasks = tuple(f"t{i}" for i in range(world.tasks))
    return Comparison(Frames(tuple(runs), pd.DataFrame()), tuple(configurations), tasks, ())


def _run(world: World, c: int, r: int, started: str) -> Run:
    spec = Spec(model=f"m{c}", repeat=r, batch_size=world.batch[c], samples=world.samples, meter="simulated",
                temperature=0.8 if world.samples > 1 else 0.0)  # fmt: skip
    model = ModelInfo(
        name=f"m{c}", adapter="base", chat=False, checkpoint="m", revision="0", dtype="x", device="cpu", parameters=1
    )
    manifest = Manifest(
        run_id=f"m{c}-{r}", status="complete", spec=spec, model=model,
        benchmark=BenchmarkInfo(name="b", version="1", source="s", sha256="0", tasks=world.tasks),
        host=HostInfo(os="x", kernel="x", python="3", cpu="x", cores=1, memory_bytes=1),
        meter=MeterInfo(name="simulated", interval_s=0.02, channels=()), versions={},
        sessions=(Session(index=0, started_at=started, windows=()),),
    )  # fmt: skip
    # The mean energy of a task is set so that a run's expected total is `expected(world)`.
    total = expected(world)
    idle = IdleBaseline(channel="gpu:0", mean_w=10.0, se_w=world.idle_se * total / world.tasks, duration_s=10.0)
    channel = ChannelTotal(
        channel="gpu:0", provenance="simulated", counted=True,
        generation=Energy(gross_j=total, net_j=total, se_j=world.meter_se * total),
        evaluation=Energy(gross_j=0.0, net_j=0.0), idle_before=idle, idle_after=idle,
    )  # fmt: skip
    summary = Summary(
        run_id=manifest.run_id, model="m", adapter="base", quant="none", benchmark="b", tasks=world.tasks,
        samples=world.tasks * world.samples, solved=None, pass_at_k={}, gross_energy_j=total, net_energy_j=total,
        energy_kwh=None, generation_energy_j=total, evaluation_energy_j=0.0, pass_at_kwh=None, solved_per_kwh=None,
        generation_s=float(world.tasks), evaluation_s=0.0, prompt_tokens=0, completion_tokens=1, tokens_per_s=None,
        joules_per_token=None, provenance="simulated", channels=(channel,),
    )  # fmt: skip
    return Run(Path(manifest.run_id), manifest, summary)


def expected(world: World) -> float:
    """Joules of a run that has no error of its own, over the population of tasks."""
    squares = world.task_sd**2 + world.noise_sd**2 + world.interaction_sd**2 + world.batch_sd**2
    growth = np.exp(world.warm_up * (np.arange(world.tasks) + 0.5) / world.tasks).mean()
    return float(world.tasks * np.exp(4.0 + squares / 2.0) * growth)


def noise(world: World, rng: np.random.Generator, size: int) -> Floats:
    """Of one run in the order of time."""
    white = rng.normal(0, world.noise_sd, size)
    if not world.ar:
        return white
    from scipy.signal import lfilter

    scaled = white * np.sqrt(1 - world.ar**2)
    scaled[0] = white[0]
    return np.asarray(lfilter([1.0], [1.0, -world.ar], scaled), dtype=np.float64)


def invent(world: World, rng: np.random.Generator, empty: Comparison) -> tuple[Comparison, Floats, Floats]:
    """A comparison with samples, the log effect of each run, and a rate of passing for tests of 'not worse'."""
    n, width = world.tasks, len(world.repeats)
    common = rng.normal(0, world.task_sd, n)
    growth = world.warm_up * (np.arange(n) + 0.5) / n
    apart = rng.normal(0, world.interaction_sd, (width, n)) if world.interaction_sd else np.zeros((width, n))
    # Chance of passing falls with a task's energy; it is on average what the world says.
    hard = common / max(world.task_sd, 1e-9)
    rank = special.ndtr((hard + rng.normal(0, 1.0, n)) / np.sqrt(2.0))
    chance = np.clip(world.solved + 0.8 * min(world.solved, 1 - world.solved) * (1 - 2 * rank), 0.0, 1.0)
    shared = rng.random(n) < world.same_verdicts
    luck = rng.random(n)
    columns: list[dict[str, NDArray[Any]]] = []
    effects = []
    for c, configuration in enumerate(empty.configurations):
        order = rng.permutation(n) if world.shuffled else np.arange(n)
        greedy = rng.random((n, world.samples))
        for r in configuration.runs:
            run_effect = rng.normal(0, world.run_sd[c])
            effects.append(run_effect)
            size = world.batch[c]
            batch = np.arange(n) // size
            of_batch = rng.normal(0, world.batch_sd, batch[-1] + 1)[batch]
            logs = 4.0 + common[order] + apart[c][order] + noise(world, rng, n) + of_batch + growth + run_effect
            joules = np.exp(logs)
            if world.ties:
                joules = np.maximum(np.round(joules / 20.0), 1.0) * 20.0
            if world.meter_se:
                joules = joules * (1.0 + rng.normal(0, world.meter_se))
            if world.idle_se:
                joules = joules + rng.normal(0, world.idle_se) * expected(world) / n
            # With temperature every sample is new; greedy repeats give the same verdicts again.
            draws = rng.random((n, world.samples)) if world.samples > 1 else greedy
            passed = np.where(shared[:, None], luck[:, None], draws) < chance[:, None]
            for s in range(world.samples):
                columns.append({
                    "run": np.full(n, r), "task": order, "sample_index": np.full(n, s),
                    "order": np.arange(n) * world.samples + s, "batch_id": batch if world.samples == 1 else
                    np.arange(n) * world.samples + s, "batch_size": np.full(n, size),
                    "completion_tokens": np.maximum(1, np.exp(4.5 + 0.8 * common[order])).astype(int),
                    "generation_s": joules / 200.0 / world.samples, "passed": passed[order, s].astype(float),
                    "generation_gross_j": joules / world.samples,
                })  # fmt: skip
    whole = {name: np.concatenate([one[name] for one in columns]) for name in columns[0]}
    joules = whole["generation_gross_j"]
    samples = pd.DataFrame({
        "task_id": np.array(empty.task_ids, dtype=object)[whole.pop("task")], **whole, "generation_net_j": joules,
        "gross_j": joules, "net_j": joules, "generation_se_j": np.nan, "key": "",
    })  # fmt: skip
    worse = (rng.random(n) < np.clip(chance - MARGIN, 0, 1)).astype(float)
    return replace(empty, frames=Frames(empty.frames.runs, samples)), np.array(effects), worse


# ---------------------------------------------------------------- what is asked of each


def covers(low: float | None, high: float | None, truth: float) -> bool | None:
    """Whether an interval holds the truth."""
    return None if low is None or high is None else low <= truth <= high


def rejects(p_value: float | None) -> bool | None:
    """Whether a test at 5 % finds something."""
    return None if p_value is None else p_value < 1 - LEVEL


def experiment(world: World, empty: Comparison, seed: int, covered: Tally, alarms: Tally) -> None:
    """One experiment: every interval and test."""
    rng = np.random.default_rng([*world.name.encode(), seed])
    comparison, effects, worse = invent(world, rng, empty)
    energy: Any = "net" if world.idle_se else "gross"
    table = task_table(comparison, energy)
    draws = draw(table, RESAMPLES, seed)
    a, b = (np.array(comparison.configurations[i].runs) for i in (0, 1))
    run_bias = np.exp(np.square(world.run_sd) / 2.0)
    of_run = np.exp(effects[a[0]]) if world.realised else run_bias[0]
    ratio = float(np.exp(effects[a[0]] - effects[b[0]])) if world.realised else float(run_bias[0] / run_bias[1])
    kwh = expected(world) * of_run / 3.6e6
    truths = {"energy": kwh, "pass@1": world.solved, "pass@kWh": world.solved / kwh}
    names = {"energy_kwh": "energy", "pass_at_1": "pass@1", "pass_at_kwh": "pass@kWh"}
    if not world.ties:
        for interval in intervals(draws, LEVEL):
            if interval.label == "c0" and interval.measure in names:
                name = names[interval.measure]
                covered.add(name, covers(interval.low, interval.high, truths[name]))
    else:
        own = next(i for i in intervals(draws, LEVEL) if (i.measure, i.label) == ("pass_at_1", "c0"))
        covered.add("pass@1", covers(own.low, own.high, world.solved))
    for contrast in contrasts(draws, CONTRASTED, [(0, 1)], LEVEL):
        if contrast.measure == "pass_at_1":
            covered.add("pass@1 difference", covers(contrast.difference.low, contrast.difference.high, 0.0))
            continue
        truth = 1.0 / ratio if contrast.measure == "pass_at_kwh" else ratio
        label = {"energy_kwh": "energy", "pass_at_kwh": "pass@kWh", "joules_per_token": "J/token"}[contrast.measure]
        covered.add(f"{label} ratio", covers(contrast.ratio.low, contrast.ratio.high, truth))
    (pair,) = compare_pairs(table, [(0, 1)], MARGIN, LEVEL)
    equal = abs(ratio - 1.0) < 1e-9
    if equal:
        alarms.add("energy of a pair (t)", rejects(pair.energy.p_value))
        alarms.add("any difference", rejects(any_difference(draws, "energy_kwh").p_value))
    if not any(world.run_sd) and not world.idle_se and not world.meter_se:  # these ask about the runs at hand
        per_unit, apart = table.matched_energies(table.labels)
        groups, unlike = table.groups(table.labels)
        alarms.add("Wilcoxon", rejects(pair.wilcoxon.p_value))
        alarms.add("Friedman", None if apart else rejects(friedman(per_unit).p_value))
        alarms.add("Kruskal-Wallis", rejects(kruskal_wallis(groups).p_value if not unlike else None))
        geometric = pair.energy_ratio
        covered.add("energy, geometric", covers(geometric.low, geometric.high, 1.0))
    alarms.add("passing", rejects(pair.passing.p_value))
    alarms.add("not worse, wrongly", rejects(paired_rates(worse, table.pass_rates()[1], MARGIN).p_non_inferior)
               if world.solved > MARGIN * 2 else None)  # fmt: skip
    for measure in ("energy_kwh", "pass_at_kwh") if equal else ():
        ranking = rank(measure, DIRECTIONS[measure], draws.labels, draws.estimates[measure], draws.resampled[measure],
                       LEVEL, spread_of(draws, measure))  # fmt: skip
        apart_any = any(one.best_rank > 1 for one in ranking.ranked)
        alarms.add(f"ranks by {names[measure]}", apart_any if len(ranking.ranked) > 1 else None)
    samples = comparison.samples()
    of = samples["configuration"].to_numpy(dtype=object)
    first = samples[of == "c0"]
    _mixed(world, samples, table.measured.joint.matched and table.measured.joint.number == world.tasks, equal, covered,
           alarms, energy)  # fmt: skip
    if world.in_time and not world.ar:
        order = time_order(first, energy, LEVEL)
        alarms.add("Durbin-Watson", rejects(order.durbin_watson.p_value))
        alarms.add("Levene over time", rejects(order.levene.p_value))
        covered.add("drift", covers(order.drift.low, order.drift.high, 0.0))
        covered.add("autocorrelation", covers(order.autocorrelation.low, order.autocorrelation.high, 0.0))
    if world.in_time:
        _regression(world, first, rng, covered)
    # What the field does: tasks of all runs as independent values, or no test at all.
    if equal:
        joules = samples[f"{energy}_j"].to_numpy()
        one, other = (joules[of == label] for label in ("c0", "c1"))
        alarms.add("field: t-test per task", rejects(_welch(one, other)))
        if len(one) == len(other) and not world.shuffled:
            alarms.add("field: paired t-test per task", rejects(_paired(one, other)))
        alarms.add("field: no test", bool(one.sum() != other.sum()))


def _welch(a: Floats, b: Floats) -> float:
    """p of scipy's ttest_ind with unequal variances, at a tenth of its cost."""
    of_a, of_b = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    df = (of_a + of_b) ** 2 / (of_a**2 / (len(a) - 1) + of_b**2 / (len(b) - 1))
    return float(2 * special.stdtr(df, -abs(a.mean() - b.mean()) / np.sqrt(of_a + of_b)))


def _paired(a: Floats, b: Floats) -> float:
    """p of scipy's ttest_rel."""
    d = a - b
    return float(2 * special.stdtr(len(d) - 1, -abs(d.mean()) / np.sqrt(d.var(ddof=1) / len(d))))


def _mixed(
    world: World, samples: pd.DataFrame, by_task: bool, equal: bool, covered: Tally, alarms: Tally, energy: str
) -> None:
    if not (by_task and equal) or world.idle_se or world.meter_se or len(set(world.run_sd)) > 1:
        return
    ordered = samples.sort_values("configuration")
    result = mixed_model(
        np.log(ordered[f"{energy}_j"]), ordered["configuration"].tolist(), ordered["task_id"].tolist(),
        ordered["run"].tolist(), LEVEL,
    )  # fmt: skip
    if result.effects:
        effect = result.effects[0]
        alarms.add("mixed model", rejects(effect.p_value))
        covered.add("mixed model", covers(effect.low, effect.high, 0.0))


def _regression(world: World, first: pd.DataFrame, rng: np.random.Generator, covered: Tally) -> None:
    """A predictor that has no effect: a domain given to tasks by lot."""
    domain = dict(zip(first["task_id"].unique(), rng.integers(0, 2, world.tasks), strict=True))
    given = first.assign(System=first["task_id"].map(domain))
    for method in METHODS:
        for coefficient in fit_regression(given, method).coefficients:
            if coefficient.name == "System":
                covered.add(f"regression, {method}", covers(coefficient.low, coefficient.high, 0.0))


# ---------------------------------------------------------------- running, and what is shown of it


def calibrate(world: World, experiments: int, state: Path | None = None) -> dict[str, Any]:
    """Coverage and false alarms of one world; goes on where ``state``, its counts so far, ends."""
    empty, covered, alarms, done = template(world), Tally(), Tally(), 0
    if state is not None and state.is_file():
        known = json.loads(state.read_text("utf-8"))
        done, covered, alarms = known["experiments"], Tally(**known["covered"]), Tally(**known["alarms"])
    while done < experiments:
        upto = min(experiments, done + 100)
        for number in range(done, upto):
            experiment(world, empty, number, covered, alarms)
        done = upto
        if state is not None:
            state.parent.mkdir(parents=True, exist_ok=True)
            kept = {"experiments": done, "covered": asdict(covered), "alarms": asdict(alarms)}
            state.with_suffix(".new").write_text(json.dumps(kept), "utf-8")
            state.with_suffix(".new").replace(state)
    return {
        "world": world.name, "about": world.about, "experiments": done, "coverage": covered.shares(),
        "false_alarms": alarms.shares(),
    }  # fmt: skip


def table_of(results: list[dict[str, Any]], part: str, inside: Callable[[float], bool]) -> str:
    """A Markdown table: a row a world; what is outside of its bounds is bold."""
    names = list(dict.fromkeys(name for result in results for name in result[part]))
    lines = [f"| world | {' | '.join(names)} |", f"|---|{'---:|' * len(names)}"]
    for result in results:
        cells = []
        for name in names:
            share = result[part].get(name)
            text = "" if share is None else f"{100 * share:.1f}"
            cells.append(text if share is None or inside(share) or name.startswith("field") else f"**{text}**")
        lines.append(f"| {result['world']} | {' | '.join(cells)} |")
    return "\n".join(lines)


SHOWN = (
    ("field: t-test per task", 'fill="none" stroke="#444"', "○ t-test per task"),
    ("field: paired t-test per task", 'fill="#d9822b" fill-opacity="0.75"', "◐ paired t-test per task"),
    ("energy of a pair (t)", 'fill="#1b6ca8"', "● this program"),
)


def figure(results: list[dict[str, Any]]) -> str:
    """False alarms of the test of a pair's energy, and of the field's, world by world, as an SVG."""
    rows = [r for r in results if "energy of a pair (t)" in r["false_alarms"]]
    height, left, width = 26 * len(rows) + 90, 230, 440

    def x(share: float) -> float:
        return left + width * float(np.sqrt(share))  # a root: 5 % is what matters, and 100 % has to be there

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 40}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="100%" height="100%" fill="white"/><rect x="{x(0.03):.1f}" y="50" '
        f'width="{x(0.07) - x(0.03):.1f}" height="{height - 90}" fill="#d9ead3"/>',
        '<text x="10" y="18">False alarms at 5 % between equal configurations. No test: all of them.</text>',
    ]
    for n, (_, style, name) in enumerate(reversed(SHOWN)):
        parts.append(f'<circle cx="{16 + 170 * n}" cy="34" r="5" {style}/>')
        parts.append(f'<text x="{26 + 170 * n}" y="38">{name[2:]}</text>')
    for share in (0.0, 0.05, 0.2, 0.5, 1.0):
        parts.append(f'<text x="{x(share):.1f}" y="{height - 18}" text-anchor="middle">{share:.0%}</text>')
    for i, result in enumerate(rows):
        y, alarms = 65 + 26 * i, result["false_alarms"]
        parts.append(f'<text x="{left - 12}" y="{y + 4}" text-anchor="end">{result["world"]}</text>')
        parts += [f'<circle cx="{x(alarms[test]):.1f}" cy="{y}" r="5" {style}/>' for test, style, _ in SHOWN
                  if test in alarms]  # fmt: skip
    return "\n".join([*parts, "</svg>"]) + "\n"


def filled(page: str, results: list[dict[str, Any]]) -> str:
    """The page with its tables made anew: what stands between `<!-- NAME -->` and the next empty comment."""
    worlds = [
        f"| {r['world']} | {r['about']} | {r['experiments']:,}{' of earlier code' if r.get('earlier_code') else ''} |"
        for r in results
    ]
    tables = {
        "worlds": "\n".join(["| world | what it has | experiments |", "|---|---|---:|", *worlds]),
        "coverage": table_of(results, "coverage", lambda share: 0.93 <= share <= 0.97),
        "alarms": table_of(results, "false_alarms", lambda share: 0.03 <= share <= 0.07),
    }
    for name, table in tables.items():
        before, rest = page.split(f"<!-- {name} -->\n", 1)
        page = f"{before}<!-- {name} -->\n\n{table}\n\n<!-- -->\n{rest.split('<!-- -->' + chr(10), 1)[1]}"
    return page


def main() -> None:
    """Calibrate all worlds and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=1000)
    parser.add_argument("--world", action="append", help="only this one; may be given again")
    parser.add_argument("--state", type=Path, help="folder for the counts so far, a file a world")
    parser.add_argument("--write", action="store_true", help="only write docs/calibration.*, from the state as it is")
    asked = parser.parse_args()
    by_name = {world.name: world for world in WORLDS}
    chosen = [by_name[name] for name in asked.world or by_name]
    docs = Path(__file__).resolve().parents[1] / "docs"
    before = json.loads((docs / "calibration.json").read_text("utf-8"))
    results: list[dict[str, Any]] = []
    for world in chosen:
        state = asked.state / f"{world.name}.json" if asked.state else None
        if asked.write and (state is None or not state.is_file()):
            results += [{**one, "earlier_code": True} for one in before if one["world"] == world.name]
            continue
        results.append(calibrate(world, 0 if asked.write else asked.experiments, state))
        print(json.dumps(results[-1]), flush=True)
    if not asked.world:
        (docs / "calibration.json").write_text(json.dumps(results, indent=1) + "\n", "utf-8")
        (docs / "calibration.svg").write_text(figure(results), "utf-8")
        page = docs / "calibration.md"
        page.write_text(filled(page.read_text("utf-8"), results), "utf-8")


if __name__ == "__main__":
    main()
