"""What was measured once is one observation: batches, runs, time; and each source of error counts once."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import MakeRun  # type: ignore[import-not-found]
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from scipy.signal import lfilter

from passkwh.analysis.bootstrap import draw
from passkwh.analysis.error_model import EnergyContrast, RunTotals, energy_contrast, weight
from passkwh.analysis.frames import load
from passkwh.analysis.intervals import contrasts, df_of_spread, intervals
from passkwh.analysis.overview import Analysis, AnalysisSettings, analyse
from passkwh.analysis.pairs import compare_pairs
from passkwh.analysis.pooling import compare
from passkwh.analysis.ranking import rank, spread_of
from passkwh.analysis.results import TestResult
from passkwh.analysis.sentences import about_accuracy, about_energy
from passkwh.analysis.task_table import task_table
from passkwh.analysis.tasks import TaskTable
from passkwh.analysis.time_blocks import block_length, follows, in_blocks, lag_one, widening
from passkwh.analysis.units_of_measurement import batches, joint, sums
from passkwh.errors import UsageError
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.sections.summary import SUMMARY

Floats = NDArray[np.float64]


def table(energy_j: Floats, units: NDArray[np.int64] | None = None, **more: object) -> TaskTable:
    """Configurations with these energies; every other task passes."""
    width, tasks = energy_j.shape
    ones = np.ones((width, tasks))
    values: dict[str, object] = {
        "evaluated": ones.astype(int), "passed": np.tile(np.arange(tasks) % 2, (width, 1)), "energy_j": energy_j,
        "generation_j": energy_j, "tokens": 100 * ones, "generation_s": ones, **more,
    }  # fmt: skip
    labels = tuple(f"c{i}" for i in range(width))
    if units is not None:
        values["units"] = units
    return TaskTable(labels, tuple(f"t{i}" for i in range(tasks)), **values)  # type: ignore[arg-type]


def contrast(of: TaskTable, i: int = 0, j: int = 1) -> EnergyContrast:
    """The test of a pair, which must exist."""
    result = energy_contrast(of.measured, i, j)
    assert isinstance(result, EnergyContrast)
    return result


def with_batches(run: Path, size: int, joules: Sequence[float] = ()) -> Path:
    """A run whose consecutive samples shared batches (the last may be shorter); optionally with joules of batches."""
    lines = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    for i, line in enumerate(lines):
        first = i // size * size
        line["batch_id"] = i // size
        line["batch_size"] = min(size, len(lines) - first)
        if len(joules):
            line["generation_energy"]["gpu:0"] |= {"gross_j": joules[i // size] / line["batch_size"]}
    (run / "samples.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    return run


# ---------------------------------------------------------------- batches


@pytest.mark.parametrize(("size", "tasks"), [(4, 40), (8, 61), (16, 161), (7, 50)])
def test_energies_of_batches_are_tested_by_batches(make_run: MakeRun, size: int, tasks: int) -> None:
    """Equal configurations, batches off by 5 %: the test is that of batch sums, whatever share a task was given."""
    rng = np.random.default_rng(size)
    names = [f"t{i}" for i in range(tasks)]
    count = -(-tasks // size)
    common = rng.lognormal(5, 0.3, count)
    per_batch = [common * rng.lognormal(0, 0.05, count) for _ in range(2)]
    runs = [
        with_batches(make_run(m, model=f"family/{m}-1B", tasks=names, scoring_j=0.0), size, joules)
        for m, joules in zip("ab", per_batch, strict=True)
    ]
    found = task_table(compare(load(runs)))
    assert found.kinds == ("batch", "batch")
    assert found.measured.joint.number == count
    assert any(f"by {count} batches" in note for note in found.notes)
    result, (a, b) = contrast(found), per_batch
    shares = np.array([a / a.sum(), b / b.sum()])
    d, mean = shares[0] - shares[1], shares.mean(axis=0)
    square = (mean**2).sum()
    variance = (d**2).sum() * square / (square - 2 * (mean**3).sum() + square**2)
    df = square**2 / (mean**4).sum() - 1
    t = np.log(a.sum() / b.sum()) / np.sqrt(variance)
    assert result.test.p_value == pytest.approx(2 * stats.t.sf(abs(t), df), rel=1e-9)
    (pair,) = compare_pairs(found, [(0, 1)], 0.02)
    assert pair.wilcoxon.p_value == pytest.approx(stats.wilcoxon(a, b).pvalue, rel=1e-9)


def test_intervals_are_over_batches() -> None:
    rng = np.random.default_rng(1)
    batch = np.arange(160) // 16
    energy = rng.lognormal(0, 0.05, (2, 10))[:, batch] * rng.lognormal(0, 0.2, 160)
    shared = contrasts(draw(table(energy, np.tile(batch, (2, 1))), 2000), ["energy_kwh"], [(0, 1)])[0].ratio
    single = contrasts(draw(table(energy), 2000), ["energy_kwh"], [(0, 1)])[0].ratio
    assert None not in (shared.low, shared.high, single.low, single.high)
    assert (shared.high - shared.low) > 2.5 * (single.high - single.low), "10 measurements, not 160"  # type: ignore[operator]


def test_units_of_unlike_cuts_meet_where_they_can() -> None:
    four, sixteen, one = (np.arange(160) // size for size in (4, 16, 1))
    assert joint(np.stack([four, sixteen])).number == 10
    assert joint(np.stack([one, sixteen])).matched
    apart = joint(np.stack([np.arange(140) // 5, np.arange(140) // 7]))
    assert not apart.matched, "four common pieces of 35 tasks tell less than 20 batches"
    shuffled = np.random.default_rng(0).permutation(160)
    assert not joint(np.stack([sixteen, sixteen[shuffled]])).matched


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_every_task_has_one_unit_and_sums_are_kept(tasks: int, one: int, other: int) -> None:
    cuts = np.stack([np.arange(tasks) // one, np.arange(tasks) // other])
    of_task, count, _ = joint(cuts)
    assert sorted(set(of_task.tolist())) == list(range(count))
    for cut in cuts:  # tasks of one batch are never in two units
        assert all(len(set(of_task[cut == batch])) == 1 for batch in set(cut.tolist()))
    values = np.arange(tasks, dtype=float) ** 2
    assert sums(values, of_task, count).sum() == pytest.approx(values.sum())


def test_samples_of_a_task_and_repeats_are_no_batch() -> None:
    units, alike = batches(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1]), 2)
    assert (units.tolist(), alike) == ([0, 1], True)
    random = np.random.default_rng(0).permutation(40)
    task = np.concatenate([np.arange(40), random])
    run, batch = np.repeat([0, 1], 40), np.tile(np.arange(40) // 8, 2)
    units, alike = batches(task, run, batch, 40)
    assert not alike
    assert units.tolist() == (np.arange(40) // 8).tolist(), "the first run's"


def error_rate(experiments: int, seed: int, make: object) -> tuple[float, float]:
    """How often the test of a pair finds something, and the interval of its ratio holds 1."""
    rng = np.random.default_rng(seed)
    found, covered = 0, 0
    for number in range(experiments):
        one: TaskTable = make(rng)  # type: ignore[operator]
        p_value = contrast(one).test.p_value
        assert p_value is not None
        found += p_value < 0.05
        ratio = contrasts(draw(one, 200, seed=number), ["energy_kwh"], [(0, 1)])[0].ratio
        assert ratio.low is not None
        assert ratio.high is not None
        covered += ratio.low <= 1 <= ratio.high
    return found / experiments, covered / experiments


def of_batches(rng: np.random.Generator) -> TaskTable:
    batch = np.arange(150) // 16  # the last is shorter
    energy = rng.lognormal(4, 0.6, 150) * rng.lognormal(0, 0.05, (2, batch[-1] + 1))[:, batch]
    return table(energy, np.tile(batch, (2, 1)))


def of_unlike_batches(rng: np.random.Generator) -> TaskTable:
    cuts = [np.arange(210) // 6, np.random.default_rng(7).permutation(210) // 6]
    off = [rng.lognormal(0, 0.05, 35)[cut] for cut in cuts]
    return table(rng.lognormal(4, 0.6, 210) * np.array(off), np.stack(cuts))


def of_repeats(rng: np.random.Generator, repeats: tuple[int, int] = (3, 3), run_sd: float = 0.02) -> TaskTable:
    common = rng.lognormal(4, 0.6, 60)
    totals, means = [], []
    for count in repeats:
        runs = common * np.exp(rng.normal(0, run_sd, (count, 1)) + rng.normal(0, 0.03, (count, 60)))
        of_runs = runs.sum(axis=1)
        noise = float((runs / of_runs[:, None]).var(axis=0, ddof=1).sum()) * 60 / 59 if count > 1 else 0.0
        totals.append(RunTotals(of_runs, of_runs / 6000, 6000 / of_runs, noise))
        means.append(runs.mean(axis=0))
    return table(np.array(means), runs=tuple(totals))


def of_neighbours(rng: np.random.Generator) -> TaskTable:
    """100 tasks whose energies follow one another with a correlation of 0.8."""
    white = rng.normal(0, 0.1, (2, 100)) * np.where(np.arange(100) > 0, np.sqrt(1 - 0.8**2), 1.0)
    noise = lfilter([1.0], [1.0, -0.8], white)
    order = np.tile(np.arange(100.0), (2, 1))
    return in_blocks(table(rng.lognormal(4, 0.6, 100) * np.exp(noise)), order)


@pytest.mark.parametrize("make", [of_batches, of_unlike_batches, of_neighbours, of_repeats,
                                  lambda rng: of_repeats(rng, (1, 4)),
                                  lambda rng: of_repeats(rng, (2, 5), 0.0)])  # fmt: skip
def test_equal_configurations_are_told_apart_in_about_5_per_cent(make: object) -> None:
    """120 experiments, fixed seeds: bounds of four binomial standard errors; it was 19 to 77 % before."""
    alarms, covered = error_rate(120, 3, make)
    assert alarms <= 0.13
    assert covered >= 0.87


# ---------------------------------------------------------------- runs


def test_repeats_are_tested_by_run_totals() -> None:
    """Without anything of tasks' own the test is Student's t on log totals, pooled (here as scipy does it)."""
    a, b = np.array([100.0, 104.0, 99.0]), np.array([106.0, 109.0, 103.0, 107.0])
    shares = np.full(20, 1 / 20)
    runs = tuple(RunTotals(x, x, x, 0.0) for x in (a, b))
    result = contrast(table(np.array([a.mean() * shares, b.mean() * shares]), runs=runs))
    expected = stats.ttest_ind(np.log(a), np.log(b))
    se = abs(np.log(a).mean() - np.log(b).mean()) / abs(expected.statistic)
    assert result.parts["run-to-run"] == pytest.approx(se**2, rel=1e-9)
    assert result.df == pytest.approx(5.0)
    assert result.parts["units"] == pytest.approx(0.0, abs=1e-20)


def test_a_ratio_of_geometric_means_has_the_noise_of_runs_once(make_run: MakeRun) -> None:
    """Of repeats that differ by noise alone the error is that of runs' means, by Student's t, and hardly more."""
    rng = np.random.default_rng(2)
    names, common = [f"t{i}" for i in range(80)], rng.lognormal(4, 0.5, 80)
    joules = common * np.exp(rng.normal(0, 0.1, (2, 3, 80)))
    runs = [make_run(f"{m}{r}", model=f"family/{m}-1B", repeat=r, tasks=names, energy_j=joules[c, r].tolist(),
                     scoring_j=0.0) for c, m in enumerate("ab") for r in range(3)]  # fmt: skip
    of = task_table(compare(load(runs)))
    logs = np.log(joules)
    centred = logs - logs.mean(axis=2, keepdims=True)
    for c, one in enumerate(of.runs):
        assert np.log(one.geometric_j) == pytest.approx(logs[c].mean(axis=1))
        assert one.geometric_noise == pytest.approx(centred[c].var(axis=0, ddof=1).sum() / 80**2 * 80 / 79)
    (pair,) = compare_pairs(of, [(0, 1)], 0.02)
    means = logs.mean(axis=2)
    between = float(((means - means.mean(axis=1, keepdims=True)) ** 2).sum()) / 4 * (2 / 3)
    apart = np.log(of.energy_j[0] / of.energy_j[1])
    left = max(float(apart.var(ddof=1)) / 80 - sum(one.geometric_noise for one in of.runs) / 3, 0.0)
    df = (left + between) ** 2 / (left**2 / 79 + between**2 / 4)
    half = stats.t.ppf(0.975, df) * np.sqrt(left + between)
    assert np.log([pair.energy_ratio.low, pair.energy_ratio.high]) == pytest.approx(
        [apart.mean() - half, apart.mean() + half]
    )
    assert left < 0.3 * between, "what is left of the units is little: they have no effect of their own"


def test_scatter_of_unlike_runs_is_not_pooled() -> None:
    calm, wild = 100 * np.exp(np.linspace(-0.001, 0.001, 6)), 100 * np.exp(np.linspace(-0.2, 0.2, 6))
    shares = np.full(20, 1 / 20)
    runs = tuple(RunTotals(x, x, x, 0.0) for x in (calm, wild))
    of = table(np.array([calm.mean() * shares, wild.mean() * shares]), runs=runs)
    error = of.measured.run_error
    assert error.se[1] > 50 * error.se[0]
    assert contrast(of).df == pytest.approx(5.0, rel=0.01), "Welch and Satterthwaite: that of the wild one"


def runs_of(make_run: MakeRun, order: str, drift: float = 0.0, seed: int = 0) -> list[Path]:
    """Runs of configurations A and B in this order of time; each costs ``drift`` more than the one before."""
    rng = np.random.default_rng(seed)
    names, common = [f"t{i}" for i in range(40)], rng.lognormal(4, 0.3, 40)
    made, seen = [], {"A": 0, "B": 0}
    for i, letter in enumerate(order):
        joules = common * (1 + drift * i) * rng.lognormal(0, 0.01, 40)
        run = make_run(f"{letter}{seen[letter]}", model=f"family/{letter.lower()}-1B", repeat=seen[letter], tasks=names,
                       energy_j=joules.tolist(), scoring_j=0.0)  # fmt: skip
        manifest = json.loads((run / "manifest.json").read_text())
        manifest.pop("crc32", None)
        manifest["sessions"][0]["started_at"] = f"2026-01-01T{i:02d}:00:00+00:00"
        (run / "manifest.json").write_text(json.dumps(manifest))
        seen[letter] += 1
        made.append(run)
    return made


@pytest.mark.parametrize(
    ("order", "scope", "why"),
    [("AB", "these runs", "one run each"), ("AAABBB", "these runs", "before all runs of the other"),
     ("ABABAB", "configurations", None), ("ABBAAB", "configurations", None), ("ABB", "these runs", "before all runs"),
     ("ABA", "configurations", None)],
)  # fmt: skip
def test_what_a_difference_is_one_of(make_run: MakeRun, order: str, scope: str, why: str | None) -> None:
    found = task_table(compare(load(runs_of(make_run, order))))
    (pair,) = compare_pairs(found, [(0, 1)], 0.02)
    assert pair.scope == scope
    assert (why or "") in (pair.scope_reason or "")


def test_the_summary_says_what_limits_a_winner_to_its_runs(make_run: MakeRun) -> None:
    runs = load(runs_of(make_run, "AAABBB", drift=0.015))
    text = str(SUMMARY.build(Evidence(runs, "all", AnalysisSettings(resamples=500))))
    assert "told apart from every other of these runs (all runs of one were before all runs of the other" in text
    assert "These runs differ in energy" in text
    assert "more than chance" not in text


def test_one_run_a_side_speaks_of_these_runs_and_says_what_it_takes(make_run: MakeRun) -> None:
    (pair,) = compare_pairs(task_table(compare(load(runs_of(make_run, "AB", drift=0.06)))), [(0, 1)], 0.02)
    claim = about_energy(pair, 0.05)
    assert claim.verdict == "difference"
    assert claim.text.startswith("these runs differ in energy")
    assert "--repeats 4" in claim.text
    assert "assumption" in claim.text
    assert "more than chance" not in claim.text


def test_a_copied_run_is_refused_under_any_name(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("one")
    shutil.copytree(run, tmp_path / "backup")
    with pytest.raises(UsageError, match=r"once more.*both are run one"):
        load([run, tmp_path / "backup"])
    for name in ("manifest.json", "summary.json"):
        content = json.loads((tmp_path / "backup" / name).read_text()) | {"run_id": "another"}
        (tmp_path / "backup" / name).write_text(json.dumps(content))
    with pytest.raises(UsageError, match="the same keys"):
        load([run, tmp_path / "backup"])


def test_tokens_per_s_scatter_as_repeats_do(make_run: MakeRun) -> None:
    runs = []
    for repeat, speed in enumerate((100.0, 90.0, 80.0)):
        run = make_run(f"r{repeat}", repeat=repeat, tokens=[100] * 4, energy_j=[10.0] * 4)
        lines = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
        for line in lines:
            line["latency_s"] = 100 / speed
        (run / "samples.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
        runs.append(run)
    found = intervals(draw(task_table(compare(load(runs))), 4000))
    speed_of = next(i for i in found if i.measure == "tokens_per_s")
    assert speed_of.estimate == pytest.approx(89.256, abs=0.01)
    half = stats.t.ppf(0.975, 2) * np.log([100, 90, 80]).std(ddof=1) / np.sqrt(3)
    assert speed_of.low == pytest.approx(89.256 * np.exp(-half), rel=0.03)
    assert speed_of.high == pytest.approx(89.256 * np.exp(half), rel=0.03)


# ---------------------------------------------------------------- meter and idle


def summary_with(run: Path, se_j: float | None = None, idle_se_w: float | None = None, after_w: float = 1.0) -> None:
    summary = json.loads((run / "summary.json").read_text())
    summary.pop("crc32", None)
    channel = summary["channels"][0]
    channel["generation"]["se_j"] = se_j
    for name, power in (("idle_before", 1.0), ("idle_after", after_w)):
        channel[name] |= {"mean_w": power, "se_w": idle_se_w}
    (run / "summary.json").write_text(json.dumps(summary))


def analysed(runs: Sequence[Path], **asked: object) -> Analysis:
    return analyse(compare(load(runs)), AnalysisSettings(resamples=1000, **asked))  # type: ignore[arg-type]


def test_the_meters_error_of_a_run_holds_in_proportion_of_fewer_tasks(make_run: MakeRun) -> None:
    names, joules = [f"t{i}" for i in range(100)], np.random.default_rng(0).normal(100, 1, 100).tolist()
    whole = make_run("a", model="family/a-1B", tasks=names, energy_j=joules, scoring_j=0.0)
    part = make_run("b", model="family/b-1B", tasks=names[:20], energy_j=joules[:20], scoring_j=0.0)
    summary_with(whole, se_j=100.0)  # 1 % of 10,000 J
    found = task_table(compare(load([whole, part])))
    assert found.measured.stated_se[0] == pytest.approx(0.01, rel=0.01), "1 %, and not 100 J of 2,000 J"


def test_errors_of_single_readings_count_once(make_run: MakeRun) -> None:
    rng = np.random.default_rng(1)
    names = [f"t{i}" for i in range(60)]
    run = make_run("a", tasks=names, energy_j=rng.normal(100, 5, 60).tolist(), se_j=5.0, scoring_j=0.0)
    summary_with(run, se_j=5.0 * 60**0.5)
    assert task_table(compare(load([run]))).measured.stated_se[0] == pytest.approx(0.0, abs=1e-7)


def test_idle_power_errs_in_intervals_and_tests_alike(make_run: MakeRun) -> None:
    """Two runs whose net energies differ by sqrt 2 of the standard error of what was taken off."""
    names, rng = [f"t{i}" for i in range(60)], np.random.default_rng(0)
    joules = rng.lognormal(3, 0.4, 60)
    runs = []
    for m, factor in (("a", 1.0), ("b", 1.05)):
        net = factor * joules * rng.lognormal(0, 0.005, 60)
        run = make_run(m, model=f"family/{m}-1B", tasks=names, energy_j=(net / 0.75).tolist(), scoring_j=0.0)
        summary = json.loads((run / "summary.json").read_text())
        metered_s = summary["generation_s"] + summary["evaluation_s"]
        summary_with(run, idle_se_w=0.05 / 2 * float(net.sum()) / metered_s)
        runs.append(run)
    (net_pair,) = analysed(runs, energy="net").pairs
    expected = 2 * stats.norm.sf(np.log(1.05) / (0.025 * np.sqrt(2)))
    assert net_pair.energy.p_value == pytest.approx(expected, abs=0.02)
    total = sum(net_pair.energy_variance.values())
    assert net_pair.energy_variance["idle"] / total > 0.95
    low, high = net_pair.energy_ratio.low, net_pair.energy_ratio.high
    assert low is not None
    assert high is not None
    assert low < 1 < high, "no interval that excludes 1 beside a test that does not"
    (gross_pair,) = analysed(runs).pairs
    assert gross_pair.energy.p_value is not None
    assert gross_pair.energy.p_value < 1e-6, "idle is no part of gross"


@pytest.mark.parametrize(("idle", "factor"), [("before", 1 / 3**0.5), ("mean", 1 / 12**0.5), ("none", 0.0), ("5", 0.0)])
def test_drift_of_idle_power_counts_as_it_is_taken_off(make_run: MakeRun, idle: str, factor: float) -> None:
    from dataclasses import replace

    run = make_run("a")
    summary_with(run, idle_se_w=0.0, after_w=3.0)
    opened = replace(load([run]).runs[0], idle=idle)
    metered_s = opened.summary.generation_s + opened.summary.evaluation_s
    assert opened.idle_se_j() == (0.0, pytest.approx(2.0 * factor * metered_s))


@pytest.mark.parametrize(("net", "shown"), [(-3.0, False), (0.1, False), (5.0, True)])
def test_net_energy_that_is_not_above_0_has_no_ratio(net: float, shown: bool) -> None:
    rng = np.random.default_rng(0)
    energy = np.stack([rng.normal(net, 2.0, 40), rng.normal(5, 1.0, 40)])
    draws = draw(table(energy), 2000)
    found = {i.measure: i for i in intervals(draws) if i.label == "c0"}
    for measure in ("energy_kwh", "pass_at_kwh", "solved_per_kwh", "joules_per_token"):
        assert (found[measure].low is not None) == shown, measure
        assert (found[measure].reason is None) == shown
    assert (found["pass_at_kwh"].estimate is None) == (energy[0].sum() <= 0)
    ratio = contrasts(draws, ["energy_kwh"], [(1, 0)])[0].ratio
    assert (ratio.low is not None) == shown
    assert found["pass_at_1"].low is not None


# ---------------------------------------------------------------- counts, few tasks, ranks


@pytest.mark.parametrize("solved", [0, 1, 6, 35, 36])
def test_one_interval_for_counts_wherever_they_lie(solved: int) -> None:
    passed = np.zeros((2, 36), dtype=int)
    passed[0, :solved], passed[1, :18] = 1, 1
    draws = draw(table(np.random.default_rng(0).lognormal(2, 0.2, (2, 36)), passed=passed), 4000)
    found = {i.measure: i for i in intervals(draws) if i.label == "c0"}
    expected = stats.binomtest(solved, 36).proportion_ci(method="wilson")
    share, per_kwh = found["pass_at_1"], found["pass_at_kwh"]
    assert (share.low, share.high) == (pytest.approx(expected.low, abs=1e-12), pytest.approx(expected.high, rel=1e-9))
    assert None not in (per_kwh.low, per_kwh.high, found["energy_kwh"].estimate)
    kwh = found["energy_kwh"].estimate or 1.0
    assert per_kwh.low <= expected.low / kwh * 1.02  # type: ignore[operator]
    assert per_kwh.high >= expected.high / kwh * 0.98  # type: ignore[operator]
    ratio = contrasts(draws, ["pass_at_1"], [(0, 1)])[0].ratio
    assert ratio.high is not None
    assert ratio.high > 0, "none of 36 does not show that a ratio is 0"


def test_the_interval_of_none_is_wider_than_that_of_one() -> None:
    bounds = []
    for solved in (0, 1):
        passed = np.zeros((1, 36), dtype=int)
        passed[0, :solved] = 1
        share = next(iter(intervals(draw(table(np.ones((1, 36)), passed=passed), 100))))
        bounds.append(share.high or 0.0)
    assert 0.08 < bounds[0] < bounds[1]


@pytest.mark.parametrize("tasks", [1, 2])
def test_one_or_two_tasks_tell_nothing_apart(make_run: MakeRun, tasks: int) -> None:
    names = [f"t{i}" for i in range(tasks)]
    runs = [make_run(m, model=f"family/{m}-1B", tasks=names, energy_j=[cost] * tasks, passed=[m == "c"] * tasks)
            for m, cost in (("a", 10.0), ("b", 11.0), ("c", 50.0))]  # fmt: skip
    found = analysed(runs)
    for ranking in found.rankings:
        assert {(r.best_rank, r.worst_rank) for r in ranking.ranked} <= {(1, 3)}
    assert found.any_difference.p_value is None
    assert found.friedman.p_value is None
    assert found.conover.p_values[0][1] is None
    assert all(pair.energy.p_value is None for pair in found.pairs)


@pytest.mark.parametrize(("width", "units"), [(5, 10), (12, 36)])
def test_ranks_of_equal_configurations_overlap(width: int, units: int) -> None:
    """All pairs together at 95 %, 100 experiments; without Student's t it was 22 and 13 %."""
    rng = np.random.default_rng(5)
    wrong = 0
    for number in range(100):
        energy = rng.lognormal(4, 0.6, units) * rng.lognormal(0, 0.1, (width, units))
        draws = draw(table(energy), 200, seed=number)
        name = "energy_kwh"
        ranking = rank(name, "min", draws.labels, draws.estimates[name], draws.resampled[name],
                       spread=spread_of(draws, name))  # fmt: skip
        wrong += any(one.best_rank > 1 for one in ranking.ranked)
    assert wrong / 100 <= 0.13


