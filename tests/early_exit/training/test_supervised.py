"""The agent that is told the answers: it learns what can be seen in the states, and nothing where nothing can."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from passkwh.adapters.early_exit.training.recording import Recorded, Recording
from passkwh.adapters.early_exit.training.supervised import SupervisedSettings, fit

PLAN = SupervisedSettings(epochs=60, batch_size=32, learning_rate=1e-2, hidden=(16,))


def with_right(recording: Recording, right: np.ndarray) -> Recording:
    """The recording with states that tell, in their first feature, which exits are right, [tokens, exits - 1]."""
    states, predictions = np.array(recording.states), np.array(recording.predictions)
    states[:, :-1, 0] = np.where(right, 1.0, -1.0)
    predictions[:, :-1] = np.where(right, predictions[:, -1:], predictions[:, -1:] + 1)
    return replace(recording, states=states, predictions=predictions)


def test_it_learns_where_an_exit_is_right(recording: Recording) -> None:
    random = np.random.default_rng(0)
    right = random.random((recording.tokens, 2)) < 0.4
    one, other = with_right(recording, right), with_right(recording, ~right)
    seen: list[tuple[int, int]] = []
    trained = fit(Recorded([one, other]), PLAN, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (trained.steps, trained.steps)
    for part, answers in ((one, right), (other, ~right)):
        states = torch.from_numpy(np.asarray(part.states[:, :-1], np.float32).reshape(-1, part.states.shape[-1]))
        sure = trained.policy.exit_probability(states).reshape(-1, 2).numpy()
        assert ((sure > 0.5) == answers).mean() > 0.97
    first = [np.where(a.any(axis=1), a.argmax(axis=1), 2) for a in (right, ~right)]
    counts = np.bincount(np.concatenate(first), minlength=3)
    assert trained.optimal_exits == dict(zip((2, 4, 6), counts.tolist(), strict=True))


def test_its_probability_is_that_of_being_right(recording: Recording) -> None:
    """Where the states tell nothing, it says how often an exit is right."""
    right = np.random.default_rng(1).random((recording.tokens, 2)) < 0.7
    blank = replace(with_right(recording, right), states=np.zeros_like(np.array(recording.states)))
    policy = fit(Recorded([blank]), PLAN).policy
    sure = policy.exit_probability(torch.zeros(1, blank.states.shape[-1]))
    assert abs(float(sure) - right.mean()) < 0.05


def test_the_seed_decides(recording: Recording) -> None:
    plan = replace(PLAN, epochs=1)
    one, two, other = (fit(Recorded([recording]), replace(plan, seed=seed)).policy.state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)
