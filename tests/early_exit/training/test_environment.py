"""The environment on recordings, its vectorised form, and the paper's online one."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from passkwh.adapters.early_exit.training.model import TrainableModel
from passkwh.adapters.early_exit.training.recording import Recorded, Recording
from passkwh.adapters.early_exit.training.rewards import Rewards, reward_tables
from passkwh.adapters.early_exit.training.vector import RecordedVecEnv, Standardization
from perf.paper_environment import ExitEnv, Online, RecordedEpisodes, RecordedWalk
from tests.early_exit.training.conftest import EXITS, SETTINGS, words

REWARDS = Rewards()


def test_gymnasium_finds_nothing_to_complain_of(recording: Recording) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(ExitEnv(RecordedEpisodes(Recorded([recording])), REWARDS), skip_render_check=True)


def test_nor_with_the_online_environment(trainable: TrainableModel) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        episodes = Online(trainable, words(), 120, episode_tokens=5)
        check_env(ExitEnv(episodes, REWARDS), skip_render_check=True)


class Fixed:
    """Episodes that are always the same walk."""

    def __init__(self, recording: Recording, start: int, count: int) -> None:
        self.walk = RecordedWalk(recording, start, count)
        self.exits = recording.index.card.exits
        self.width = recording.index.card.base.hidden_size

    def draw(self, rng: np.random.Generator) -> RecordedWalk:
        return self.walk


def test_a_walk_through_two_tokens(recording: Recording) -> None:
    env = ExitEnv(Fixed(recording, 3, 2), REWARDS)
    tables = reward_tables(recording.predictions, tuple(EXITS), REWARDS)
    state, _ = env.reset(seed=0)
    np.testing.assert_array_equal(state, recording.states[3, 0])
    state, reward, done, _, info = env.step(np.int64(0))  # go on
    np.testing.assert_array_equal(state, recording.states[3, 1])
    assert reward == tables.go_on[3, 0]
    assert not done
    assert info["layer"] == 2
    state, reward, done, _, _ = env.step(np.int64(1))  # leave: the next token's first exit
    np.testing.assert_array_equal(state, recording.states[4, 0])
    assert reward == tables.leave[3, 1]
    assert not done
    for place in range(3):  # past the last layer of the last token
        state, reward, done, _, _ = env.step(np.int64(0))
        assert done == (place == 2)
    assert reward == tables.leave[4, 2]
    np.testing.assert_array_equal(state, recording.states[4, 2])


def test_contexts_are_drawn_from_a_fifth_to_three_fifths(recording: Recording) -> None:
    recorded, rng = RecordedEpisodes(Recorded([recording])), np.random.default_rng(0)
    file_of = np.repeat(np.arange(len(recorded.files)), [file.count for _, file in recorded.files])
    shares = []
    for _ in range(2000):
        walk = recorded.draw(rng)
        _, file = recorded.files[file_of[walk.start]]
        context = walk.start - file.offset + file.first + 1
        shares.append(context / file.tokens)
        assert walk.start + len(walk) <= file.offset + file.count
    assert min(shares) > 0.2 - 0.02
    assert max(shares) < 0.6
    assert 0.37 < np.mean(shares) < 0.42  # uniform, less the rounding down to whole tokens


def test_every_environment_of_the_vector_follows_the_single_one(recording: Recording) -> None:
    recorded = Recorded([recording, recording])
    standard = Standardization(np.full(recorded.width, 0.5, np.float32), np.full(recorded.width, 2.0, np.float32))
    vector = RecordedVecEnv(recorded, REWARDS, 4, standard, seed=3)
    observed = vector.reset()
    count = recording.tokens
    singles = []
    for place in range(4):
        start = int(vector._at[place])
        singles.append(ExitEnv(Fixed(recording, start % count, SETTINGS.episode_tokens), REWARDS))
        state, _ = singles[place].reset(seed=0)
        np.testing.assert_allclose(observed[place], (state - 0.5) / 2.0, rtol=1e-5)
    rng, over, returns, lengths = np.random.default_rng(0), set(), np.zeros(4), np.zeros(4, int)
    while len(over) < 4:
        actions = rng.integers(2, size=4)
        observed, rewards, dones, infos = vector.step(actions)
        for place in set(range(4)) - over:
            state, reward, done, _, _ = singles[place].step(actions[place])
            returns[place] += reward
            lengths[place] += 1
            assert rewards[place] == pytest.approx(reward)
            assert dones[place] == done
            seen = infos[place]["terminal_observation"] if done else observed[place]
            np.testing.assert_allclose(seen, (state - 0.5) / 2.0, rtol=1e-4, atol=1e-5)
            if done:
                over.add(place)
                assert infos[place]["episode"]["r"] == pytest.approx(returns[place])
                assert infos[place]["episode"]["l"] == lengths[place]
    assert vector.optimal_exits.sum() >= 4 * SETTINGS.episode_tokens


def test_stable_baselines_accepts_the_vector(recording: Recording) -> None:
    from stable_baselines3 import PPO

    recorded = Recorded([recording])
    vector = RecordedVecEnv(recorded, REWARDS, 4, Standardization.of(recorded), seed=0)
    model = PPO("MlpPolicy", vector, n_steps=8, batch_size=8, device="cpu", seed=0)
    model.learn(64)
    assert len(model.ep_info_buffer) > 0


def test_the_online_environment_reads_what_the_model_writes(trainable: TrainableModel) -> None:
    """The states of its second token are those of the prefix with the last layer's first choice behind it."""
    import torch

    from passkwh.adapters.early_exit.training.data import token_files
    from passkwh.adapters.early_exit.training.states import StateReader

    one = list(words().read())[8:9]
    corpus = type(words())("one", "python", lambda: iter(one))
    episodes = Online(trainable, corpus, 120, (0.3, 0.3), 3)
    walk = episodes.draw(np.random.default_rng(0))
    first, second = walk.token(0), walk.token(1)
    (row,) = token_files(corpus, trainable.tokenizer, 120)
    prefix = row[: int(len(row) * 0.3)]
    reader = StateReader(trainable.model, EXITS)
    for token, ids in ((first, prefix), (second, [*prefix, int(first.predictions[-1])])):
        with torch.inference_mode():
            states = [state[0, -1].numpy() for state in reader(torch.tensor([ids]))]
            predicted = trainable.model(torch.tensor([ids])).logits[0, -1].argmax()
        np.testing.assert_allclose(token.states, np.stack(states), rtol=1e-4, atol=1e-5)
        assert token.predictions[-1] == predicted
