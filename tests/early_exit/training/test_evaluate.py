"""Evaluating a rule in closed form is the same as walking through the environment with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from passkwh.adapters.early_exit.policy import ExitPolicy
from passkwh.adapters.early_exit.training import evaluate as evaluation
from passkwh.adapters.early_exit.training.evaluate import EvaluationTokens, evaluate, fixed, oracle, probabilities, walk
from passkwh.adapters.early_exit.training.recording import Recorded, Recording
from passkwh.adapters.early_exit.training.rewards import Rewards
from perf.paper_environment import ExitEnv
from tests.early_exit.training.conftest import EXITS
from tests.early_exit.training.test_environment import Fixed

REWARDS = Rewards()


@pytest.fixture(scope="module")
def held(recording: Recording) -> EvaluationTokens:
    return EvaluationTokens.of(Recorded([recording]), REWARDS)


def test_a_rule_gets_what_it_gets_in_the_environment(recording: Recording, held: EvaluationTokens) -> None:
    leaves = np.random.default_rng(0).random((held.tokens, len(EXITS))) < 0.4
    outcome = walk(held, leaves)
    env = ExitEnv(Fixed(recording, 0, held.tokens), REWARDS)
    env.reset(seed=0)
    for token in range(held.tokens):
        reward, steps, place = 0.0, 0, 0
        while True:
            action = int(leaves[token, place])
            _, earned, _, _, info = env.step(np.int64(action))
            reward, steps = reward + earned, steps + 1
            if action or place == len(EXITS) - 1:
                break
            place += 1
        assert outcome.reward[token] == pytest.approx(reward, abs=1e-5)
        assert outcome.steps[token] == steps
        assert outcome.layer[token] == info["layer"]
        assert outcome.right[token] == (recording.predictions[token, place] == recording.predictions[token, -1])


def test_random_decisions_are_the_mean_of_many_walks(held: EvaluationTokens) -> None:
    expected = walk(held, np.full((held.tokens, len(EXITS)), 0.5))
    rng, sums = np.random.default_rng(1), np.zeros(held.tokens)
    for _ in range(400):
        sums += walk(held, rng.random((held.tokens, len(EXITS))) < 0.5).reward
    assert sums.mean() / 400 == pytest.approx(expected.reward.mean(), abs=0.02)


def test_nothing_beats_the_oracle_at_every_token(held: EvaluationTokens) -> None:
    best = walk(held, oracle(held)).reward
    for place in range(len(EXITS)):
        assert (walk(held, fixed(held, place)).reward <= best + 1e-6).all()
    assert (walk(held, oracle(held)).right == 1).all()


def test_the_report_names_rivals_and_intervals_hold_means(recording: Recording, held: EvaluationTokens) -> None:
    policy = ExitPolicy(held.states[0].shape[-1], (8,)).eval()
    report = evaluate(policy, held, held)
    assert report.files == len(recording.index.files)
    assert report.tokens == held.tokens
    for rule in report.rules.values():
        for interval in (rule.reward_per_step, rule.reward_per_token, rule.agreement, rule.mean_exit_layer):
            assert interval.low <= interval.mean + 1e-4
            assert interval.mean <= interval.high + 1e-4
    assert report.rules[f"fixed:{EXITS[0]}"].mean_exit_layer.mean == EXITS[0]
    assert report.rules["oracle"].agreement.mean == 1
    for metric in evaluation.METRICS:
        assert report.ahead[metric]["oracle"].mean <= 0
        mine = getattr(report.rules[report.rivals[metric]["agent"]], metric).mean
        theirs = getattr(report.rules[report.rivals[metric]["fixed"]], metric).mean
        assert report.ahead[metric]["fixed"].mean == pytest.approx(mine - theirs, abs=1e-4)


def test_probabilities_are_the_policys(held: EvaluationTokens) -> None:
    import torch

    policy = ExitPolicy(held.states[0].shape[-1], (8,)).eval()
    sure = probabilities(policy, held, tokens_at_once=7)
    state = torch.from_numpy(np.asarray(held.states[0][5, 1], np.float32))[None]
    assert sure[5, 1] == pytest.approx(float(policy.exit_probability(state).detach()), abs=1e-6)
    assert sure.shape == (held.tokens, len(EXITS))


def test_a_second_recording_is_evaluated_like_the_first(recording: Recording, held: EvaluationTokens) -> None:
    twice = EvaluationTokens.of(Recorded([recording, recording]), REWARDS)
    assert twice.tokens == 2 * held.tokens
    assert walk(twice, oracle(twice)).reward.mean() == pytest.approx(walk(held, oracle(held)).reward.mean())
    assert twice.file.max() == 2 * held.file.max() + 1


def test_reports_are_kept_as_json(held: EvaluationTokens, tmp_path: Path) -> None:
    report = evaluate(ExitPolicy(held.states[0].shape[-1], (8,)).eval(), held, held)
    file = tmp_path / "report.json"
    file.write_text(report.model_dump_json())
    assert evaluation.AgentReport.model_validate_json(file.read_text()) == report
