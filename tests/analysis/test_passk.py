"""pass@k against enumeration of every subset, and the ratios per kilowatt-hour against arithmetic by hand."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from passkwh.passk import (
    expected_solved,
    mean_pass_at_k,
    pass_at_k,
    pass_at_k_by_task,
    pass_at_kwh,
    solved_per_kwh,
)


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int, int]:
    n = draw(st.integers(1, 9))
    return n, draw(st.integers(0, n)), draw(st.integers(1, n))


@given(counts())
def test_equals_the_share_of_subsets_with_a_pass(case: tuple[int, int, int]) -> None:
    n, c, k = case
    passed = [i < c for i in range(n)]
    subsets = list(combinations(passed, k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(any(s) for s in subsets) / len(subsets), abs=1e-12)


def test_large_n_does_not_overflow_and_agrees_with_the_product_form() -> None:
    n, c, k = 2000, 3, 100
    product = 1.0 - float(np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))
    assert pass_at_k(n, c, k) == pytest.approx(product, abs=1e-12)


@pytest.mark.parametrize(("n", "c", "k"), [(3, 4, 1), (3, -1, 1), (3, 1, 0), (3, 1, 4), (0, 0, 1)])
def test_impossible_counts_are_refused(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match=r"complet"):
        pass_at_k(n, c, k)


def test_mean_over_tasks_and_expected_solved() -> None:
    tasks = [(4, 0), (4, 1), (4, 4)]
    assert mean_pass_at_k(tasks, 1) == pytest.approx((0 + 0.25 + 1) / 3)
    assert mean_pass_at_k(tasks, 4) == pytest.approx(2 / 3)
    assert expected_solved(tasks) == pytest.approx(1.25)
    assert mean_pass_at_k([], 1) is None
    assert pass_at_k_by_task([4, 4, 4], [0, 1, 4], 2).tolist() == [pass_at_k(4, c, 2) for c in (0, 1, 4)]


def test_per_kilowatt_hour() -> None:
    assert pass_at_kwh(0.34, 0.16 * 3.6e6) == pytest.approx(2.125)
    assert solved_per_kwh(57.0, 1.8e6) == pytest.approx(114.0)
    assert pass_at_kwh(0.0, 3.6e6) == 0.0


@pytest.mark.parametrize("energy_j", [None, 0.0, -1.0, float("nan")])
def test_a_ratio_without_meaning_is_missing_not_zero(energy_j: float | None) -> None:
    assert pass_at_kwh(0.5, energy_j) is None
    assert pass_at_kwh(None, 1.0) is None
