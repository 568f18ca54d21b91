"""The agent's world (GREEN-CODE, IV): a token at an exit, and two things to do about it.

``ExitEnv`` walks over episodes from anywhere: from recordings (here), or from a model that reads the prefix anew for
every token (``online.py``). ``vector.py`` steps many walks over recordings at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium
import numpy as np
from numpy.typing import NDArray

from passkwh.adapters.early_exit.policy import EXIT
from passkwh.adapters.early_exit.training.recording import Recording
from passkwh.adapters.early_exit.training.rewards import Rewards, reward_tables
from passkwh.errors import UsageError

STATE_LIMIT = 65504.0
"""States are kept in 16 bits, whose largest number this is."""


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
        """The token at a place, from 0; asked for in rising order."""
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
        self.observation_space = gymnasium.spaces.Box(-STATE_LIMIT, STATE_LIMIT, (episodes.width,), np.float32)
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


class Recorded:
    """Episodes from recordings of the same model."""

    def __init__(self, recordings: Sequence[Recording]) -> None:
        first, *others = [recording.index for recording in recordings]
        for recording, index in zip(recordings[1:], others, strict=True):
            if (index.card.base, index.card.exits, index.taught) != (first.card.base, first.card.exits, first.taught):
                raise UsageError(
                    f"{recordings[0].folder} and {recording.folder} are recordings of different models or layouts: "
                    f"{first.card.base.model} at {list(first.card.exits)} and {index.card.base.model} at "
                    f"{list(index.card.exits)}"
                )
            if index.settings.language != first.settings.language:
                raise UsageError(
                    f"{recordings[0].folder} is {first.settings.language} and {recording.folder} is "
                    f"{index.settings.language}: an agent is trained on one language"
                )
        self.recordings = tuple(recordings)
        self.files = [(recording, file) for recording in recordings for file in recording.index.files]

    @property
    def exits(self) -> tuple[int, ...]:
        """Layers that a token may leave after."""
        return self.recordings[0].index.card.exits

    @property
    def width(self) -> int:
        """Of a state."""
        return self.recordings[0].index.card.base.hidden_size

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
