"""What exit rules earn on recordings that nothing was trained on, with confidence intervals over files.

A rule decides, for every recorded token and exit, whether it would leave there; the token leaves at the first exit
where it would, the last at the latest. All rules are evaluated on the same tokens, each token once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from passkwh.adapters.early_exit.policy import ExitPolicy
from passkwh.adapters.early_exit.training.recording import Recorded
from passkwh.adapters.early_exit.training.rewards import Rewards, reward_tables
from passkwh.records import Record

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 0.9, 0.91, 0.92)
"""Probability of leaving that the agent must reach; 0.5 is its likelier action, those above are the paper's."""
_CONFIDENCES = tuple(round(0.05 * step, 2) for step in range(1, 20))
RESAMPLES = 2000

Sums = Mapping[str, NDArray[np.float64]]
"""Sums by file [files], by what is summed."""
Leaves = NDArray[np.bool_]
"""[tokens, exits]: would a token leave here?"""


class RewardInterval(Record):
    """A mean and its 95 % bootstrap interval over files."""

    mean: float
    low: float
    high: float


class RuleEvaluation(Record):
    """What one rule comes to."""

    reward_per_step: RewardInterval
    """As figure 6 has it."""
    reward_per_token: RewardInterval
    """Times the tokens of an episode, the objective (equation 4, undiscounted)."""
    agreement: RewardInterval
    """Share of tokens that are the last layer's."""
    mean_exit_layer: RewardInterval


