"""LITE: the chunked loss is the plain one, and a training that is killed goes on as if it had not been."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from passkwh.adapters import resolve
from passkwh.adapters.early_exit.bundle import Bundle
from passkwh.adapters.early_exit.training import lite
from passkwh.adapters.early_exit.training.data import packed
from passkwh.adapters.early_exit.training.finetuning import (
    LiteSettings,
    TrainingProgress,
    finetune,
    paper_epochs,
)
from passkwh.adapters.early_exit.training.job import TrainingJob
from passkwh.adapters.early_exit.training.log import read_logs
from passkwh.adapters.early_exit.training.model import TrainableModel, load_trainable
from passkwh.adapters.early_exit.training.states import StateReader
from passkwh.errors import UsageError
from tests.early_exit.training.conftest import EXITS, words

PLAN = LiteSettings(
    rank=4, batch_size=2, accumulation=2, epochs=2, length=64, tokens=1536, precision="float32", learning_rate=1e-2
)


def job(trainable: TrainableModel, bundle: Path, files: int = 12) -> TrainingJob:
    return TrainingJob(trainable, [words(files)], [words(20 if files > 12 else 12)], bundle)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-5)])
def test_the_chunked_loss_and_its_gradients_are_the_plain_ones(six_layers: Path, dtype: str, tolerance: float) -> None:
    tokens = torch.randint(2, 250, (3, 41), generator=torch.Generator().manual_seed(0))
    weights = (0.7, 0.2, 0.1)

    def run(chunked: bool) -> tuple[list[float], dict[str, torch.Tensor]]:
        trainable = load_trainable(resolve(str(six_layers)), None, EXITS, dtype)
        model = trainable.model.requires_grad_(True)
        states = StateReader(model, EXITS)(tokens)

        def lm_head(part: torch.Tensor) -> torch.Tensor:
            return trainable.parts.head(trainable.parts.finish(part))

        if chunked:
            found = lite.backward(states, tokens, weights, lm_head, scale=0.5, chunk=13)
        else:
            logits = [lm_head(state[:, :-1]).flatten(0, 1) for state in states]
            each = [torch.nn.functional.cross_entropy(part, tokens[:, 1:].flatten()) for part in logits]
            total: Any = 0.5 * sum(weight * loss for weight, loss in zip(weights, each, strict=True))
            total.backward()
            found = [float(loss) for loss in each]
        return found, {name: weight.grad for name, weight in model.named_parameters()}

    (losses, gradients), (plain, plain_gradients) = run(True), run(False)
    np.testing.assert_allclose(losses, plain, rtol=tolerance)
    assert len(gradients) > 50
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, plain_gradients[name], rtol=tolerance * 10, atol=tolerance)


def test_the_term_that_holds_the_last_layer_is_the_plain_divergence() -> None:
    generator = torch.Generator().manual_seed(1)
    head = torch.randn(11, 8, generator=generator, dtype=torch.float64)
    tokens = torch.randint(0, 11, (2, 9), generator=generator)
    original = torch.randn(2, 9, 8, generator=generator, dtype=torch.float64)
    begun = [torch.randn(2, 9, 8, generator=generator, dtype=torch.float64) for _ in range(2)]

    def lm_head(part: torch.Tensor) -> torch.Tensor:
        return part @ head.T

    states = [state.clone().requires_grad_() for state in begun]
    held = lite.Held(3.0, original, lm_head)
    losses = lite.backward(states, tokens, (0.9, 0.1), lm_head, 0.5, chunk=5, held=held)
    plain = [state.clone().requires_grad_() for state in begun]
    each = [
        torch.nn.functional.cross_entropy(lm_head(state[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        for state in plain
    ]
    was, now = (torch.softmax(lm_head(part[:, :-1]), -1) for part in (original, plain[-1]))
    divergence = (was * (was.log() - now.log())).sum(-1).mean()
    (0.5 * (0.9 * each[0] + 0.1 * each[1] + 3.0 * divergence)).backward()  # type: ignore[no-untyped-call]
    assert losses == pytest.approx([float(loss) for loss in each])
    for state, other in zip(states, plain, strict=True):
        torch.testing.assert_close(state.grad, other.grad)


@pytest.mark.parametrize("method", ["lora", pytest.param("full", marks=pytest.mark.slow)])
def test_a_held_last_layer_stays_nearer_to_the_model_as_it_was(six_layers: Path, tmp_path: Path, method: str) -> None:
    rows = torch.from_numpy(packed(words(30), fresh(six_layers).tokenizer, 64, 640))

    def last(trainable: TrainableModel) -> torch.Tensor:
        with torch.no_grad():
            return torch.log_softmax(trainable.model(rows).logits, -1)

    was = last(fresh(six_layers))
    moved = {}
    for hold in (0.0, 20.0):
        plan = replace(PLAN, method=method, hold=hold, epochs=4, learning_rate=1e-2 if method == "lora" else 1e-3)
        finetune(job(fresh(six_layers), tmp_path / f"{hold}"), tmp_path / f"{hold}-work", plan)
        now = last(load_trainable(resolve(str(six_layers)), tmp_path / f"{hold}", dtype="float32"))
        moved[hold] = float(torch.nn.functional.kl_div(now, was, reduction="batchmean", log_target=True))
    assert 0 < moved[20.0] < 0.5 * moved[0.0]


@given(st.integers(1, 40), st.integers(2, 20), st.integers(1, 3))
@settings(deadline=None, max_examples=20)
def test_no_chunk_size_changes_the_loss(chunk: int, length: int, batch: int) -> None:
    generator = torch.Generator().manual_seed(length)
    head = torch.randn(11, 8, generator=generator, dtype=torch.float64)
    states = [torch.randn(batch, length, 8, generator=generator, dtype=torch.float64) for _ in range(2)]
    tokens = torch.randint(0, 11, (batch, length), generator=generator)
    found = lite.losses(states, tokens, lambda part: part @ head.T, chunk)
    for loss, state in zip(found, states, strict=True):
        plain = torch.nn.functional.cross_entropy((state[:, :-1] @ head.T).flatten(0, 1), tokens[:, 1:].flatten())
        assert loss == pytest.approx(float(plain))


def fresh(six_layers: Path) -> TrainableModel:
    return load_trainable(resolve(str(six_layers)), None, EXITS, "float32")


def test_loss_falls_at_every_exit_and_the_bundle_holds_what_was_trained(six_layers: Path, tmp_path: Path) -> None:
    trainable = fresh(six_layers)
    curve: list[TrainingProgress] = []
    bundle = tmp_path / "bundle"
    notes = finetune(job(trainable, bundle, 60), tmp_path / "work", PLAN, on_step=curve.append)
    assert len(curve) == notes["steps"] == 12
    for layer in map(str, EXITS):
        assert notes["after"]["loss"][layer] < 0.95 * notes["before"]["loss"][layer]
    weighted = sum(w * loss for w, loss in zip(trainable.card.layout.weights(), curve[0].exits.values(), strict=True))
    assert curve[0].loss == pytest.approx(weighted)
    assert list((tmp_path / "work" / "tensorboard").iterdir())
    # What is read back from the bundle says, at every exit, what the trained model says (weights were cut to 16 bits).
    card = Bundle.read(bundle).card
    assert card.lora
    assert card.exits == tuple(EXITS)
    again = load_trainable(resolve(str(six_layers)), bundle)
    rows = packed(words(20), trainable.tokenizer, 64, 512)
    reader = StateReader(again.model, EXITS)
    found = np.mean(
        [
            lite.losses(reader(ids), ids, lambda part: again.parts.head(again.parts.finish(part)))
            for ids in (torch.from_numpy(row)[None] for row in rows)
        ],
        axis=0,
    )
    expected = [notes["after"]["loss"][str(layer)] for layer in EXITS]
    np.testing.assert_allclose(found, expected, rtol=0.02)


def test_killed_and_resumed_it_has_the_losses_it_would_have_had(six_layers: Path, tmp_path: Path) -> None:
    whole: list[TrainingProgress] = []
    finetune(job(fresh(six_layers), tmp_path / "a", 60), tmp_path / "wa", PLAN, on_step=whole.append)

    class Killed(Exception):
        pass

    def kill(progress: TrainingProgress) -> None:
        if progress.step == 5:
            raise Killed

    def go(**more: Any) -> None:
        finetune(
            job(fresh(six_layers), tmp_path / "b", 60),
            tmp_path / "wb",
            PLAN,
            checkpoint_every=2,
            **more,
        )

    with pytest.raises(Killed):
        go(on_step=kill)
    rest: list[TrainingProgress] = []
    go(resume=True, on_step=rest.append)
    assert rest[0].step == 5  # the last checkpoint was after step 4
    assert rest == whole[4:]
    (log,) = read_logs(tmp_path / "wb")  # figure 4 has the steps before the kill, too
    assert [(step.step, step.weighted) for step in log.losses] == [(step.step, step.loss) for step in whole]
    assert {"loss.svg", "exit-weights.svg"} <= {file.name for file in (tmp_path / "wb").iterdir()}


@pytest.mark.parametrize(
    ("family", "languages", "epochs"),
    [("opt", ["java"], 5), ("llama", ["java"], 10), ("opt", ["python"], 1), ("llama", ["python"], 1),
     ("llama", ["java", "python"], 1), ("llama", ["java", "java"], 10), ("qwen2", ["java"], 10)],
)  # fmt: skip
def test_epochs_are_the_papers_where_none_are_given(family: str, languages: list[str], epochs: int) -> None:
    assert paper_epochs(family, languages) == epochs


def test_other_hyperparameters_are_not_resumed(six_layers: Path, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def kill(progress: TrainingProgress) -> None:
        raise Killed

    def go(lite_settings: LiteSettings, **more: Any) -> None:
        finetune(
            job(fresh(six_layers), tmp_path / "b", 60),
            tmp_path / "w",
            lite_settings,
            checkpoint_every=1,
            **more,
        )

    with pytest.raises(Killed):
        go(PLAN, on_step=kill)
    with pytest.raises(UsageError, match="already holds a training: add --resume"):
        go(PLAN)
    other = LiteSettings(**{**vars(PLAN), "epochs": 3})
    with pytest.raises(UsageError, match="was begun with epochs 2, not 3: resume it as it was"):
        go(other, resume=True)


def test_all_weights_can_be_trained(six_layers: Path, tmp_path: Path) -> None:
    lite_settings = LiteSettings(
        **{**vars(PLAN), "method": "full", "epochs": 1, "precision": "bf16", "learning_rate": 1e-3}
    )
    notes = finetune(job(fresh(six_layers), tmp_path / "b", 40), tmp_path / "w", lite_settings)
    assert notes["after"]["loss"]["2"] < notes["before"]["loss"]["2"]
    again = load_trainable(resolve(str(six_layers)), tmp_path / "b")
    base = fresh(six_layers)
    key = "model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(again.model.state_dict()[key], base.model.state_dict()[key])


def test_a_bundle_is_not_written_over(six_layers: Path, tmp_path: Path) -> None:
    trainable = fresh(six_layers)
    trainable.card.write(tmp_path / "b")
    with pytest.raises(UsageError, match="is a bundle already, and fine-tuning comes first"):
        finetune(job(trainable, tmp_path / "b"), tmp_path / "w", PLAN)


def test_too_little_data_is_told(six_layers: Path, tmp_path: Path) -> None:
    lite_settings = LiteSettings(**{**vars(PLAN), "length": 100_000})
    with pytest.raises(UsageError, match="less than one row of 100000"):
        finetune(job(fresh(six_layers), tmp_path / "b"), tmp_path / "w", lite_settings)
