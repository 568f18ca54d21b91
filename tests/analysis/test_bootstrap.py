"""The bootstrap against a loop that draws one task at a time, and what it says of degenerate data."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from passkwh.analysis.bootstrap import draw, draw_each
from passkwh.analysis.intervals import contrasts, intervals
from passkwh.analysis.ranking import rank, significantly_larger
from passkwh.analysis.tasks import TaskTable
from passkwh.analysis.tradeoff import tradeoff


def table(
    configurations: int = 3, tasks: int = 40, n: int = 2, seed: int = 0, relative_se: float = 0.0, **changes: object
) -> TaskTable:
    rng = np.random.default_rng(seed)
    shape = (configurations, tasks)
    values: dict[str, object] = {
        "evaluated": np.full(shape, n),
        "passed": rng.binomial(n, 0.4, shape),
        "energy_j": rng.lognormal(5, 0.5, shape) * (1 + np.arange(configurations))[:, None],
        "generation_j": rng.lognormal(4, 0.5, shape),
        "tokens": rng.integers(50, 500, shape).astype(float),
        "generation_s": rng.uniform(1, 5, shape),
        "stated": {"meter": np.full(configurations, relative_se)},
        **changes,
    }
    labels = tuple(f"c{i}" for i in range(configurations))
    return TaskTable(labels, tuple(f"t{i}" for i in range(tasks)), **values)  # type: ignore[arg-type]


def test_draws_equal_a_loop_over_tasks() -> None:
    data = table()
    draws = draw(data, resamples=50, seed=3, ks=(1, 2))
    rng = np.random.default_rng(3)
    rng.standard_normal((50, 3))
    picked = rng.integers(0, 40, size=(50, 40), dtype=np.int32)
    rates, pairs = np.empty((50, 3)), np.empty((50, 3))
    for b in range(50):
        for c in range(3):
            energy_kwh = sum(data.energy_j[c, t] for t in picked[b]) / 3.6e6
            solved = sum(data.passed[c, t] / 2 for t in picked[b])
            both = sum(data.passed[c, t] > 0 for t in picked[b]) / 40
            assert draws.resampled["energy_kwh"][b, c] == pytest.approx(energy_kwh, rel=1e-12)
            shown = draws.resampled["pass_at_1"][b, c]
            assert draws.resampled["pass_at_kwh"][b, c] == pytest.approx(shown / energy_kwh, rel=1e-12)
            assert draws.resampled["solved_per_kwh"][b, c] == pytest.approx(40 * shown / energy_kwh, rel=1e-12)
            rates[b, c], pairs[b, c] = solved / 40, both
            tokens = sum(data.tokens[c, t] for t in picked[b])
            joules = sum(data.generation_j[c, t] for t in picked[b])
            assert draws.resampled["joules_per_token"][b, c] == pytest.approx(joules / tokens, rel=1e-12)
    for c in range(3):  # shares keep the order of the resamples, with the spread of Wilson's interval
        for drawn, name in ((rates[:, c], "pass_at_1"), (pairs[:, c], "pass_at_2")):
            assert (np.diff(drawn[np.argsort(draws.resampled[name][:, c])]) >= -1e-12).all()
    assert draws.estimates["energy_kwh"][1] == pytest.approx(data.energy_j[1].sum() / 3.6e6, rel=1e-12)


def test_the_same_seed_gives_the_same_and_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    first = draw(table(), 300, seed=1).resampled["pass_at_kwh"]
    assert np.array_equal(first, draw(table(), 300, seed=1).resampled["pass_at_kwh"])
    assert not np.array_equal(first, draw(table(), 300, seed=2).resampled["pass_at_kwh"])
    monkeypatch.setattr("passkwh.analysis.bootstrap._CHUNK_BYTES", 40 * 8 * 7)
    assert np.allclose(first, draw(table(), 300, seed=1).resampled["pass_at_kwh"], rtol=1e-12)


def test_intervals_are_expanded_percentiles() -> None:
    draws = draw(table(tasks=12), 2000, seed=5)
    tail = stats.norm.cdf(-np.sqrt(12 / 11) * stats.t.ppf(0.975, 11))
    low, high = np.quantile(draws.resampled["energy_kwh"][:, 1], [tail, 1 - tail])
    found = next(i for i in intervals(draws) if (i.measure, i.label) == ("energy_kwh", "c1"))
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-12)


def test_standard_error_of_a_mean_is_the_textbooks() -> None:
    data = table(tasks=200)
    draws = draw(data, 4000, seed=6)
    expected = data.energy_j[0].std() * np.sqrt(200) / 3.6e6
    assert draws.resampled["energy_kwh"][:, 0].std() == pytest.approx(expected, rel=0.05)


def test_the_meters_error_widens_energy_but_not_accuracy() -> None:
    exact, noisy = draw(table(), 2000, seed=7), draw(table(relative_se=0.2), 2000, seed=7)
    assert np.array_equal(exact.resampled["pass_at_1"], noisy.resampled["pass_at_1"])
    ratio = noisy.resampled["energy_kwh"] / exact.resampled["energy_kwh"]
    assert ratio.std(axis=0) == pytest.approx(0.2, rel=0.1)


def test_contrasts_are_joint() -> None:
    """A configuration and its double vary together, so their ratio has no uncertainty at all."""
    data = table(configurations=2)
    doubled = np.stack([data.energy_j[0], 2 * data.energy_j[0]])
    (contrast,) = contrasts(draw(table(configurations=2, energy_j=doubled), 500), ["energy_kwh"], [(1, 0)])
    assert (contrast.ratio.low, contrast.ratio.high) == pytest.approx((2.0, 2.0))
    assert contrast.difference.low is not None
    assert contrast.difference.high is not None
    assert contrast.difference.low < contrast.difference.high


def test_zero_passes_missing_energy_and_one_task_say_why() -> None:
    none = table(passed=np.zeros((3, 40), dtype=int))
    draws = draw(none, 200)
    found = {(i.measure, i.label): i for i in intervals(draws)}
    zero = found["pass_at_1", "c0"]
    exact = stats.binomtest(0, 40).proportion_ci(method="wilson")
    assert (zero.estimate, zero.low) == (0.0, 0.0)
    assert zero.high == pytest.approx(exact.high, rel=1e-9), "none of 40 does not show that it never happens"
    assert "no task was solved" in str(zero.note)
    kwh = found["energy_kwh", "c0"].estimate
    assert kwh is not None
    per_kwh, solved = found["pass_at_kwh", "c0"], found["solved_per_kwh", "c0"]
    assert per_kwh.low == 0.0
    assert per_kwh.high == pytest.approx(exact.high / kwh, rel=0.1), "as uncertain as pass@1, and energy a little"
    assert solved.high == pytest.approx(40 * (per_kwh.high or 0), rel=1e-9)
    every = draw(table(passed=np.full((3, 40), 2)), 200)
    assert next(iter(intervals(every))).low == pytest.approx(1 - exact.high, rel=1e-9)
    (same,) = contrasts(draws, ["pass_at_1"], [(0, 1)])
    half = stats.norm.ppf(0.975) ** 2 / (40 + stats.norm.ppf(0.975) ** 2)
    assert same.difference.estimate == 0.0
    assert same.difference.high == pytest.approx(half, rel=1e-6), "Tango's interval without discordant tasks"
    (contrast,) = contrasts(draws, ["pass_at_kwh"], [(0, 1)])
    assert contrast.ratio.estimate is None
    assert "divide by zero" in str(contrast.ratio.reason)
    energy = table().energy_j.copy()
    energy[1] = np.nan
    dark = {(i.measure, i.label): i for i in intervals(draw(table(energy_j=energy), 200))}
    assert dark["energy_kwh", "c1"].estimate is None
    assert dark["energy_kwh", "c1"].reason
    assert dark["energy_kwh", "c0"].low is not None
    single = next(iter(intervals(draw(table(tasks=1), 200))))
    assert single.estimate is not None
    assert single.low is None
    assert "three units" in str(single.reason)
    with pytest.raises(ValueError, match="no task"):
        draw(table(tasks=0), 10)


def test_pass_at_k_needs_k_evaluated_samples_of_every_task_of_its_configuration() -> None:
    evaluated = np.full((2, 40), 5)
    evaluated[1, :3] = 4
    draws = draw(table(configurations=2, evaluated=evaluated, passed=np.minimum(evaluated, 2)), 200, ks=(1, 5))
    found = {(i.measure, i.label): i for i in intervals(draws)}
    assert found["pass_at_5", "c0"].estimate == 1.0
    missing = found["pass_at_5", "c1"]
    assert (missing.estimate, missing.low) == (None, None)
    assert missing.reason == "3 of 40 tasks have fewer than 5 evaluated samples"
    assert found["pass_at_1", "c1"].estimate == pytest.approx((37 * 0.4 + 3 * 0.5) / 40)
    (contrast,) = contrasts(draws, ["pass_at_5"], [(0, 1)])
    assert contrast.difference.reason == missing.reason
    unjudged = evaluated.copy()
    unjudged[1] = 0
    mixed = draw(table(configurations=2, evaluated=unjudged, passed=np.minimum(unjudged, 2)), 200)
    found = {(i.measure, i.label): i for i in intervals(mixed)}
    assert found["pass_at_1", "c0"].estimate == pytest.approx(0.4), "another's missing verdicts do not take its own"
    assert found["pass_at_kwh", "c1"].reason == "samples have no verdicts"


def test_each_of_many_tables_is_drawn_as_if_alone() -> None:
    tables = [table(configurations=2, seed=seed, relative_se=0.1) for seed in (1, 2)]
    for many, alone in zip(draw_each(tables, 300), (draw(t, 300) for t in tables), strict=True):
        for name, values in alone.resampled.items():
            assert np.allclose(many.resampled[name], values, rtol=1e-12)
    assert draw_each([]) == []
    with pytest.raises(ValueError, match="as many"):
        draw_each([table(tasks=3), table(tasks=4)])


def test_rarely_passing_configurations_have_a_ratio_as_uncertain_as_they_are() -> None:
    passed = np.zeros((2, 40), dtype=int)
    passed[0, :20], passed[1, 0] = 2, 2
    (contrast,) = contrasts(draw(table(configurations=2, passed=passed), 2000), ["pass_at_1"], [(0, 1)])
    low, high = stats.binomtest(1, 40).proportion_ci(method="wilson")
    assert contrast.ratio.estimate == pytest.approx(20.0)
    assert contrast.ratio.low is not None
    assert contrast.ratio.high is not None
    assert contrast.ratio.low < 0.5 / high * 1.5
    assert contrast.ratio.high > 0.5 / low / 1.5


def ranked(estimates: list[float], spread: float, seed: int = 0) -> dict[str, tuple[int, int, int, str]]:
    rng = np.random.default_rng(seed)
    draws = np.array(estimates) + rng.normal(0, spread, (2000, len(estimates)))
    labels = [f"c{i}" for i in range(len(estimates))]
    found = rank("x", "max", labels, np.array(estimates), draws)
    return {r.label: (r.rank, r.best_rank, r.worst_rank, r.groups) for r in found.ranked}


def test_ranks_of_what_can_and_cannot_be_told_apart() -> None:
    assert ranked([1.0, 3.0, 2.0], 0.01) == {"c1": (1, 1, 1, "a"), "c2": (2, 2, 2, "b"), "c0": (3, 3, 3, "c")}
    assert {r[1:3] for r in ranked([1.0, 1.1, 1.2], 1.0).values()} == {(1, 3)}
    chain = ranked([1.0, 2.0, 3.0], 0.4)
    assert chain["c2"][3] == "a"
    assert set(chain["c1"][3]) <= {"a", "b"}
    # Neighbours are alike and the ends are not: the middle shares a letter with each.
    assert (chain["c1"][3], chain["c0"][3]) == ("ab", "b")
    assert chain["c1"][1:3] == (1, 3)


def test_equal_estimates_share_a_rank_and_missing_ones_are_left_out() -> None:
    draws = np.tile([2.0, 2.0, np.nan], (100, 1))
    found = rank("x", "min", ["a", "b", "c"], np.array([2.0, 2.0, np.nan]), draws)
    assert [r.rank for r in found.ranked] == [1, 1]
    assert found.left_out == ("c",)
    constant = significantly_larger(np.array([1.0, 2.0]), np.tile([1.0, 2.0], (50, 1)))
    assert constant.tolist() == [[False, False], [True, False]]


def test_tradeoff_names_knee_and_choices() -> None:
    passed = np.zeros((4, 40), dtype=int)
    for i, solved in enumerate((4, 30, 32, 10)):
        passed[i, :solved] = 2
    energy = np.full((4, 40), 1.0) * np.array([[1.0], [2.0], [9.0], [9.5]]) * 90_000
    found = tradeoff(
        draw(table(configurations=4, passed=passed, energy_j=energy), 300), budget_kwh=3.0, accuracy_floor=0.6
    )
    assert found is not None
    assert [p.on_frontier for p in found.points] == [True, True, True, False]
    assert found.knee == "c1"
    assert found.best_under_budget == "c1"
    assert found.cheapest_above_floor == "c1"
    assert found.points[0].probability == 1.0
    assert found.hypervolume == pytest.approx((9.5 - 1) * 0.1 + (9.5 - 2) * 0.65 + (9.5 - 9) * 0.05)
    blind = table(configurations=2, energy_j=np.full((2, 40), np.nan))
    assert tradeoff(draw(blind, 100)) is None