def test_few_units_that_make_a_difference_give_few_degrees_of_freedom() -> None:
    five = np.zeros(100)
    five[:5] = [1.0, -1.0, 1.0, -1.0, 1.0]
    assert df_of_spread(five) == pytest.approx(2 * 100 / (100 / 5 - 1))
    assert df_of_spread(np.random.default_rng(0).normal(0, 1, 100_000)) == pytest.approx(100_000, rel=0.05)
    assert df_of_spread(np.zeros(10)) == 9.0
    assert df_of_spread(np.array([1.0, -1.0] * 5)) == 9.0, "never more than units"


def test_a_ratio_of_pass_at_kwh_is_less_sure_where_few_verdicts_differ() -> None:
    """Four of 100 verdicts differ: wider than resamples spread, as so few tell little of their own spread."""
    passed = np.tile(np.arange(100) % 2, (2, 1))
    passed[1, [1, 3, 5, 0]] = [0, 0, 0, 1]
    draws = draw(table(np.ones((2, 100)), passed=passed), 20_000)
    ratio = contrasts(draws, ["pass_at_kwh"], [(0, 1)])[0].ratio
    drawn = draws.resampled["pass_at_kwh"]
    plain = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    assert None not in (ratio.low, ratio.high)
    assert np.log(ratio.high / ratio.low) > 1.12 * np.log(plain[1] / plain[0])  # type: ignore[operator]


