"""An agent survives being stored, and a damaged or foreign one is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from passkwh.adapters.early_exit.policy import EXIT, ExitPolicy, PolicyMeta
from passkwh.errors import UsageError

META = PolicyMeta(
    model="tiny", revision="sha256:base", hidden_size=12, layers=8, exits=(4, 8), head="shortcut", taught="",
    language="java",
    trained_steps=500, hyperparameters={"learning_rate": 1e-4, "scheduler": "linear"}, seed=3,
)  # fmt: skip


def saved(folder: Path) -> tuple[Path, ExitPolicy]:
    torch.manual_seed(0)
    policy = ExitPolicy(12, (8, 4), "relu")
    policy.mean.copy_(torch.randn(12))
    policy.std.copy_(torch.rand(12) + 0.1)
    policy.save(folder / "agents" / "java.v2", META)
    return folder / "agents" / "java.v2", policy


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    stem, policy = saved(tmp_path)
    loaded, meta = ExitPolicy.load(stem)
    states = torch.randn(20, 12)
    assert meta == META
    assert torch.equal(loaded(states), policy(states))
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_probability_is_the_softmax_of_standardised_states(tmp_path: Path) -> None:
    _, policy = saved(tmp_path)
    states = torch.randn(20, 12)
    logits = policy.net((states - policy.mean) / policy.std)
    for temperature in (1.0, 3.0):
        expected = torch.softmax(logits / temperature, dim=-1)[:, EXIT]
        torch.testing.assert_close(policy.exit_probability(states, temperature), expected)
    assert policy(states.bfloat16()).dtype == torch.float32


def test_a_policy_is_not_saved_with_a_card_for_other_states(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="width 6"):
        ExitPolicy(6).save(tmp_path / "x", META)


def test_damage_is_named(tmp_path: Path) -> None:
    stem, _ = saved(tmp_path)
    card_file, weights = stem.with_name("java.v2.json"), stem.with_name("java.v2.safetensors")
    card = json.loads(card_file.read_text("utf-8"))
    for change, said in (
        ({"format": 2}, "another format"),
        ({"exits": "all"}, "exits: Input should be a valid"),
        ({"network": {"hidden": [8], "activation": "relu"}}, "does not fit"),
        ({"network": {"hidden": [8, 4], "activation": "sine"}}, "activation"),
    ):
        card_file.write_text(json.dumps({**card, **change}), "utf-8")
        with pytest.raises(UsageError, match=said):
            ExitPolicy.load(stem)
    card_file.write_text("[]", "utf-8")
    with pytest.raises(UsageError, match="not an agent's card"):
        ExitPolicy.load(stem)
    card_file.write_text(json.dumps(card), "utf-8")
    weights.write_bytes(weights.read_bytes()[:40])
    with pytest.raises(UsageError, match="cannot be read"):
        ExitPolicy.load(stem)
    weights.unlink()
    with pytest.raises(UsageError, match="cannot be read"):
        ExitPolicy.load(stem)
