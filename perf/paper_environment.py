"""GREEN-CODE's environment (IV) for Gymnasium, one token at an exit at a time: for comparison, and to check ours.

``ExitEnv`` walks over episodes from recordings (``RecordedEpisodes``), or from a model that reads the whole prefix anew
for every token and goes on with the last layer's own choice (``Online``), as the paper's does. Agents are trained on
``passkwh.adapters.early_exit.training.vector``, which steps many walks over recordings at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray

from passkwh.adapters.early_exit.policy import EXIT
from passkwh.adapters.early_exit.training.data import TrainingCorpus, token_files
from passkwh.adapters.early_exit.training.model import TrainableModel
from passkwh.adapters.early_exit.training.recording import (
    CONTEXT,
    EPISODE_TOKENS,
    MAX_TOKENS,
    Recorded,
    Recording,
    window,
)
from passkwh.adapters.early_exit.training.rewards import Rewards, reward_tables
from passkwh.adapters.early_exit.training.states import HALF_MAX, StateReader
from passkwh.errors import UsageError


@dataclass(frozen=True)
class TokenStates:
    """One token at every exit."""

    states: NDArray[np.float32]
    """[exits, d]"""
    predictions: NDArray[np.int32]
    """[exits]; the last is the ground truth."""


class Walk(Protocol):
    """The tokens of one episode, in order."""

    def __len__(self) -> int: ...

    def token(self, place: int) -> TokenStates:
        """The token at a place, from 0; read in rising order."""
        ...


class Episodes(Protocol):
    """Where episodes come from."""

    @property
    def exits(self) -> tuple[int, ...]:
        """Layers that a token may leave after."""
        ...

    @property
    def width(self) -> int:
        """Of a state."""
        ...

    def draw(self, rng: np.random.Generator) -> Walk:
        """An episode: a file at random, and a random share of it as context (IV-F)."""
        ...


class ExitEnv(gymnasium.Env[NDArray[np.float32], np.int64]):
    """GREEN-CODE's environment for Gymnasium.

    The observation is the state at the current exit. Exit (1) finishes the token and goes to the next one's first exit;
    continue (0) goes to the next exit, and at the last one finishes the token too. The episode ends with its last
    token. Every step's ``info`` has ``layer`` and ``optimal_layer``.
    """

    def __init__(self, episodes: Episodes, rewards: Rewards) -> None:
        self.action_space = gymnasium.spaces.Discrete(2)
        self.observation_space = gymnasium.spaces.Box(-HALF_MAX, HALF_MAX, (episodes.width,), np.float32)
        self._episodes = episodes
        self._rewards = rewards
        self._walk: Walk | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Draw an episode and stand before its first token's first exit."""
        super().reset(seed=seed)
        self._walk = self._episodes.draw(self.np_random)
        self._place = 0
        self._arrive()
        return self._token.states[0], {}

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Leave or go on; the last observation of an episode is the state that was left."""
        if self._walk is None:
            raise gymnasium.error.ResetNeeded("call reset before step")
        leaves = int(action) == EXIT
        reward = float((self._tables.leave if leaves else self._tables.go_on)[0, self._exit])
        exits = self._episodes.exits
        info = {"layer": exits[self._exit], "optimal_layer": exits[int(self._tables.optimal[0])]}
        seen = self._token.states[self._exit]
        if not leaves and self._exit < len(exits) - 1:
            self._exit += 1
        else:
            self._place += 1
            if self._place == len(self._walk):
                self._walk = None
                return seen, reward, True, False, info
            self._arrive()
        return self._token.states[self._exit], reward, False, False, info

    def _arrive(self) -> None:
        assert self._walk is not None
        self._token = self._walk.token(self._place)
        self._tables = reward_tables(self._token.predictions[None], self._episodes.exits, self._rewards)
        self._exit = 0


class RecordedEpisodes:
    """Episodes from recordings of the same model."""

    def __init__(self, recorded: Recorded) -> None:
        self.files, self.exits, self.width = recorded.files, recorded.exits, recorded.width

    def draw(self, rng: np.random.Generator) -> RecordedWalk:
        """A file at random, and a random share of it as context."""
        recording, file = self.files[int(rng.integers(len(self.files)))]
        settings = recording.index.settings
        start = start_of(file.tokens, settings.context, float(rng.random())) - file.first
        return RecordedWalk(recording, file.offset + start, settings.episode_tokens)


def start_of(tokens: int, context: tuple[float, float], draw: float) -> int:
    """Position of the last token of the context, for a ``draw`` from [0, 1): its state predicts the first new token."""
    return int(tokens * (context[0] + draw * (context[1] - context[0]))) - 1


@dataclass(frozen=True)
class RecordedWalk:
    """Consecutive recorded tokens."""

    recording: Recording
    start: int
    count: int

    def __len__(self) -> int:
        return self.count

    def token(self, place: int) -> TokenStates:
        """The token at a place."""
        at = self.start + place
        return TokenStates(
            np.asarray(self.recording.states[at], dtype=np.float32), np.asarray(self.recording.predictions[at])
        )


class Online:
    """Episodes that a model lives through."""

    def __init__(
        self,
        trainable: TrainableModel,
        corpus: TrainingCorpus,
        max_tokens: int = MAX_TOKENS,
        context: tuple[float, float] = CONTEXT,
        episode_tokens: int = EPISODE_TOKENS,
        limit_files: int | None = None,
    ) -> None:
        self._trainable, self._context, self._count = trainable, context, episode_tokens
        self._reader = StateReader(trainable.model, trainable.card.exits)
        self._files: list[list[int]] = []
        for row in token_files(corpus, trainable.tokenizer, max_tokens):
            if limit_files is not None and len(self._files) == limit_files:
                break
            if window(len(row), context, episode_tokens):
                self._files.append(row)
        if not self._files:
            raise UsageError(f"{corpus.description} has no file as long as an episode: give other --data")

    @property
    def exits(self) -> tuple[int, ...]:
        """Layers that a token may leave after."""
        return self._trainable.card.exits

    @property
    def width(self) -> int:
        """Of a state."""
        return self._trainable.card.base.hidden_size

    def draw(self, rng: np.random.Generator) -> OnlineWalk:
        """A file at random, and a random share of it as context."""
        file = self._files[int(rng.integers(len(self._files)))]
        return OnlineWalk(
            self._tokens(file[: start_of(len(file), self._context, float(rng.random())) + 1]), self._count
        )

    def _tokens(self, prefix: list[int]) -> Iterator[TokenStates]:
        trainable, prefix = self._trainable, list(prefix)
        while True:
            with torch.inference_mode():
                states = [state[0, -1] for state in self._reader(torch.tensor([prefix], device=trainable.device))]
                predicted = [
                    int(trainable.heads.logits(layer, state).argmax())
                    for layer, state in zip(self.exits, states, strict=True)
                ]
            kept = torch.stack(states).float().clamp(-HALF_MAX, HALF_MAX).cpu().numpy()
            yield TokenStates(kept, np.asarray(predicted, np.int32))
            prefix.append(predicted[-1])


class OnlineWalk:
    """Tokens as the model writes them, one forward pass each."""

    def __init__(self, tokens: Iterator[TokenStates], count: int) -> None:
        self._tokens, self._count = tokens, count
        self._place = -1

    def __len__(self) -> int:
        return self._count

    def token(self, place: int) -> TokenStates:
        """The token at a place; those before it have been written when it is asked for."""
        while self._place < place:
            self._place += 1
            self._now = next(self._tokens)
        return self._now
