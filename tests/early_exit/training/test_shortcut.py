"""Shortcut heads: the closed form, its low-rank version, and a bundle that holds it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from passkwh.adapters import resolve
from passkwh.adapters.early_exit.bundle import Bundle
from passkwh.adapters.early_exit.heads import Shortcut
from passkwh.adapters.early_exit.training.data import packed
from passkwh.adapters.early_exit.training.fitting import fit_shortcut
from passkwh.adapters.early_exit.training.job import TrainingJob
from passkwh.adapters.early_exit.training.model import TrainableModel, load_trainable
from passkwh.adapters.early_exit.training.shortcut import RIDGES, Fit, Moments
from passkwh.adapters.early_exit.training.states import StateReader
from passkwh.errors import UsageError
from tests.early_exit.training.conftest import EXITS, words


def linear_world(rows: int, width: int, noise: float, seed: int) -> tuple[Fit, np.ndarray, np.ndarray]:
    """A fit whose final states are a linear map of those at the exit, plus noise; the map and its offset."""
    rng = np.random.default_rng(seed)
    matrix, bias = rng.normal(size=(width, width)), rng.normal(size=width)
    fit = Fit((1, 2), width)
    for _ in range(rows):
        x = rng.normal(size=(40, width)) + 1
        fit.add([x, x @ matrix.T + bias + noise * rng.normal(size=(40, width))])
    return fit, matrix, bias


def test_a_linear_map_is_found_again() -> None:
    fit, matrix, bias = linear_world(30, 6, 0.0, 0)
    found = fit.solve()[1]
    np.testing.assert_allclose(found.weight, matrix, atol=1e-3)
    np.testing.assert_allclose(found.bias, bias, atol=1e-3)
    assert found.ridge == RIDGES[0]
    assert fit.tokens == 30 * 40


@given(st.integers(2, 5), st.integers(0, 50))
@settings(deadline=None, max_examples=20)
def test_error_from_sums_is_the_error_over_pairs(width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(30, width)), 3 * rng.normal(size=(30, width))
    matrix, bias = rng.normal(size=(width, width)), rng.normal(size=width)
    moments = Moments(width)
    moments.add(x[:10], y[:10])
    moments.add(x[10:], y[10:])
    weights = 1 / (y**2).mean(axis=1)
    squared = ((x @ matrix.T + bias - y) ** 2).mean(axis=1)
    assert moments.error(matrix, bias) == pytest.approx((weights * squared).sum() / weights.sum())


def test_the_solution_is_that_of_weighted_ridge_regression() -> None:
    fit, _, _ = linear_world(8, 4, 2.0, 1)
    found, moments = fit.solve()[1], fit._fitted[1]
    xx, xy = moments.centred()
    penalised = xx + found.ridge * np.trace(xx) / 4 * np.eye(4)
    np.testing.assert_allclose(found.weight @ penalised, xy.T, atol=1e-8)
    errors = []
    for factor in (0.98, 1.0, 1.02):  # around the solution, the penalised loss is greater
        change = factor * found.weight
        offset = (moments.y - change @ moments.x) / moments.weight
        penalty = found.ridge * np.trace(xx) / 4 * (change**2).sum() / 4
        errors.append(moments.error(change, offset) + penalty)
    assert errors[1] < min(errors[0], errors[2])


def test_low_rank_maps_come_closer_the_greater_their_rank() -> None:
    fit, _, _ = linear_world(30, 8, 0.5, 2)
    found = fit.solve()[1]
    states = torch.randn(500, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1
    whole = Shortcut(**found.tensors(None, torch.float64))(states)
    errors = []
    for rank in (1, 3, 5, 7):
        tensors = found.tensors(rank, torch.float64)
        assert tensors["a"].shape == (rank, 8)
        errors.append(float((Shortcut(**tensors)(states) - whole).square().mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.2 * errors[0]
    assert set(found.tensors(8, torch.float64)) == {"weight", "bias"}


def test_heads_of_a_bundle_agree_more_with_the_last_layer(six_layers: Path, tmp_path: Path) -> None:
    trainable = load_trainable(resolve(str(six_layers)), None, EXITS)
    notes = fit_shortcut(TrainingJob(trainable, [words(60)], [words(30)], tmp_path), tokens=6000, length=100)
    quality = notes["agreement_with_last_layer"]["words"]
    assert quality["after"][EXITS[0]] > quality["before"][EXITS[0]] + 0.1
    assert quality["after"][EXITS[-1]] == 1
    again = load_trainable(resolve(str(six_layers)), tmp_path)
    assert again.card.head == "shortcut"
    assert again.weights_hash
    # What is read back maps states as what was judged did.
    rows = [torch.from_numpy(row)[None] for row in packed(words(30), trainable.tokenizer, 100, 2048)]
    reader = StateReader(again.model, EXITS)
    same = count = 0
    for row in rows:
        with torch.inference_mode():
            states = reader(row)
            said, truth = (again.heads.logits(layer, states[place]).argmax(-1) for place, layer in ((0, 2), (-1, 6)))
        same, count = same + int((said == truth).sum()), count + truth.numel()
    assert same / count == pytest.approx(quality["after"][EXITS[0]], abs=0.01)


def test_a_recorded_pass_gives_the_hidden_states_of_transformers(trainable: TrainableModel) -> None:
    ids = torch.arange(2, 40)[None]
    with torch.inference_mode():
        states = StateReader(trainable.model, EXITS)(ids)
        hidden = trainable.model(ids, output_hidden_states=True).hidden_states
    for layer, state in zip(EXITS[:-1], states, strict=False):
        torch.testing.assert_close(state, hidden[layer])
    torch.testing.assert_close(trainable.parts.finish(states[-1]), hidden[-1])


def test_a_bundle_of_another_model_is_named(six_layers: Path, tiny_llama: Path, tmp_path: Path) -> None:
    load_trainable(resolve(str(six_layers)), None, EXITS).card.write(tmp_path)
    with pytest.raises(UsageError, match=r"was made for six-layers \(sha256:.*\), not for tiny-llama"):
        load_trainable(resolve(str(tiny_llama)), tmp_path)
    with pytest.raises(UsageError, match=r"has exits \[2, 4, 6\], not \[3, 6\]"):
        load_trainable(resolve(str(six_layers)), tmp_path, [3, 6])
    assert Bundle.read(tmp_path).card.head == "none"