def test_weights_of_equal_units_are_the_textbooks() -> None:
    assert weight(np.full(10, 0.1)) == (pytest.approx(10 / 9), pytest.approx(9.0))
    heavy = weight(np.array([0.9, *[0.1 / 9] * 9]))
    assert heavy.df == 1.0


# ---------------------------------------------------------------- what is said of accuracy


def pair_of(passed: Sequence[Sequence[int]]) -> list[str]:
    """The verdict of a on b, and of b on a."""
    verdicts = np.array(passed)
    of = table(np.ones(verdicts.shape), passed=verdicts)
    both = compare_pairs(of, [(0, 1)], 0.02)[0], compare_pairs(of, [(1, 0)], 0.02)[0]
    return [about_accuracy(tests, 0.02, 0.05).verdict for tests in both]


def test_difference_equality_and_neither_are_told_apart_in_both_orders() -> None:
    half = [1, 0] * 200
    assert pair_of([half, half]) == ["equal", "equal"]
    assert pair_of([[0] * 40, [1] * 30 + [0] * 10]) == ["loss", "gain"]
    assert pair_of([[1] * 36, [0] * 36]) == ["gain", "loss"], "all and none"
    assert pair_of([half[:40], [*half[:38], 1, 1]]) == ["not known", "not known"]


