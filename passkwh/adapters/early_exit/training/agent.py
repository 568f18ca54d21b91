"""Trains the exit agent with PPO on recordings, and exports it (GREEN-CODE, IV-F and table III)."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure

from passkwh.adapters.early_exit.policy import ExitPolicy
from passkwh.adapters.early_exit.training.job import check_same
from passkwh.adapters.early_exit.training.recording import Recorded
from passkwh.adapters.early_exit.training.rewards import Rewards
from passkwh.adapters.early_exit.training.vector import RecordedVecEnv, Standardization
from passkwh.errors import UsageError

PLAN = "training.json"
CHECKPOINT = "checkpoint.zip"
CHECKPOINT_STATE = "checkpoint.pt"


@dataclass(frozen=True)
class PpoSettings:
    """Of PPO; the defaults are the first of table III's two settings, with its other values."""

    steps: int = 500_000
    batch_size: int = 512
    buffer_size: int = 4096
    """Experiences between updates, over all environments."""
    epochs: int = 6
    learning_rate: float = 5e-5
    """At the beginning; it falls linearly to nothing."""
    discount: float = 0.99
    hidden: tuple[int, ...] = (64, 64)
    environments: int = 64
    """Stepped together. The paper has one, with which the same number of steps takes far longer."""
    seed: int = 0
    rewards: Rewards = field(default_factory=Rewards)

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "buffer_size", "epochs", "environments"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}: give 1 or more")
        if self.buffer_size % self.environments:
            raise UsageError(
                f"{self.environments} environments do not divide a buffer of {self.buffer_size}: give a divisor of it"
            )
        check_hidden(self.hidden)


def check_hidden(hidden: tuple[int, ...]) -> None:
    """UsageError unless these are the widths of one or two hidden layers."""
    if not 1 <= len(hidden) <= 2 or any(width < 1 for width in hidden):
        raise UsageError(f"hidden layers are {list(hidden)}: give one or two, as in 64,64")


SETTINGS = {
    "large-buffer": PpoSettings(),
    "small-buffer": PpoSettings(
        batch_size=32, buffer_size=256, epochs=2, learning_rate=1e-4, hidden=(32, 32), environments=32
    ),
}
"""Table III's two columns of batch size, buffer, epochs and learning rate."""


@dataclass(frozen=True)
class Episode:
    """One finished episode of training."""

    step: int
    reward: float
    length: int


@dataclass(frozen=True)
class Trained:
    """What came out of a training."""

    policy: ExitPolicy
    episodes: list[Episode]
    optimal_exits: dict[int, int]
    """How often each layer was the optimal exit of a token visited (figure 7)."""
    steps: int


