"""What rules of leaving earn on recordings that nothing was trained on, with confidence intervals over files.

A rule decides, for every recorded token and exit, whether it would leave there; the token leaves at the first exit
where it would, the last at the latest. All rules are judged on the same tokens, each token once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from passkwh.adapters.early_exit.policy import ExitPolicy
from passkwh.adapters.early_exit.training.environment import Recorded
from passkwh.adapters.early_exit.training.rewards import Rewards, reward_tables
from passkwh.records import Record

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 0.9, 0.91, 0.92)
"""Probability of leaving that the agent must reach; 0.5 is its likelier action, those above are the paper's."""
_CONFIDENCES = tuple(round(0.05 * step, 2) for step in range(1, 20))
RESAMPLES = 2000

Leaves = NDArray[np.bool_]
"""[tokens, exits]: would a token leave here?"""


class Interval(Record):
    """A mean and its 95 % bootstrap interval over files."""

    mean: float
    low: float
    high: float


class Judgement(Record):
    """What one rule comes to."""

    reward_per_step: Interval
    """As figure 6 has it."""
    reward_per_token: Interval
    """Times the tokens of an episode, the objective (equation 4, undiscounted)."""
    agreement: Interval
    """Share of tokens that the last layer would have said."""
    mean_exit_layer: Interval


@dataclass(frozen=True)
class Held:
    """Recorded tokens with their rewards."""

    exits: tuple[int, ...]
    file: NDArray[np.int64]
    """[tokens]: which file each is of."""
    leave: NDArray[np.float32]
    go_on: NDArray[np.float32]
    optimal: NDArray[np.int64]
    right: Leaves
    confidences: NDArray[np.float32]
    states: tuple[NDArray[np.float16], ...]
    """[tokens, exits, d] of each recording, memory-mapped: never held together."""

    @classmethod
    def of(cls, recorded: Recorded, rewards: Rewards) -> Held:
        """All tokens of some recordings."""
        recordings = recorded.recordings
        predictions = np.concatenate([recording.predictions for recording in recordings])
        tables = reward_tables(predictions, recorded.exits, rewards)
        return cls(
            exits=recorded.exits,
            file=np.repeat(np.arange(len(recorded.files)), [file.count for _, file in recorded.files]),
            leave=tables.leave,
            go_on=tables.go_on,
            optimal=tables.optimal,
            right=predictions == predictions[:, -1:],
            confidences=np.concatenate([recording.confidences for recording in recordings]),
            states=tuple(recording.states for recording in recordings),
        )

    @property
    def tokens(self) -> int:
        """How many there are."""
        return len(self.file)


def probabilities(policy: ExitPolicy, held: Held, tokens_at_once: int = 2048) -> NDArray[np.float32]:
    """[tokens, exits]: how sure the agent is, everywhere, that a token may leave."""
    parts = []
    with torch.inference_mode():
        for recorded in held.states:
            for begin in range(0, len(recorded), tokens_at_once):
                states = np.asarray(recorded[begin : begin + tokens_at_once], dtype=np.float32)
                flat = torch.from_numpy(states.reshape(-1, states.shape[-1]))
                parts.append(policy.exit_probability(flat).numpy().reshape(states.shape[:2]))
    return np.concatenate(parts)


@dataclass(frozen=True)
class Outcome:
    """What a rule got on every token: expectations, where it draws lots."""

    reward: NDArray[np.float64]
    steps: NDArray[np.float64]
    right: NDArray[np.float64]
    layer: NDArray[np.float64]


def walk(held: Held, chance: NDArray[np.floating] | Leaves) -> Outcome:
    """Expected outcome of each token; ``chance`` [tokens, exits] is that of leaving at an exit, once there.

    Probabilities of 0 and 1 are a deterministic rule; at the last exit every token leaves.
    """
    chance = np.asarray(chance, dtype=np.float64).copy()
    chance[:, -1] = 1.0
    there = np.cumprod(np.concatenate([np.ones((len(chance), 1)), 1.0 - chance[:, :-1]], axis=1), axis=1)
    leaves, goes_on = there * chance, there * (1.0 - chance)
    return Outcome(
        reward=(leaves * held.leave + goes_on * held.go_on).sum(axis=1),
        steps=there.sum(axis=1),
        right=(leaves * held.right).sum(axis=1),
        layer=leaves @ np.asarray(held.exits, dtype=np.float64),
    )


def fixed(held: Held, place: int) -> Leaves:
    """Leave at one exit, always."""
    leaves = np.zeros((held.tokens, len(held.exits)), dtype=bool)
    leaves[:, place] = True
    return leaves


def oracle(held: Held) -> Leaves:
    """Leave at the optimal exit."""
    leaves = np.zeros((held.tokens, len(held.exits)), dtype=bool)
    leaves[np.arange(held.tokens), held.optimal] = True
    return leaves