def test_equal_verdicts_of_greedy_repeats_are_shown_to_be_equal() -> None:
    """Three runs that gave the same verdicts: as sure as one, and no less."""
    passed = np.array([[1, 0] * 100] * 2)
    once = compare_pairs(table(np.ones((2, 200)), passed=passed), [(0, 1)], 0.02)[0].accuracy
    thrice = compare_pairs(table(np.ones((2, 200)), passed=3 * passed, evaluated=np.full((2, 200), 3)), [(0, 1)], 0.02)
    assert once.p_equivalent == pytest.approx(0.0217, abs=1e-4)
    assert thrice[0].accuracy.p_equivalent == pytest.approx(once.p_equivalent)


def test_claims_of_no_loss_are_adjusted_for_their_number() -> None:
    rng = np.random.default_rng(0)
    passed = (rng.random((8, 300)) < 0.5).astype(int)
    pairs = compare_pairs(table(np.ones((8, 300)), passed=passed), [(i, j) for i in range(8) for j in range(i)], 0.1)
    raw = [p for pair in pairs for p in (pair.accuracy.p_non_inferior, pair.accuracy.p_b_non_inferior)]
    held = [p for pair in pairs for p in (pair.not_worse_p_holm, pair.b_not_worse_p_holm)]
    least = min(p for p in raw if p is not None)
    assert min(p for p in held if p is not None) == pytest.approx(min(1.0, least * 28)), "28 can be false together"