def train(
    recorded: Recorded,
    settings: PpoSettings,
    folder: Path,
    resume: bool = False,
    checkpoint_every: int = 50_000,
    tick: Callable[[int, int], None] | None = None,
    stop_at: int | None = None,
) -> Trained:
    """Train with PPO; ``folder`` gets checkpoints and TensorBoard logs.

    A training that was interrupted goes on, with ``resume``, from its last checkpoint exactly as it would have gone on:
    weights, optimizer, random numbers and the episodes under way are restored.

    Args:
        checkpoint_every: steps between checkpoints, rounded up to whole buffers.
        tick: gets steps done and steps in all, after each buffer.
        stop_at: end after this many steps as if interrupted there; the learning rate still falls towards the last.

    Raises:
        UsageError: the folder holds another training and ``resume`` is not given, or one with other hyperparameters.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _begin(folder, _described(recorded, settings), resume)
    torch.set_num_threads(1)  # the networks are far too small to be shared out
    standard = Standardization.of(recorded)
    environments = RecordedVecEnv(recorded, settings.rewards, settings.environments, standard, settings.seed)
    saved = folder / CHECKPOINT_STATE
    watch = _Watch(folder, environments, checkpoint_every, stop_at, tick, settings.steps)
    if resume and saved.exists():
        model = PPO.load(folder / CHECKPOINT, env=environments, device="cpu", force_reset=False)
        watch.restore(torch.load(saved, weights_only=False))
    else:
        model = PPO(
            "MlpPolicy",
            environments,
            learning_rate=_Falling(settings.learning_rate),
            n_steps=settings.buffer_size // settings.environments,
            batch_size=min(settings.batch_size, settings.buffer_size),
            n_epochs=settings.epochs,
            gamma=settings.discount,
            policy_kwargs={"net_arch": {"pi": list(settings.hidden), "vf": list(settings.hidden)}},
            seed=settings.seed,
            device="cpu",
        )
    model.set_logger(configure(str(folder / "tensorboard"), ["tensorboard"]))
    left = settings.steps - model.num_timesteps
    if left > 0:
        with suppress(_Stopped):
            model.learn(left, callback=watch, reset_num_timesteps=False, log_interval=1)
            watch.save()
    counts = dict(zip(recorded.exits, map(int, environments.optimal_exits), strict=True))
    return Trained(export(model, standard, settings.hidden), watch.episodes, counts, model.num_timesteps)


def export(model: PPO, standard: Standardization, hidden: tuple[int, ...]) -> ExitPolicy:
    """The policy network of a PPO model, and the standardisation it was trained behind, as plain torch."""
    policy = ExitPolicy(len(standard.mean), hidden, "tanh")
    policy.mean.copy_(torch.from_numpy(standard.mean))
    policy.std.copy_(torch.from_numpy(standard.std))
    learned = [part for part in model.policy.mlp_extractor.policy_net if isinstance(part, torch.nn.Linear)]
    linears = [part for part in policy.net if isinstance(part, torch.nn.Linear)]
    for mine, theirs in zip(linears, [*learned, model.policy.action_net], strict=True):
        mine.load_state_dict(theirs.state_dict())
    return policy.eval().requires_grad_(False)


class _Falling:
    """A learning rate that falls linearly with what remains to be done."""

    def __init__(self, initial: float) -> None:
        self.initial = initial

    def __call__(self, remaining: float) -> float:
        return remaining * self.initial


class _Watch(BaseCallback):
    """Follows a training: episodes, checkpoints, progress."""

    def __init__(
        self,
        folder: Path,
        environments: RecordedVecEnv,
        every: int,
        stop_at: int | None,
        tick: Callable[[int, int], None] | None,
        total: int,
    ) -> None:
        super().__init__()
        self._folder, self._environments, self._every = folder, environments, every
        self._stop_at, self._tick, self._total = stop_at, tick, total
        self._saved_at = 0
        self.episodes: list[Episode] = []

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if finished := info.get("episode"):
                self.episodes.append(Episode(self.num_timesteps, finished["r"], finished["l"]))
        return True

    def _on_rollout_end(self) -> None:
        recent = self.episodes[-50:]
        if recent:
            per_step = sum(episode.reward / episode.length for episode in recent) / len(recent)
            self.logger.record("rollout/reward_per_step", per_step)
        if self._tick:
            self._tick(min(self.num_timesteps, self._total), self._total)

    def _on_rollout_start(self) -> None:
        # Only here is everything of one piece: the last buffer learned from, the next not begun.
        if self._stop_at is not None and self.model.num_timesteps >= self._stop_at:
            self.save()
            raise _Stopped
        if self.model.num_timesteps - self._saved_at >= self._every:
            self.save()

    def save(self) -> None:
        """Write a checkpoint; the state goes last, and a checkpoint without it is none."""
        state_file, model_file = self._folder / CHECKPOINT_STATE, self._folder / CHECKPOINT
        drafts = [file.with_name(f".{file.name}") for file in (model_file, state_file)]
        self.model.save(drafts[0])
        torch.save(
            {
                "environments": self._environments.state(),
                "episodes": [asdict(episode) for episode in self.episodes],
                "torch": torch.get_rng_state(),
                "numpy": np.random.get_state(),
                "python": random.getstate(),
                "steps": self.model.num_timesteps,
            },
            drafts[1],
        )
        state_file.unlink(missing_ok=True)
        drafts[0].replace(model_file)
        drafts[1].replace(state_file)
        self._saved_at = self.model.num_timesteps

    def restore(self, state: dict[str, Any]) -> None:
        """Go on as ``save`` found things."""
        self._environments.restore(state["environments"])
        self.episodes = [Episode(**episode) for episode in state["episodes"]]
        self._saved_at = state["steps"]
        torch.set_rng_state(state["torch"])
        np.random.set_state(state["numpy"])
        random.setstate(state["python"])


class _Stopped(Exception):
    """Ends a training early."""


def _described(recorded: Recorded, settings: PpoSettings) -> dict[str, Any]:
    first = recorded.recordings[0].index
    return {
        **asdict(settings),
        "hidden": list(settings.hidden),
        "model": first.card.base.model,
        "exits": list(first.card.exits),
        "language": first.settings.language,
        "tokens": sum(recording.tokens for recording in recorded.recordings),
        "taught": first.weights_hash,
    }


def _begin(folder: Path, wanted: dict[str, Any], resume: bool) -> None:
    """Note what the training is; UsageError where the folder holds another one, or one that is not to be resumed."""
    file = folder / PLAN
    if not file.exists():
        file.write_text(json.dumps(wanted, indent=2) + "\n", "utf-8")
        return
    if not resume:
        raise UsageError(f"{folder} already holds a training: add --resume to go on with it, or give another folder")
    fix = "resume it as it was, or give another folder"
    check_same(f"the training in {folder}", json.loads(file.read_text("utf-8")), wanted, fix)


def with_overrides(setting: str, **changes: Any) -> PpoSettings:
    """One of table III's settings with what is not None in ``changes`` changed; UsageError for an unknown one."""
    if setting not in SETTINGS:
        raise UsageError(f"no setting {setting!r}: there are {', '.join(SETTINGS)}")
    return replace(SETTINGS[setting], **{name: value for name, value in changes.items() if value is not None})
