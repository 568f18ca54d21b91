"""Shortcut heads: the closed form, its low-rank version, and a bundle that holds it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from passkwh.adapters import resolve
from passkwh.adapters.early_exit.bundle import HEADS, Bundle
from passkwh.adapters.early_exit.heads import Shortcut
from passkwh.adapters.early_exit.training.data import packed
from passkwh.adapters.early_exit.training.distil import DistilSettings, common_tokens, distil
from passkwh.adapters.early_exit.training.fitting import HeadSettings, fit_shortcut
from passkwh.adapters.early_exit.training.job import TrainingJob
from passkwh.adapters.early_exit.training.model import TrainableModel, load_trainable
from passkwh.adapters.early_exit.training.shortcut import RIDGES, Fit, Moments
from passkwh.adapters.early_exit.training.state_store import stored_states
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
    bundle, work = tmp_path / "bundle", tmp_path / "work"
    job = TrainingJob(trainable, [words(60)], [words(30)], bundle)
    settings = HeadSettings(tokens=6000, length=100, candidates=20)
    notes = fit_shortcut(job, settings, work)
    quality = notes["agreement_with_last_layer"]["words"]
    first = EXITS[0]
    assert quality["ridge"][first] > quality["plain"][first] + 0.1
    assert quality["distilled"][first] > quality["plain"][first] + 0.1
    assert quality["distilled"][EXITS[-1]] == 1
    again = load_trainable(resolve(str(six_layers)), bundle)
    assert (again.card.head, again.card.candidates) == ("shortcut", 20)
    assert again.weights_hash
    assert not again.tuning_hash
    # What is read back maps states as what was judged did.
    rows = [torch.from_numpy(row)[None] for row in packed(words(30), trainable.tokenizer, 100, 2048)]
    reader = StateReader(again.model, EXITS)
    same = count = 0
    for row in rows:
        with torch.inference_mode():
            states = reader(row)
            said, truth = (again.heads.logits(layer, states[place]).argmax(-1) for place, layer in ((0, 2), (-1, 6)))
        same, count = same + int((said == truth).sum()), count + truth.numel()
    assert same / count == pytest.approx(quality["distilled"][first], abs=0.01)
    # Going on reads the finished maps and states: the same heads come out, without the model being read again.
    before = (bundle / HEADS).read_bytes()
    stamps = {file.name: file.stat().st_mtime_ns for file in work.glob("exit-*")}
    fit_shortcut(job, settings, work)
    assert (bundle / HEADS).read_bytes() == before
    assert {file.name: file.stat().st_mtime_ns for file in work.glob("exit-*")} == stamps
    with pytest.raises(UsageError, match="begun with rows"):
        fit_shortcut(job, HeadSettings(tokens=3000, length=100, candidates=20), work)


def test_states_on_disk_go_on_where_they_were_interrupted(six_layers: Path, tmp_path: Path) -> None:
    trainable = load_trainable(resolve(str(six_layers)), None, EXITS)
    rows = packed(words(30), trainable.tokenizer, 50, 500)

    class Stop(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 4:
            raise Stop

    read: list[int] = []
    with pytest.raises(Stop):
        stored_states(trainable, rows, tmp_path / "a", stop)
    whole = stored_states(trainable, rows, tmp_path / "a", lambda done, total: read.append(done))
    assert read == list(range(4, len(rows)))
    np.testing.assert_array_equal(whole, stored_states(trainable, rows, tmp_path / "b", lambda done, total: None))
    with torch.inference_mode():
        first = StateReader(trainable.model, EXITS)(torch.from_numpy(rows[:1]))
    for place, state in enumerate(first):
        np.testing.assert_array_equal(whole[0, :, place], state[0].half().numpy())


@pytest.mark.parametrize("rank", [None, 6])
def test_training_on_brings_the_distribution_closer_to_the_last_layers(
    trainable: TrainableModel, tmp_path: Path, rank: int | None
) -> None:
    rows = packed(words(40), trainable.tokenizer, 100, 3000)
    states = stored_states(trainable, rows, tmp_path, lambda done, total: None)
    width = states.shape[-1]
    begun = Shortcut(bias=torch.zeros(width), weight=torch.eye(width))
    if rank:  # the same map, in the other form
        begun = Shortcut(bias=torch.zeros(width), a=torch.randn(rank, width), b=torch.zeros(width, rank))
    flat = states.reshape(-1, *states.shape[2:])
    every = torch.arange(trainable.model.config.vocab_size)
    learnt = distil(trainable.parts, begun, flat, 0, every, DistilSettings(epochs=8, batch_size=100))
    raw, last = (torch.from_numpy(np.asarray(flat[:, place], np.float32)) for place in (0, -1))
    wanted = torch.log_softmax(trainable.parts.head(trainable.parts.finish(last)), -1)

    def divergence(shortcut: Shortcut) -> float:
        given = torch.log_softmax(trainable.parts.head(trainable.parts.finish(shortcut(raw))), -1)
        return float(torch.nn.functional.kl_div(given, wanted, reduction="batchmean", log_target=True))

    assert divergence(learnt) < 0.7 * divergence(begun)


def test_common_tokens_come_first() -> None:
    assert common_tokens(np.array([[5, 5, 2, 2, 9, 5]]), 2).tolist() == [5, 2]
    assert common_tokens(np.array([[5, 2, 9]]), 9).tolist() == [2, 5, 9]


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