def test_greedy_copies_have_no_pass_at_5() -> None:
    of = table(np.ones((1, 8)), evaluated=np.full((1, 8), 5), passed=np.full((1, 8), 5), greedy=True)
    assert "copies" in str(of.missing_pass_at(5)[0])
    assert of.missing_pass_at(1) == (None,)


# ---------------------------------------------------------------- what is missing


def test_level_and_kind_of_energy_are_followed_everywhere(make_run: MakeRun) -> None:
    names, rng = [f"t{i}" for i in range(30)], np.random.default_rng(0)
    joules = rng.lognormal(3, 0.3, 30)
    runs = [make_run(f"{m}{r}", model=f"family/{m}-1B", repeat=r, tasks=names,
                     energy_j=(joules * rng.lognormal(0, 0.05, 30)).tolist(), scoring_j=0.0)
            for m in "ab" for r in range(2)]  # fmt: skip
    found = analysed(runs, level=0.8, energy="net")
    levels = set(re.findall(r'"(?:level|alpha)":([0-9.]+)', found.model_dump_json()))
    assert levels == {"0.8", "0.2"}
    gross = {i.label: i.estimate for i in analysed(runs).intervals if i.measure == "energy_kwh"}
    net = {i.label: i.estimate for i in found.intervals if i.measure == "energy_kwh"}
    assert net == {label: pytest.approx(0.75 * (value or 0.0)) for label, value in gross.items()}


