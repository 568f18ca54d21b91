"""Frontiers against the definition written out, hypervolume against counted cells, knees worked by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from passkwh.analysis.pareto import (
    best_under_budget,
    cheapest_above_floor,
    frontier,
    frontier_probability,
    hypervolume,
    knee,
)

points = st.integers(1, 4).flatmap(
    lambda m: st.tuples(
        st.lists(st.lists(st.integers(0, 4), min_size=m, max_size=m), min_size=1, max_size=9),
        st.lists(st.sampled_from(["min", "max"]), min_size=m, max_size=m),
    )
)


def dominates(a: list[int], b: list[int], directions: list[str]) -> bool:
    better = [x < y if d == "min" else x > y for x, y, d in zip(a, b, directions, strict=True)]
    worse = [x > y if d == "min" else x < y for x, y, d in zip(a, b, directions, strict=True)]
    return any(better) and not any(worse)


@given(points)
def test_frontier_is_what_nothing_dominates(case: tuple[list[list[int]], list[str]]) -> None:
    rows, directions = case
    expected = [not any(dominates(other, row, directions) for other in rows) for row in rows]
    assert frontier(rows, directions) == expected  # type: ignore[arg-type]
    assert any(expected)


@given(points)
def test_hypervolume_equals_the_number_of_dominated_cells(case: tuple[list[list[int]], list[str]]) -> None:
    rows, directions = case
    reference = [5 if d == "min" else -1 for d in directions]
    costs = [[x if d == "min" else 4 - x for x, d in zip(row, directions, strict=True)] for row in rows]
    cells = sum(
        any(all(c <= x for c, x in zip(row, cell, strict=True)) for row in costs)
        for cell in product(range(5), repeat=len(directions))
    )
    assert hypervolume(rows, directions, reference) == pytest.approx(cells)  # type: ignore[arg-type]


def test_ties_and_duplicates() -> None:
    rows = [[1.0, 0.5], [1.0, 0.5], [1.0, 0.4], [2.0, 0.5], [0.5, 0.1]]
    assert frontier(rows, ["min", "max"]) == [True, True, False, False, True]


def test_a_missing_measure_neither_wins_nor_beats() -> None:
    nan = float("nan")
    assert frontier([[nan, 0.9], [1.0, 0.5], [0.1, nan]], ["min", "max"]) == [False, True, False]
    assert frontier([], ["min", "max"]) == []


def test_directions_must_match() -> None:
    with pytest.raises(ValueError, match="direction"):
        frontier([[1.0, 2.0]], ["min"])
    with pytest.raises(ValueError, match="direction"):
        frontier([[1.0]], ["up"])  # type: ignore[list-item]


def test_hypervolume_ignores_points_beyond_the_reference() -> None:
    assert hypervolume([[1.0, 0.5], [9.0, 0.9]], ["min", "max"], [4.0, 0.0]) == pytest.approx(1.5)
    assert hypervolume([], ["min", "max"], [4.0, 0.0]) == 0.0


def test_knee() -> None:
    rows = [[0.0, 0.0], [1.0, 8.0], [5.0, 9.0], [10.0, 10.0], [9.0, 1.0]]
    assert knee(rows, ["min", "max"]) == 1
    assert knee([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]], ["min", "max"]) is None, "a straight frontier has no knee"
    assert knee([[0.0, 0.0], [1.0, 1.0]], ["min", "max"]) is None
    assert knee([[0.0, 0.0], [9.0, 1.0], [10.0, 10.0]], ["min", "max"]) is None, "a concave one has none either"


def test_choices_under_a_constraint() -> None:
    accuracy, energy = [0.3, 0.5, 0.5, 0.7, float("nan")], [1.0, 3.0, 2.0, 5.0, 0.1]
    assert best_under_budget(accuracy, energy, 4.0) == 2
    assert best_under_budget(accuracy, energy, 0.5) is None
    assert cheapest_above_floor(accuracy, energy, 0.4) == 2
    assert cheapest_above_floor(accuracy, energy, 0.8) is None


def test_frontier_probability_counts_resamples() -> None:
    draws = np.array([[[1.0, 0.5], [2.0, 0.6]], [[1.0, 0.7], [2.0, 0.6]], [[3.0, 0.5], [2.0, 0.6]]])
    assert frontier_probability(draws, ["min", "max"]).tolist() == pytest.approx([2 / 3, 2 / 3])
    with pytest.raises(ValueError, match="resamples"):
        frontier_probability(draws[0], ["min", "max"])
