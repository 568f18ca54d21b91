"""The exit layout of the paper, and what cannot be one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passkwh.adapters.early_exit.layout import ExitLayout, default_layout
from passkwh.errors import UsageError


@pytest.mark.parametrize(("depth", "exits"), [(28, 9), (32, 10)])
def test_exits_are_as_many_as_the_paper_says(depth: int, exits: int) -> None:
    layout = default_layout(depth)
    assert len(layout.exits) == exits
    assert layout.exits[0] == 4
    assert layout.exits[-1] == depth


def test_weights_of_28_layers_follow_the_paper() -> None:
    weights = default_layout(28).weights()
    early = sum(0.9**place for place in range(5))
    late = sum(0.9**place for place in range(3))
    expected = [0.7 * 0.9**p / early for p in range(5)] + [0.2 * 0.9**p / late for p in range(3)] + [0.1]
    assert weights == pytest.approx(expected, abs=1e-12)


@given(st.integers(1, 120))
def test_any_depth_has_a_layout_whose_weights_sum_to_one(depth: int) -> None:
    layout = default_layout(depth)
    assert layout.exits[-1] == depth
    assert len(layout.weights()) == len(layout.exits)
    assert sum(layout.weights()) == pytest.approx(1)
    assert all(weight > 0 for weight in layout.weights())


@pytest.mark.parametrize("exits", [(), (4, 4, 8), (6, 4, 8), (0, 8), (4, 6)])
def test_a_layout_that_does_not_fit_names_both(exits: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="model of 8 layers"):
        ExitLayout(8, exits)