@dataclass(frozen=True)
class EvaluationTokens:
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
    def of(cls, recorded: Recorded, rewards: Rewards) -> EvaluationTokens:
        """All tokens of some recordings."""
        recordings = recorded.recordings
        predictions = np.concatenate([recording.predictions for recording in recordings])
        tables = reward_tables(predictions, recorded.exits, rewards)
        return cls(
            exits=recorded.exits,
            file=np.repeat(_numbers(recorded), [file.count for _, file in recorded.files]),
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


def _numbers(recorded: Recorded) -> list[int]:
    """A number for each recorded file, the same where several episodes are of one file."""
    numbers: dict[tuple[int, int], int] = {}
    return [
        numbers.setdefault((place, file.index), len(numbers))
        for place, recording in enumerate(recorded.recordings)
        for file in recording.index.files
    ]


def probabilities(policy: ExitPolicy, tokens: EvaluationTokens, tokens_at_once: int = 2048) -> NDArray[np.float32]:
    """[tokens, exits]: how sure the agent is, everywhere, that a token may leave."""
    parts = []
    with torch.inference_mode():
        for recorded in tokens.states:
            for begin in range(0, len(recorded), tokens_at_once):
                states = np.asarray(recorded[begin : begin + tokens_at_once], dtype=np.float32)
                flat = torch.from_numpy(states.reshape(-1, states.shape[-1]))
                parts.append(policy.exit_probability(flat).numpy().reshape(states.shape[:2]))
    return np.concatenate(parts)


@dataclass(frozen=True)
class RuleOutcome:
    """What a rule got on every token: expectations, where it draws lots."""

    reward: NDArray[np.float64]
    steps: NDArray[np.float64]
    right: NDArray[np.float64]
    layer: NDArray[np.float64]


def walk(tokens: EvaluationTokens, chance: NDArray[np.floating] | Leaves) -> RuleOutcome:
    """Expected outcome of each token; ``chance`` [tokens, exits] is that of leaving at an exit, once there.

    Probabilities of 0 and 1 are a deterministic rule; at the last exit every token leaves.
    """
    chance = np.asarray(chance, dtype=np.float64).copy()
    chance[:, -1] = 1.0
    arrives = np.cumprod(np.concatenate([np.ones((len(chance), 1)), 1.0 - chance[:, :-1]], axis=1), axis=1)
    leaves, goes_on = arrives * chance, arrives * (1.0 - chance)
    return RuleOutcome(
        reward=(leaves * tokens.leave + goes_on * tokens.go_on).sum(axis=1),
        steps=arrives.sum(axis=1),
        right=(leaves * tokens.right).sum(axis=1),
        layer=leaves @ np.asarray(tokens.exits, dtype=np.float64),
    )


def fixed(tokens: EvaluationTokens, place: int) -> Leaves:
    """Leave at one exit, always."""
    leaves = np.zeros((tokens.tokens, len(tokens.exits)), dtype=bool)
    leaves[:, place] = True
    return leaves


def oracle(tokens: EvaluationTokens) -> Leaves:
    """Leave at the optimal exit."""
    leaves = np.zeros((tokens.tokens, len(tokens.exits)), dtype=bool)
    leaves[np.arange(tokens.tokens), tokens.optimal] = True
    return leaves


_RATIOS = {
    "reward_per_token": ("reward", "tokens"),
    "reward_per_step": ("reward", "steps"),
    "agreement": ("right", "tokens"),
    "mean_exit_layer": ("layer", "tokens"),
}
"""What is reported of a rule: one sum over tokens divided by another."""
METRICS = ("reward_per_token", "reward_per_step")
"""By which the best rules are chosen."""


class AgentReport(Record):
    """The agent beside its rivals on held-out files."""

    tokens: int
    files: int
    rules: dict[str, RuleEvaluation]
    rivals: dict[str, dict[str, str]]
    """For each metric, the best fixed exit, confidence rule and agent threshold, chosen on the training files."""
    ahead: dict[str, dict[str, RewardInterval]]
    """For each metric and rival, what the agent gets more (paired by file)."""


def evaluate(policy: ExitPolicy, training: EvaluationTokens, held_out: EvaluationTokens, seed: int = 0) -> AgentReport:
    """Compare the agent, random decisions, fixed exits, confidence rules and the oracle on held-out files.

    Which fixed exit, confidence and threshold of the agent is best is decided on the training files.
    """
    in_training, outcomes = (_outcomes(policy, tokens) for tokens in (training, held_out))
    resamples = _resamples(held_out, seed)
    sums = {name: _sums(held_out, outcome) for name, outcome in outcomes.items()}
    training_sums = {name: _sums(training, outcome) for name, outcome in in_training.items()}
    rivals: dict[str, dict[str, str]] = {}
    ahead: dict[str, dict[str, RewardInterval]] = {}
    for metric in METRICS:
        best = {
            kind: max(
                (name for name in training_sums if name.startswith(f"{kind}:")),
                key=lambda name: _ratio(metric, training_sums[name]),
            )
            for kind in ("agent", "fixed", "confidence")
        }
        rivals[metric] = best
        agent = sums[best["agent"]]
        ahead[metric] = {}
        for kind in ("random", "fixed", "confidence", "oracle"):
            rival = sums[best.get(kind, kind)]
            gains = _ratio_in(metric, agent, resamples) - _ratio_in(metric, rival, resamples)
            ahead[metric][kind] = _interval(_ratio(metric, agent) - _ratio(metric, rival), gains)
    return AgentReport(
        tokens=held_out.tokens,
        files=int(held_out.file.max()) + 1,
        rules={name: _evaluation(by_file, resamples) for name, by_file in sums.items()},
        rivals=rivals,
        ahead=ahead,
    )


def _outcomes(policy: ExitPolicy, tokens: EvaluationTokens) -> dict[str, RuleOutcome]:
    """What every rule gets on these tokens, by the rule's name."""
    sure = probabilities(policy, tokens)
    chances: dict[str, NDArray[np.floating] | Leaves] = {f"agent:{at:g}": sure >= at for at in THRESHOLDS}
    chances |= {f"fixed:{layer}": fixed(tokens, place) for place, layer in enumerate(tokens.exits)}
    chances |= {f"confidence:{at:g}": tokens.confidences >= at for at in _CONFIDENCES}
    chances |= {"random": np.full(sure.shape, 0.5), "oracle": oracle(tokens)}
    return {name: walk(tokens, chance) for name, chance in chances.items()}


def _resamples(tokens: EvaluationTokens, seed: int) -> NDArray[np.int64]:
    """[RESAMPLES, files]: files drawn with replacement. Tokens of one file are not independent; files are."""
    files = int(tokens.file.max()) + 1
    return np.random.default_rng(seed).integers(files, size=(RESAMPLES, files))


def _sums(tokens: EvaluationTokens, outcome: RuleOutcome) -> dict[str, NDArray[np.float64]]:
    """Sums by file."""
    files = int(tokens.file.max()) + 1
    values = {"tokens": np.ones(tokens.tokens), **vars(outcome)}
    return {
        name: np.asarray(np.bincount(tokens.file, weights=value, minlength=files), np.float64)
        for name, value in values.items()
    }


def _ratio(metric: str, sums: Sums) -> float:
    """A metric over all files."""
    above, below = (float(sums[name].sum()) for name in _RATIOS[metric])
    return above / below


def _ratio_in(metric: str, sums: Sums, resamples: NDArray[np.int64]) -> NDArray[np.float64]:
    """A metric in every resample."""
    above, below = (sums[name][resamples].sum(axis=1) for name in _RATIOS[metric])
    ratio: NDArray[np.float64] = above / below
    return ratio


def _evaluation(sums: Sums, resamples: NDArray[np.int64]) -> RuleEvaluation:
    intervals = {metric: _interval(_ratio(metric, sums), _ratio_in(metric, sums, resamples)) for metric in _RATIOS}
    return RuleEvaluation(**intervals)


def _interval(mean: float, drawn: NDArray[np.float64]) -> RewardInterval:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return RewardInterval(mean=round(mean, 5), low=round(float(low), 5), high=round(float(high), 5))
