"""Reconstruction against known truth: errors, stated intervals, and laws that hold for any windows.

``perf/metering.py`` does the same at length and beside other methods.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passkwh.harness.meter.simulated import PROFILES, Profile
from passkwh.harness.meter.updates import find_updates
from perf.laboratory import CHANNEL, Experiment, clock_ns

DURATION_S = 100.0


@cache
def load() -> tuple[tuple[float, float], ...]:
    """Steps between idle and several powers, with ripple; seconds and watts."""
    generator = np.random.default_rng(17)
    points: list[tuple[float, float]] = []
    now_s = 0.0
    while now_s < DURATION_S:
        length_s, power_w = generator.uniform(0.4, 3.0), generator.choice([60.0, 150.0, 220.0, 300.0])
        times = np.linspace(now_s, now_s + length_s, max(2, int(length_s / 0.05)))
        points += zip(
            times.tolist(), (power_w * (1 + 0.02 * generator.standard_normal(len(times)))).tolist(), strict=True
        )
        now_s += length_s
    return tuple(points)


COUNTERS = {
    "20 ms": Profile(period=0.02, jitter=0.004),
    "50 ms": Profile(period=0.05, jitter=0.01),
    "100 ms": Profile(period=0.1, jitter=0.02),
    "50 ms, 1 J": Profile(period=0.05, jitter=0.01, resolution=1.0),
    "RAPL with wraps": Profile(period=0.001, resolution=15.3e-6, wrap=1000.0),
}
POWERS = {
    "power": Profile(kind="power_w", period=0.02, jitter=0.002),
    "power, 1 s average": Profile(kind="power_1s_w", period=0.1, jitter=0.01),
}


@cache
def experiment(name: str) -> Experiment:
    from dataclasses import replace

    return Experiment(replace({**COUNTERS, **POWERS}[name], curve=load()), DURATION_S)


def errors(name: str, length_s: float, count: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Error, stated standard error and truth of random windows, in joules."""
    lab = experiment(name)
    starts = np.random.default_rng(5).uniform(4, DURATION_S - 4 - length_s, count)
    found = []
    for start_s in starts.tolist():
        energy = lab.trace.energy(CHANNEL, 0, clock_ns(start_s), clock_ns(start_s + length_s))
        truth_j = lab.truth_j(start_s, start_s + length_s)
        assert energy.gross_j is not None
        assert energy.se_j is not None
        found.append((energy.gross_j - truth_j, energy.se_j, truth_j))
    error_j, se_j, truth = np.array(found).T
    return error_j, se_j, truth


@pytest.mark.parametrize("name", COUNTERS)
def test_counters_keep_the_promised_errors(name: str) -> None:
    for length_s, allowed in ((0.2, 0.05), (1.0, 0.01)):
        error_j, _, truth_j = errors(name, length_s)
        assert np.mean(np.abs(error_j / truth_j)) < allowed
        assert abs(error_j.sum() / truth_j.sum()) < 0.005


@pytest.mark.parametrize("name", [*COUNTERS, *POWERS])
def test_stated_intervals_hold_the_truth_about_as_often_as_they_say(name: str) -> None:
    held = [np.abs(error_j) <= 1.96 * se_j for error_j, se_j, _ in (errors(name, length) for length in (0.2, 1.0, 5.0))]
    assert 0.90 < np.mean(held) < 0.995


def test_a_one_second_average_is_undone() -> None:
    error_j, _, truth_j = errors("power, 1 s average", 1.0)
    assert np.mean(np.abs(error_j / truth_j)) < 0.01


def test_a_window_that_begins_with_the_load_loses_nothing() -> None:
    steps = [
        a[0] for a, b in zip(load(), load()[1:], strict=False) if a[0] == b[0] and b[1] - a[1] > 60 and 5 < a[0] < 90
    ]
    lab = experiment("100 ms")
    relative = []
    for start_s in steps:
        energy = lab.trace.energy(CHANNEL, 0, clock_ns(start_s), clock_ns(start_s + 0.4))
        assert energy.gross_j is not None
        relative.append(energy.gross_j / lab.truth_j(start_s, start_s + 0.4) - 1)
    # One straight line per update period would lose a sixth of it: 4 % of these windows.
    assert len(steps) > 5
    assert abs(np.mean(relative)) < 0.02


MOMENTS = st.lists(st.floats(2.0, DURATION_S - 3.0), min_size=3, max_size=3, unique=True).map(sorted)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([*COUNTERS, *POWERS]), MOMENTS)
def test_parts_add_up_and_a_counter_never_gives_less_than_nothing(name: str, moments: list[float]) -> None:
    lab = experiment(name)
    first, middle, last = (clock_ns(moment) for moment in moments)
    parts = [lab.trace.energy(CHANNEL, 0, a, b).gross_j for a, b in ((first, middle), (middle, last), (first, last))]
    assert parts[0] is not None
    assert parts[1] is not None
    assert parts[0] + parts[1] == pytest.approx(parts[2], rel=1e-9, abs=1e-6)
    if name in COUNTERS:
        assert parts[0] >= -1e-9
    assert lab.trace.energy(CHANNEL, 0, first, first).gross_j == pytest.approx(0.0, abs=1e-9)


@given(st.floats(0.03, 0.2), st.floats(0.0, 0.15), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_the_update_period_is_found_whatever_it_is(period_s: float, jitter: float, seed: int) -> None:
    profile = Profile(period=period_s, jitter=jitter * period_s, curve=((0.0, 100.0), (1.0, 120.0)), seed=seed)
    series = Experiment(profile, 20.0, seed=seed).series
    updates = find_updates((series.time_ns - series.time_ns[0]) / 1e9, series.value)
    # Close to two readings, 40 ms, updates fall on every second or third reading, and their times say less.
    rel = 0.15 if 0.035 < period_s < 0.045 else 0.05
    assert updates.period_s == pytest.approx(period_s, rel=rel)


def test_profiles_of_the_laboratory_are_what_they_say() -> None:
    for name, profile in PROFILES.items():
        lab = Experiment(profile, 5.0)
        assert lab.truth_j(1.0, 3.0) > 0, name
        again = Experiment(profile, 5.0)
        np.testing.assert_array_equal(lab.series.value, again.series.value)
