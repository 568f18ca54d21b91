"""Many walks over recordings at once, in the form that Stable-Baselines3 trains on. Nothing but numpy in a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from passkwh.adapters.early_exit.policy import EXIT
from passkwh.adapters.early_exit.training.recording import Recorded
from passkwh.adapters.early_exit.training.rewards import Rewards, reward_tables


class Standardization:
    """Mean and standard deviation of each feature of the recorded states."""

    def __init__(self, mean: NDArray[np.float32], std: NDArray[np.float32]) -> None:
        self.mean, self.std = mean, std

    @classmethod
    def of(cls, recorded: Recorded, sample: int = 20_000) -> Standardization:
        """Over all exits of tokens spread evenly over the recordings."""
        count = sum(recording.tokens for recording in recorded.recordings)
        step = max(1, count // sample)
        states = [np.asarray(recording.states[::step], np.float64) for recording in recorded.recordings]
        flat = np.concatenate([part.reshape(-1, recorded.width) for part in states])
        return cls(flat.mean(0).astype(np.float32), np.maximum(flat.std(0), 1e-6).astype(np.float32))


class RecordedVecEnv(VecEnv):
    """``count`` of GREEN-CODE's environments (IV) on recordings, whose observations are standardised.

    Finished episodes start again by themselves, as Stable-Baselines3 expects; ``infos`` then have ``episode`` (return r
    and length l) and ``terminal_observation``. ``optimal_exits`` counts, by place in the layout, the optimal exits of
    the tokens visited.
    """

    def __init__(self, recorded: Recorded, rewards: Rewards, count: int, standard: Standardization, seed: int) -> None:
        space = gymnasium.spaces.Box(-np.inf, np.inf, (recorded.width,), np.float32)
        self.render_mode = None  # read by the base class
        super().__init__(count, space, gymnasium.spaces.Discrete(2))
        # All recordings' states stay where they are, memory-mapped; only rewards (8 bytes a token and exit) are held.
        self._states = [recording.states for recording in recorded.recordings]
        self._single = self._states[0] if len(self._states) == 1 else None
        tables = [reward_tables(r.predictions, recorded.exits, rewards) for r in recorded.recordings]
        self._leave = np.concatenate([table.leave for table in tables])
        self._go_on = np.concatenate([table.go_on for table in tables])
        self._optimal = np.concatenate([table.optimal for table in tables])
        begins = np.cumsum([0] + [recording.tokens for recording in recorded.recordings])
        self._begins = begins
        base = {id(recording): begin for recording, begin in zip(recorded.recordings, begins[:-1], strict=True)}
        files = recorded.files
        self._tokens = np.array([file.tokens for _, file in files])
        self._written = np.array(
            [base[id(recording)] + file.offset if file.written else -1 for recording, file in files]
        )
        self._offset = np.array([base[id(recording)] + file.offset - file.first for recording, file in files])
        contexts = np.array([recording.index.settings.context for recording, _ in files])
        self._low, self._high = contexts[:, 0], contexts[:, 1]
        self._length = np.array([recording.index.settings.episode_tokens for recording, _ in files])
        self._last = len(recorded.exits) - 1
        self._mean, self._scale = standard.mean, 1.0 / standard.std
        self._rng = np.random.default_rng(seed)
        self.optimal_exits = np.zeros(len(recorded.exits), dtype=np.int64)
        self._actions: NDArray[np.int64] = np.zeros(count, dtype=np.int64)
        self._at: NDArray[np.int64] = np.zeros(count, dtype=np.int64)
        self._end: NDArray[np.int64] = np.zeros(count, dtype=np.int64)
        self._exit: NDArray[np.int64] = np.zeros(count, dtype=np.int64)
        self._return = np.zeros(count)
        self._steps = np.zeros(count, dtype=np.int64)

    def reset(self) -> NDArray[np.float32]:
        """A fresh episode everywhere."""
        self._draw(np.arange(self.num_envs))
        return self._observe()

    def step_async(self, actions: NDArray[np.int64]) -> None:
        """Take down what to do."""
        self._actions = actions

    def step_wait(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Do it in every environment."""
        leaves = self._actions == EXIT
        where = (self._at, self._exit)
        rewards = np.where(leaves, self._leave[where], self._go_on[where])
        finished = leaves | (self._exit == self._last)
        self._return += rewards
        self._steps += 1
        self.optimal_exits += np.bincount(self._optimal[self._at[finished]], minlength=self._last + 1)
        ends = finished & (self._at + 1 == self._end)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        done = np.flatnonzero(ends)
        if len(done):
            last_seen = self._observe(done)
            for row, place in enumerate(done):
                infos[place]["terminal_observation"] = last_seen[row]
                infos[place]["episode"] = {"r": float(self._return[place]), "l": int(self._steps[place]), "t": 0.0}
        self._exit = np.where(finished, 0, self._exit + 1)
        self._at = self._at + finished
        self._draw(done)
        return self._observe(), rewards, ends, infos

    def _draw(self, which: NDArray[np.int64]) -> None:
        files = self._rng.integers(len(self._tokens), size=len(which))
        shares = self._low[files] + self._rng.random(len(which)) * (self._high[files] - self._low[files])
        anywhere = self._offset[files] + (self._tokens[files] * shares).astype(np.int64) - 1
        self._at[which] = np.where(self._written[files] >= 0, self._written[files], anywhere)
        self._end[which] = self._at[which] + self._length[files]
        self._exit[which] = 0
        self._return[which] = 0.0
        self._steps[which] = 0

    def _observe(self, which: NDArray[np.int64] | slice = slice(None)) -> NDArray[np.float32]:
        at, exits = self._at[which], self._exit[which]
        if self._single is not None:
            states = self._single[at, exits].astype(np.float32)
        else:
            owner = np.searchsorted(self._begins, at, side="right") - 1
            states = np.empty((len(at), len(self._mean)), np.float32)
            for place, array in enumerate(self._states):
                mine = owner == place
                states[mine] = array[at[mine] - self._begins[place], exits[mine]]
        return np.asarray((states - self._mean) * self._scale, np.float32)

    def state(self) -> dict[str, Any]:
        """All that decides what comes next, to be restored by ``restore``."""
        kept = {name: getattr(self, name).copy() for name in self._KEPT}
        return {"rng": self._rng.bit_generator.state, **kept}

    def restore(self, state: dict[str, Any]) -> None:
        """Stand where ``state`` was taken."""
        self._rng.bit_generator.state = state["rng"]
        for name in self._KEPT:
            setattr(self, name, state[name].copy())

    _KEPT = ("optimal_exits", "_at", "_end", "_exit", "_return", "_steps")

    # ------------------------------------------------------------ what VecEnv asks for besides

    def close(self) -> None:
        """Nothing is held that would need it."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute, the same for every environment."""
        return [getattr(self, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Environments have nothing to set one by one."""
        raise AttributeError(attr_name)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Environments have no methods of their own."""
        raise AttributeError(method_name)

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """No wrappers: episodes are counted here."""
        return [False] * len(list(self._get_indices(indices)))

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Draw episodes anew from this seed."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        return [seed] * self.num_envs