def test_a_run_without_energy_or_verdicts_does_not_take_the_others(make_run: MakeRun) -> None:
    names = [f"t{i}" for i in range(12)]
    rng = np.random.default_rng(0)
    runs = [make_run(m, model=f"family/{m}-1B", tasks=names, energy_j=rng.lognormal(3, 0.3, 12).tolist()) for m in "ab"]
    dark = make_run("dark", model="family/dark-1B", tasks=names, energy_j=[None] * 12)
    found = analysed([*runs, dark])
    assert found.friedman.p_value is not None
    assert found.kruskal_wallis.p_value is not None
    assert [e.label for e in found.mixed.effects] == ["b-1B"]
    assert any("dark-1B has no energy" in note for note in found.notes)
    again = make_run("again", model="family/a-1B", repeat=1, tasks=names, energy_j=[None] * 12)
    repeated = task_table(compare(load([*runs, again])))
    assert not np.isnan(repeated.energy_j).any()
    assert any("1 of 2 runs have no energy" in note for note in repeated.notes)


# ---------------------------------------------------------------- time


@pytest.mark.parametrize(("r", "blocked"), [(0.0, False), (0.5, True), (0.8, True)])
def test_what_follows_itself_in_time_is_taken_in_blocks(make_run: MakeRun, r: float, blocked: bool) -> None:
    rng = np.random.default_rng(2)
    names = [f"t{i}" for i in range(300)]
    common = rng.lognormal(4, 0.6, 300)
    runs = []
    for m in "ab":
        noise = np.zeros(300)
        for i in range(1, 300):
            noise[i] = r * noise[i - 1] + rng.normal(0, 0.1 * np.sqrt(1 - r**2))
        runs.append(make_run(m, model=f"family/{m}-1B", tasks=names, energy_j=(common * np.exp(noise)).tolist()))
    found = task_table(compare(load(runs)))
    assert (found.kinds[0] == "time block") == blocked
    assert any("follow one another in time" in note for note in found.notes) == blocked
    assert (found.measured.joint.number < 100) == blocked


