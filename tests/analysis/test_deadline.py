"""The cheapest within a deadline, against going through all."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from passkwh.analysis.deadline import COST, LATENCIES, cheapest_within, within_each
from passkwh.measures import MEASURES

values = st.integers(1, 6).map(float)
points = st.lists(st.tuples(values, values), max_size=12)


@given(points, values)
def test_the_cheapest_is_in_time_and_nothing_in_time_is_cheaper(
    some: list[tuple[float, float]], deadline_s: float
) -> None:
    costs, latencies_s = ([point[i] for point in some] for i in (0, 1))
    found = cheapest_within(costs, latencies_s, deadline_s)
    in_time = [point for point in some if point[1] <= deadline_s]
    assert (found is None) == (not in_time)
    if found is not None:
        assert some[found] == min(in_time)
        assert found == some.index(min(in_time))


@given(points)
def test_each_is_the_cheapest_within_its_own_latency_and_no_deadline_has_another(
    some: list[tuple[float, float]],
) -> None:
    costs, latencies_s = ([point[i] for point in some] for i in (0, 1))
    each = within_each(costs, latencies_s)
    assert [cheapest_within(costs, latencies_s, latencies_s[i]) for i in each] == each
    assert {cheapest_within(costs, latencies_s, float(d)) for d in range(1, 7)} - {None} <= set(each)
    assert sorted(costs[i] for i in each)[::-1] == [costs[i] for i in each]


def test_what_is_missing_is_neither_cheap_nor_in_time() -> None:
    assert cheapest_within([1.0, 2.0, math.nan], [math.nan, 3.0, 1.0], 5.0) == 1
    assert within_each([], []) == []


def test_costs_and_latencies_are_measures_of_a_run() -> None:
    assert {MEASURES[name].better for name in (COST, *LATENCIES)} == {"min"}