def per_step(outcome: Outcome) -> float:
    """Reward per step."""
    return float(outcome.reward.sum() / outcome.steps.sum())


def per_token(outcome: Outcome) -> float:
    """Reward per token."""
    return float(outcome.reward.mean())


METRICS: Mapping[str, Callable[[Outcome], float]] = {"reward_per_token": per_token, "reward_per_step": per_step}


class Report(Record):
    """The agent beside its rivals on held-out files."""

    tokens: int
    files: int
    rules: dict[str, Judgement]
    rivals: dict[str, dict[str, str]]
    """For each metric, the best fixed exit, confidence rule and agent threshold, chosen on the training files."""
    ahead: dict[str, dict[str, Interval]]
    """For each metric and rival, what the agent gets more (paired by file)."""


def judge(policy: ExitPolicy, training: Held, held_out: Held, seed: int = 0) -> Report:
    """Judge the agent, random decisions, every fixed exit, confidence rules and the oracle on held-out files.

    Which fixed exit, confidence and threshold of the agent is best is decided on the training files.
    """
    chances: dict[str, tuple[NDArray[np.floating] | Leaves, NDArray[np.floating] | Leaves]] = {}
    sure = probabilities(policy, training), probabilities(policy, held_out)
    chances |= {f"agent:{at:g}": (sure[0] >= at, sure[1] >= at) for at in THRESHOLDS}
    for place, layer in enumerate(held_out.exits):
        chances[f"fixed:{layer}"] = fixed(training, place), fixed(held_out, place)
    chances |= {f"confidence:{at:g}": (training.confidences >= at, held_out.confidences >= at) for at in _CONFIDENCES}
    chances["random"] = np.full(sure[0].shape, 0.5), np.full(sure[1].shape, 0.5)
    chances["oracle"] = oracle(training), oracle(held_out)
    trained = {name: walk(training, pair[0]) for name, pair in chances.items()}
    outcomes = {name: walk(held_out, pair[1]) for name, pair in chances.items()}
    resamples = _resamples(held_out, seed)
    rivals: dict[str, dict[str, str]] = {}
    ahead: dict[str, dict[str, Interval]] = {}
    for metric, value in METRICS.items():
        best = {
            kind: max((name for name in trained if name.startswith(f"{kind}:")), key=lambda name: value(trained[name]))
            for kind in ("agent", "fixed", "confidence")
        }
        rivals[metric] = best
        sums = {name: _sums(held_out, outcomes[name]) for name in (*best.values(), "random", "oracle")}
        mine = _ratio(metric, sums[best["agent"]], resamples)
        names = {"random": "random", "fixed": best["fixed"], "confidence": best["confidence"], "oracle": "oracle"}
        ahead[metric] = {}
        for kind, name in names.items():
            theirs = _ratio(metric, sums[name], resamples)
            ahead[metric][kind] = _interval(value(outcomes[best["agent"]]) - value(outcomes[name]), mine - theirs)
    return Report(
        tokens=held_out.tokens,
        files=int(held_out.file.max()) + 1,
        rules={name: _judged(held_out, outcome, resamples) for name, outcome in outcomes.items()},
        rivals=rivals,
        ahead=ahead,
    )


def _resamples(held: Held, seed: int) -> NDArray[np.int64]:
    """[RESAMPLES, files]: files drawn with replacement. Tokens of one file are not independent; files are."""
    files = int(held.file.max()) + 1
    return np.random.default_rng(seed).integers(files, size=(RESAMPLES, files))


def _sums(held: Held, outcome: Outcome) -> dict[str, NDArray[np.float64]]:
    """Sums by file."""
    files = int(held.file.max()) + 1
    values = {"tokens": np.ones(held.tokens), **vars(outcome)}
    return {
        name: np.asarray(np.bincount(held.file, weights=value, minlength=files), np.float64)
        for name, value in values.items()
    }


_PARTS = {
    "reward_per_token": ("reward", "tokens"),
    "reward_per_step": ("reward", "steps"),
    "agreement": ("right", "tokens"),
    "mean_exit_layer": ("layer", "tokens"),
}


def _ratio(metric: str, sums: Mapping[str, NDArray[np.float64]], resamples: NDArray[np.int64]) -> NDArray[np.float64]:
    above, below = (sums[name][resamples].sum(axis=1) for name in _PARTS[metric])
    ratio: NDArray[np.float64] = above / below
    return ratio


def _judged(held: Held, outcome: Outcome, resamples: NDArray[np.int64]) -> Judgement:
    sums = _sums(held, outcome)
    intervals = {}
    for metric, (above, below) in _PARTS.items():
        intervals[metric] = _interval(float(sums[above].sum() / sums[below].sum()), _ratio(metric, sums, resamples))
    return Judgement(**intervals)


def _interval(mean: float, drawn: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(mean=round(mean, 5), low=round(float(low), 5), high=round(float(high), 5))