def test_blocks_are_as_long_as_the_memory() -> None:
    rng = np.random.default_rng(0)
    white = rng.normal(0, 1, (1, 400))
    assert follows(white) == 0.0
    assert block_length(0.0, 400) == 1
    slow = np.cumsum(rng.normal(0, 1, (1, 400)), axis=1)
    assert follows(slow) == 0.95
    assert block_length(0.95, 400) == 50, "eight blocks are left"
    assert block_length(0.5, 400) == 15, "five times (1 + 0.5) / (1 - 0.5)"
    assert follows(slow[:, :10]) == 0.0
    assert lag_one(np.array([1.0, -1.0] * 10)) == pytest.approx(-0.95)


@pytest.mark.parametrize("r", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("length", [1, 12, 50])
def test_what_blocks_still_share_is_that_of_an_autoregression(r: float, length: int) -> None:
    lag = np.abs(np.subtract.outer(np.arange(length), np.arange(length)))
    of_block = float((r**lag).sum()) / length if r else 1.0
    assert widening(r, length) == pytest.approx((1 + r) / (1 - r) / of_block)


def test_a_summary_test_is_of_the_kind_it_says() -> None:
    result = energy_contrast(table(np.ones((2, 2))).measured, 0, 1)
    assert isinstance(result, TestResult)
    assert "too few" in str(result.reason)
