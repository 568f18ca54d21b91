"""What each decision of the agent is worth (GREEN-CODE, equations 2 and 3)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from passkwh.errors import UsageError


@dataclass(frozen=True)
class Rewards:
    """The trade-off's coefficients, each in [0, 1].

    The paper gives beta = gamma = 1 for JavaCorpus and 0.5 for PY150 and asks for alpha <= beta without a value: alpha
    is beta here. Its epsilon is not printed either; 0.1 is its code's.
    """

    alpha: float = 0.5
    """Weighs leaving too late."""
    beta: float = 0.5
    """Weighs leaving too early."""
    gamma: float = 0.5
    """Weighs going on too far."""
    epsilon: float = 0.1
    """The price of a wrong token from beyond the optimal exit."""

    def __post_init__(self) -> None:
        for name in ("alpha", "beta", "gamma", "epsilon"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"the reward's {name} is {getattr(self, name)}: give a number from 0 to 1")
        if self.alpha > self.beta:
            raise UsageError(
                f"the reward's alpha is {self.alpha} and beta {self.beta}: alpha may not be greater, or leaving too "
                "early would cost less than leaving too late"
            )


_OF_LANGUAGE = {"java": Rewards(alpha=1.0, beta=1.0, gamma=1.0), "python": Rewards()}


def of_language(language: str, **changes: float | None) -> Rewards:
    """The paper's setting for a language (VI-D), with what is not None in ``changes`` changed."""
    paper = _OF_LANGUAGE.get(language, Rewards())
    return replace(paper, **{name: value for name, value in changes.items() if value is not None})


@dataclass(frozen=True)
class RewardTables:
    """Rewards of n tokens at E exits, worked out once: stepping is then only looking up."""

    leave: NDArray[np.float32]
    """[n, E]: reward of the action exit."""
    go_on: NDArray[np.float32]
    """[n, E]: reward of the action continue; at the last exit it is the same as leaving there."""
    optimal: NDArray[np.int64]
    """[n]: place of the optimal exit in the layout."""


def reward_tables(predictions: NDArray[np.integer], exits: tuple[int, ...], rewards: Rewards) -> RewardTables:
    """Both rewards for every token and exit.

    Distances are counted in layers, between exits of the layout, and divided by the greatest there is (from the first
    exit to the last), which puts penalties into [-1, 0]; rewards of 1 stay 1. At the last layer a token is done
    whatever the agent says, "and [we] proceed with the exit action" (IV-C), so there continuing is leaving.

    Args:
        predictions: [n, E] the token each exit predicts; the last column is the ground truth y.
        exits: the E layers of the layout.
    """
    layers = np.asarray(exits, dtype=np.float64)
    span = max(layers[-1] - layers[0], 1.0)
    right = predictions == predictions[:, -1:]
    optimal = right.argmax(axis=1)
    past = (layers[None, :] - layers[optimal][:, None]) / span  # l_curr - l_opt, scaled
    leave = np.where(right, -past * rewards.alpha, np.where(past < 0, past * rewards.beta, -rewards.epsilon))
    leave = np.where(right & (past == 0), 1.0, leave)
    after = np.append(layers[1:], layers[-1])
    beyond = (after[None, :] - layers[optimal][:, None]) / span  # l_next - l_opt, scaled
    go_on = np.where(past < 0, 1.0, -beyond * rewards.gamma)
    go_on[:, -1] = leave[:, -1]
    # -0.0 would be harmless, but it prints as a penalty.
    return RewardTables((leave + 0.0).astype(np.float32), (go_on + 0.0).astype(np.float32), optimal.astype(np.int64))
