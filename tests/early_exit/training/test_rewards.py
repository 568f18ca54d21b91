"""Equations 2 and 3, case by case and against their text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from passkwh.adapters.early_exit.training.rewards import Rewards, of_language, reward_tables
from passkwh.errors import UsageError

EXITS = (4, 6, 8, 12)
REWARDS = Rewards(alpha=0.25, beta=0.5, gamma=0.75, epsilon=0.1)
# Exit 6 is the first to say what the last layer says; 8 changes its mind.
PREDICTIONS = np.array([[1, 7, 2, 7]])


def table() -> tuple[list[float], list[float], int]:
    tables = reward_tables(PREDICTIONS, EXITS, REWARDS)
    return tables.leave[0].tolist(), tables.go_on[0].tolist(), int(tables.optimal[0])


def test_the_optimal_exit_is_the_first_that_agrees_with_the_last_layer() -> None:
    assert table()[2] == 1


def test_leaving_at_the_optimal_exit_earns_one() -> None:
    assert table()[0][1] == 1


def test_leaving_late_with_the_right_token_costs_alpha_by_distance() -> None:
    assert table()[0][3] == pytest.approx(-0.25 * (12 - 6) / 8)  # from the first exit to the last are 8 layers


def test_leaving_early_with_a_wrong_token_costs_beta_by_distance() -> None:
    assert table()[0][0] == pytest.approx(-0.5 * (6 - 4) / 8)


def test_a_wrong_token_from_beyond_the_optimal_exit_costs_epsilon() -> None:
    assert table()[0][2] == pytest.approx(-0.1)


def test_going_on_before_the_optimal_exit_earns_one() -> None:
    assert table()[1][0] == 1


def test_going_on_at_the_optimal_exit_or_beyond_costs_gamma_by_the_next_exits_distance() -> None:
    assert table()[1][1] == pytest.approx(-0.75 * (8 - 6) / 8)
    assert table()[1][2] == pytest.approx(-0.75 * (12 - 6) / 8)


def test_going_on_at_the_last_layer_is_leaving() -> None:
    leave, go_on, _ = table()
    assert go_on[3] == leave[3]


layouts = st.lists(st.integers(1, 80), min_size=1, max_size=10, unique=True).map(lambda layers: tuple(sorted(layers)))
coefficients = st.floats(0, 1)


@given(st.data(), layouts, coefficients, coefficients, coefficients, coefficients)
def test_tables_follow_the_equations(
    data: st.DataObject, exits: tuple[int, ...], one: float, other: float, gamma: float, epsilon: float
) -> None:
    alpha, beta = sorted((one, other))
    said = data.draw(st.lists(st.integers(0, 2), min_size=len(exits), max_size=len(exits)))
    tables = reward_tables(np.array([said]), exits, Rewards(alpha, beta, gamma, epsilon))
    y, span = said[-1], max(exits[-1] - exits[0], 1)
    l_opt = next(layer for layer, token in zip(exits, said, strict=True) if token == y)
    for place, (l_curr, y_pred) in enumerate(zip(exits, said, strict=True)):
        if y_pred == y and l_curr == l_opt:
            r_e = 1.0
        elif y_pred == y:
            r_e = -(l_curr - l_opt) / span * alpha
        elif l_curr < l_opt:
            r_e = -(l_opt - l_curr) / span * beta
        else:
            r_e = -epsilon
        assert tables.leave[0, place] == pytest.approx(r_e, abs=1e-6)
        if l_curr == exits[-1]:
            continue
        r_c = 1.0 if l_curr < l_opt else -(exits[place + 1] - l_opt) / span * gamma
        assert tables.go_on[0, place] == pytest.approx(r_c, abs=1e-6)
    assert tables.leave.max() <= 1
    assert min(tables.leave.min(), tables.go_on.min()) >= -1  # penalties are scaled to [-1, 0]


def test_the_papers_settings() -> None:
    assert (of_language("java").beta, of_language("java").gamma) == (1, 1)
    assert (of_language("python").beta, of_language("python").gamma) == (0.5, 0.5)
    assert of_language("python", gamma=0.25).gamma == 0.25


def test_coefficients_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match=r"gamma is 1\.5: give a number from 0 to 1"):
        Rewards(gamma=1.5)
    with pytest.raises(UsageError, match=r"alpha is 0\.9 and beta 0\.5"):
        Rewards(alpha=0.9, beta=0.5)
