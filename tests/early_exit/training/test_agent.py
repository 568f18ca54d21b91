"""PPO on a small recording: export, resume, refusals, and figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from passkwh.adapters.early_exit.policy import ExitPolicy
from passkwh.adapters.early_exit.training.agent import (
    CHECKPOINT,
    SETTINGS,
    PpoSettings,
    train,
    with_overrides,
)
from passkwh.adapters.early_exit.training.recording import Recorded, Recording
from passkwh.adapters.early_exit.training.rewards import Rewards
from passkwh.adapters.early_exit.training.vector import Standardization
from passkwh.errors import UsageError

PLAN = PpoSettings(
    steps=512, batch_size=32, buffer_size=128, epochs=2, learning_rate=1e-3, hidden=(16,), environments=8
)


def same(one: ExitPolicy, other: ExitPolicy) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_the_exported_policy_says_what_ppo_says(recording: Recording, tmp_path: Path) -> None:
    recorded = Recorded([recording])
    trained = train(recorded, PLAN, tmp_path)
    assert trained.steps == 512
    model = PPO.load(tmp_path / CHECKPOINT, device="cpu")
    standard = Standardization.of(recorded)
    states = torch.randn(200, recorded.width, generator=torch.Generator().manual_seed(0)) * 3
    seen = torch.from_numpy((states.numpy() - standard.mean) / standard.std)
    with torch.no_grad():
        expected = model.policy.get_distribution(seen).distribution.logits
        mine = torch.log_softmax(trained.policy(states), dim=-1)
    torch.testing.assert_close(mine, expected, rtol=0, atol=1e-6)


def test_stopped_and_resumed_it_ends_where_it_would_have_ended(recording: Recording, tmp_path: Path) -> None:
    recorded = Recorded([recording])
    whole = train(recorded, PLAN, tmp_path / "whole")
    train(recorded, PLAN, tmp_path / "parts", checkpoint_every=128, stop_at=256)
    again = train(recorded, PLAN, tmp_path / "parts", resume=True)
    assert same(whole.policy, again.policy)
    assert whole.episodes == again.episodes
    assert whole.optimal_exits == again.optimal_exits
    assert list((tmp_path / "parts" / "tensorboard").iterdir())


def test_the_seed_decides(recording: Recording, tmp_path: Path) -> None:
    recorded = Recorded([recording])
    plan = replace(PLAN, steps=128)
    one, two = train(recorded, plan, tmp_path / "1"), train(recorded, plan, tmp_path / "2")
    other = train(recorded, replace(plan, seed=1), tmp_path / "3")
    assert same(one.policy, two.policy)
    assert not same(one.policy, other.policy)


def test_other_hyperparameters_are_not_resumed(recording: Recording, tmp_path: Path) -> None:
    recorded = Recorded([recording])
    plan = replace(PLAN, steps=128)
    train(recorded, plan, tmp_path)
    with pytest.raises(UsageError, match="already holds a training: add --resume"):
        train(recorded, plan, tmp_path)
    with pytest.raises(UsageError, match=r"begun with hidden \[16\], not \[32\]"):
        train(recorded, replace(plan, hidden=(32,)), tmp_path, resume=True)
    with pytest.raises(UsageError, match=r"begun with rewards .*'beta': 0\.5.*, not .*'beta': 0\.75"):
        train(recorded, replace(plan, rewards=Rewards(beta=0.75)), tmp_path, resume=True)


def test_it_learns_what_is_best(recording: Recording, tmp_path: Path) -> None:
    """Where leaving at once is always right, the agent comes to do nothing else."""
    same_everywhere = replace(recording, predictions=np.repeat(recording.predictions[:, -1:], 3, axis=1))
    plan = replace(PLAN, steps=6144, learning_rate=3e-3)
    trained = train(Recorded([same_everywhere]), plan, tmp_path)
    first = [episode.reward / episode.length for episode in trained.episodes[:20]]
    last = [episode.reward / episode.length for episode in trained.episodes[-20:]]
    assert np.mean(last) > 0.95 > np.mean(first)
    states = torch.from_numpy(np.asarray(recording.states[:, 0], np.float32))
    assert (trained.policy.exit_probability(states) > 0.5).float().mean() > 0.95
    assert trained.optimal_exits[2] == sum(trained.optimal_exits.values())


def test_table_iii() -> None:
    large, small = SETTINGS["large-buffer"], SETTINGS["small-buffer"]
    assert (large.steps, large.batch_size, large.buffer_size, large.epochs) == (500_000, 512, 4096, 6)
    assert (small.steps, small.batch_size, small.buffer_size, small.epochs) == (500_000, 32, 256, 2)
    assert (large.learning_rate, small.learning_rate, large.discount) == (5e-5, 1e-4, 0.99)
    assert with_overrides("small-buffer", steps=7, hidden=None).steps == 7


def test_wrong_hyperparameters_are_refused() -> None:
    with pytest.raises(UsageError, match="no setting 'medium': there are large-buffer, small-buffer"):
        with_overrides("medium")
    with pytest.raises(UsageError, match=r"hidden layers are \[8, 8, 8\]: give one or two"):
        with_overrides("large-buffer", hidden=(8, 8, 8))
    with pytest.raises(UsageError, match="60 environments do not divide a buffer of 4096"):
        with_overrides("large-buffer", environments=60)
