"""The exit layout of GREEN-CODE's authors, and what cannot be one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passkwh.adapters.early_exit.layout import ExitLayout, default_layout
from passkwh.errors import UsageError

AUTHORS_32 = [3, 5, 7, 9, 11, 13, 15, 19, 23, 27]
"""``allowed_exits`` of the authors' readme, for 32 layers counted from 0; the last layer is no part of it."""


def test_exits_of_32_layers_are_the_authors_list() -> None:
    assert default_layout(32).exits == (*(layer + 1 for layer in AUTHORS_32), 32)


@pytest.mark.parametrize(
    ("depth", "exits"),
    [
        (28, (4, 6, 8, 10, 12, 14, 18, 22, 26, 28)),
        (30, (4, 6, 8, 10, 12, 14, 18, 22, 26, 30)),
        (24, (4, 6, 8, 10, 12, 16, 20, 24)),
        (8, (4, 8)),
        (6, (6,)),
    ],
)
def test_the_middle_layer_is_an_exit_of_the_first_half(depth: int, exits: tuple[int, ...]) -> None:
    assert default_layout(depth).exits == exits


@pytest.mark.parametrize(("depth", "before_last"), [(28, 9), (32, 10)])
def test_exits_before_the_last_are_as_many_as_the_paper_says(depth: int, before_last: int) -> None:
    assert len(default_layout(depth).exits) - 1 == before_last


@pytest.mark.parametrize(("depth", "first", "middle"), [(28, 0.1494, 0.0882), (32, 0.1342, 0.0713)])
def test_weights_are_those_of_figure_3(depth: int, first: float, middle: float) -> None:
    layout = default_layout(depth)
    weight = dict(zip(layout.exits, layout.weights(), strict=True))
    assert weight[4] == pytest.approx(first, abs=5e-5)
    assert weight[depth // 2] == pytest.approx(middle, abs=5e-5)
    second = [weight[layer] for layer in layout.exits[:-1] if layer > depth // 2]
    assert sum(second) == pytest.approx(0.2)
    assert second[1] / second[0] == pytest.approx(0.9)
    assert weight[depth] == pytest.approx(0.1)


def test_the_middle_layer_weighs_the_same_in_exits_given_by_hand() -> None:
    exits = (4, 6, 8, 10, 12, 14, 18, 22, 26, 28)
    assert ExitLayout(28, exits).weights()[exits.index(14)] == pytest.approx(0.0882, abs=5e-5)


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
