"""Trains an exit agent without episodes, on labels: for every recorded token and exit, whether leaving there is right.

Not GREEN-CODE's way: the paper lets the agent find out by the rewards it gets (``agent.py``). Here the same network on
the same states learns by cross-entropy whether an exit says what the last layer says, so that the probability with
which it leaves is the one of being right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from passkwh.adapters.early_exit.policy import ExitPolicy
from passkwh.adapters.early_exit.training.agent import Trained, check_hidden
from passkwh.adapters.early_exit.training.recording import Recorded
from passkwh.adapters.early_exit.training.rewards import Rewards
from passkwh.adapters.early_exit.training.vector import Standardization


@dataclass(frozen=True)
class SupervisedSettings:
    """PpoSettings: few passes and much dropout, because one file's tokens are much alike."""

    epochs: int = 4
    batch_size: int = 512
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    dropout: float = 0.2
    hidden: tuple[int, ...] = (32, 32)
    seed: int = 0
    rewards: Rewards = field(default_factory=Rewards)
    """What the agent is evaluated by; nothing is learned from them."""

    def __post_init__(self) -> None:
        check_hidden(self.hidden)


def fit(recorded: Recorded, settings: SupervisedSettings, tick: Callable[[int, int], None] | None = None) -> Trained:
    """Train on every recorded token at every exit but the last, where there is nothing to decide.

    ``tick`` gets steps (batches) done and steps in all. The same seed gives the same agent.
    """
    torch.manual_seed(settings.seed)
    torch.set_num_threads(1)  # the network is far too small to be shared out
    right = np.concatenate([r.predictions == r.predictions[:, -1:] for r in recorded.recordings])
    examples = _Examples([r.states for r in recorded.recordings], right[:, :-1])
    standard = Standardization.of(recorded)
    policy = ExitPolicy(recorded.width, settings.hidden)
    policy.mean.copy_(torch.from_numpy(standard.mean))
    policy.std.copy_(torch.from_numpy(standard.std))
    network = torch.nn.Sequential()
    for part in policy.net:
        network.append(part)
        if not isinstance(part, torch.nn.Linear):
            network.append(torch.nn.Dropout(settings.dropout))
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    steps, total = 0, settings.epochs * -(-len(examples) // settings.batch_size)
    for _ in range(settings.epochs):
        order = torch.randperm(len(examples)).numpy()
        for begin in range(0, len(order), settings.batch_size):
            states, answers = examples.take(order[begin : begin + settings.batch_size])
            loss = torch.nn.functional.cross_entropy(network((states - policy.mean) / policy.std), answers)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            steps += 1
            if tick:
                tick(steps, total)
    counts = np.bincount(right.argmax(axis=1), minlength=len(recorded.exits))
    optimal_exits = dict(zip(recorded.exits, counts.tolist(), strict=True))
    return Trained(policy.eval().requires_grad_(False), [], optimal_exits, steps)


class _Examples:
    """Every token at every exit, one after the other; the states stay where they are, memory-mapped."""

    def __init__(self, states: list[NDArray[np.float16]], right: NDArray[np.bool_]) -> None:
        self._states, self._right = states, right
        self._ends = np.cumsum([len(part) for part in states])

    def __len__(self) -> int:
        return self._right.size

    def take(self, which: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """States [n, d] and actions [n]: leaving where it is right, else going on."""
        token, place = np.divmod(which, self._right.shape[1])
        owner = np.searchsorted(self._ends, token, side="right")
        states = np.empty((len(which), self._states[0].shape[-1]), np.float32)
        for number, part in enumerate(self._states):
            mine = owner == number
            states[mine] = part[token[mine] - (self._ends[number] - len(part)), place[mine]]
        return torch.from_numpy(states), torch.from_numpy(self._right[token, place].astype(np.int64))
