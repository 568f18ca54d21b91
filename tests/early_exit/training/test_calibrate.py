"""A loss that a user asks for: tables of what thresholds lose, made by the rules that run, and what they give."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, GenerationConfig

import passkwh
from passkwh.adapters import resolve
from passkwh.adapters.early_exit import prepare
from passkwh.adapters.early_exit.bundle import HEADS, Bundle, Calibration, CalibrationPoint
from passkwh.adapters.early_exit.decode import Ending, ExitDecoder
from passkwh.adapters.early_exit.heads import Shortcut, write_shortcuts
from passkwh.adapters.early_exit.request import model_context, parse
from passkwh.adapters.early_exit.training.calibrate import Rows, ValidationFile, calibrate
from passkwh.adapters.early_exit.training.model import TrainableModel, load_trainable
from passkwh.adapters.early_exit.training.states import StateReader
from passkwh.errors import UsageError
from passkwh.harness.runs.folder import RunFolder
from tests.early_exit.training.conftest import EXITS

CONTEXTS = ["name1 = call ( 2 ) <EOL> name1 = call", "def some ( a , b ) :", "x = [ 1 , 2 ,"]


@pytest.fixture(scope="module")
def bundle(six_layers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Heads for the tiny model that change its exits' states a little, and a list of candidates."""
    folder = tmp_path_factory.mktemp("calibrated")
    card = load_trainable(resolve(str(six_layers)), None, EXITS).card
    width = card.base.hidden_size
    maps = {layer: Shortcut(bias=torch.zeros(width), weight=0.9 * torch.eye(width)) for layer in EXITS[:-1]}
    write_shortcuts(folder / HEADS, maps, torch.arange(100))
    card.model_copy(update={"head": "shortcut", "candidates": 100}).write(folder)
    return folder


@pytest.fixture(scope="module")
def headed(six_layers: Path, bundle: Path) -> TrainableModel:
    return load_trainable(resolve(str(six_layers)), bundle)


def agreement(reference: str, text: str) -> float:
    """Share of characters that are the same."""
    same = sum(a == b for a, b in zip(reference, text, strict=False))
    return same / max(len(reference), len(text), 1)


@pytest.mark.parametrize("rule", ["confidence:0.0095", "confidence:0.04,candidates=50", "entropy:0.991", "fixed:2"])
def test_rows_write_what_the_decoding_loop_writes(
    headed: TrainableModel, six_layers: Path, bundle: Path, rule: str
) -> None:
    request = parse(f"{rule},bundle={bundle}")
    made = request.rule(model_context(request, resolve(str(six_layers)), "python"))
    never = parse("confidence:1").rule(model_context(request, resolve(str(six_layers)), "python"))
    rows = Rows(headed, [made, never], 8)
    left_early = False
    for context in CONTEXTS:
        written = rows.write(context)
        ids = headed.tokenizer(context, return_tensors="pt")["input_ids"]
        ends = [headed.model.generation_config.eos_token_id]
        tokens, exits = ExitDecoder(headed.parts, headed.heads, made, "deferred").draw(
            ids, torch.ones_like(ids), Ending(8, ends, 0)
        )
        assert written.mean_layers[0] == pytest.approx(sum(exits[0]) / len(exits[0]))
        last = int(ids[0, -1])
        options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        before = headed.tokenizer.decode([last], **options)
        whole = headed.tokenizer.decode([last, *tokens[0].tolist()], **options)
        assert written.texts[0] == whole[len(before) :]
        left_early |= written.mean_layers[0] < EXITS[-1]
        assert written.texts[1] == written.texts[2]  # a rule that never leaves is full depth
        assert written.mean_layers[1:] == [EXITS[-1]] * 2
    assert left_early


def test_a_table_is_made_and_asked(headed: TrainableModel, six_layers: Path, bundle: Path, tmp_path: Path) -> None:
    full = Rows(headed, [], 8)
    files = [ValidationFile(context, full.write(context).texts[0]) for context in CONTEXTS]
    kinds = ["confidence", "confidence,candidates=50"]
    tables = calibrate(headed, Bundle.read(bundle), kinds, files, "python", "three texts", agreement, 8)
    assert [(table.rule, table.options) for table in tables] == [
        ("confidence", {}),
        ("confidence", {"candidates": "50"}),
    ]
    for table in tables:
        assert table.full_depth == 1
        assert all(point.loss_low <= point.loss <= point.loss_high for point in table.points)
        depths = [point.mean_exit_layer for point in table.points]
        assert depths == sorted(depths, reverse=True)
    headed.card.model_copy(update={"calibrations": tuple(tables)}).write(bundle)
    checkpoint = resolve(str(six_layers))
    request = parse(f"confidence:loss=0,candidates=50,bundle={bundle}")
    rule = request.rule(model_context(request, checkpoint, "python"))
    picked = tables[1].pick(0.0)
    assert picked is not None
    assert rule.about()["threshold"] == f"{picked.threshold:g}"
    assert rule.about()["calibrated_on"] == "3 files of three texts"
    runs = passkwh.run(
        model=str(six_layers), benchmark="py150", limit=1, exit=request.text, meter="simulated:steady", idle_s=0.1,
        max_new_tokens=4, out=tmp_path,
    )  # fmt: skip
    assert RunFolder.open(runs.paths[0]).manifest().model.early_exit["threshold"] == f"{picked.threshold:g}"
    warnings = RunFolder.open(runs.paths[0]).summary().warnings
    assert any(f"took the threshold {picked.threshold:g}" in warning for warning in warnings)
    other = parse(f"confidence:loss=0,candidates=40,bundle={bundle}")
    with pytest.raises(UsageError, match=r"not calibrated .* \(calibrated: confidence \(python\), confidence,cand"):
        other.rule(model_context(other, checkpoint, "python"))
    with pytest.raises(UsageError, match=r"not calibrated for .*, java"):
        request.rule(model_context(request, checkpoint, "java"))
    beyond = parse(f"confidence:loss=0.99,bundle={bundle}")
    with pytest.raises(UsageError, match="outside of what was calibrated on 3 files"):
        beyond.rule(model_context(beyond, checkpoint, "python"))
    fewer = parse(f"confidence:loss=0,exits=4+6,bundle={bundle}")
    with pytest.raises(UsageError, match="not calibrated"):
        fewer.rule(model_context(fewer, checkpoint, "python"))


def table(losses: Sequence[float]) -> Calibration:
    points = tuple(
        CalibrationPoint(
            threshold=round(1 - 0.01 * place, 4), loss=loss, loss_low=loss, loss_high=loss, mean_exit_layer=30 - place
        )
        for place, loss in enumerate(losses)
    )
    return Calibration(
        rule="agent", options={}, language="python", data="d", files=9, new_tokens=15, full_depth=0.5, weights_hash="",
        exits=(4, 8), points=points,
    )  # fmt: skip


@given(st.lists(st.floats(-0.2, 0.9), min_size=1, max_size=12), st.floats(0, 0.99))
def test_no_point_up_to_the_picked_one_lost_more_than_was_asked_for(losses: list[float], most: float) -> None:
    made = table(losses)
    picked = made.pick(most)
    least, greatest = made.range
    if picked is None:
        assert most < least or most > greatest
        return
    place = [point.threshold for point in made.points].index(picked.threshold)
    assert max(losses[: place + 1]) <= most
    assert place + 1 == len(losses) or losses[place + 1] > most


def test_nothing_can_be_lost_where_full_depth_scores_nothing(headed: TrainableModel, bundle: Path) -> None:
    files = [ValidationFile(context, "") for context in CONTEXTS]
    with pytest.raises(UsageError, match="scores 0 on each of 3 files of texts: there is nothing to lose"):
        calibrate(headed, Bundle.read(bundle), ["confidence"], files, "python", "texts", lambda *_: 0.0, 4)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("agent:loss=1", "a loss is a share from 0 to 1"),
        ("agent:loss=", "a loss is a share"),
        ("confidence:loss=-0.1", "a loss is a share"),
        ("entropy:loss=nan", "a loss is a share"),
        ("agent:loss=0.05,kv=propagated", "losses are calibrated with kv=deferred"),
        ("confidence:0.5,candidates=many", "candidates=many: give a whole number"),
        ("agent:lots", "needs a threshold from 0 to 1, not 'lots'"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        parse(text)


def test_a_loss_without_a_table_is_refused(six_layers: Path) -> None:
    request = parse("confidence:loss=0.05")
    with pytest.raises(UsageError, match=r"calibrated: nothing\): give a threshold, or run `bench train calibrate`"):
        request.rule(model_context(request, resolve(str(six_layers)), "python"))


def test_full_depth_with_trained_heads_is_the_model_as_it_was(
    headed: TrainableModel, six_layers: Path, bundle: Path
) -> None:
    checkpoint = resolve(str(six_layers))
    request = parse(f"fixed:{EXITS[-1]},bundle={bundle}")
    ready = prepare(checkpoint, request)
    assert (ready.path, ready.revision) == (checkpoint.path, checkpoint.revision)
    model = AutoModelForCausalLM.from_pretrained(six_layers, dtype=headed.model.dtype).eval()
    rule = request.rule(model_context(request, checkpoint, "python"))
    for context in CONTEXTS:
        ids = headed.tokenizer(context, return_tensors="pt")["input_ids"]
        tokens, exits = ExitDecoder(headed.parts, headed.heads, rule, "deferred").draw(
            ids, torch.ones_like(ids), Ending(12, [], 0)
        )
        config = GenerationConfig(max_new_tokens=12, min_new_tokens=12, do_sample=False, pad_token_id=0)
        with torch.inference_mode():
            plain = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)
            raw = StateReader(headed.model, EXITS)(ids)[-1]
            assert torch.equal(headed.heads.logits(EXITS[-1], raw), model(ids).logits)
        assert torch.equal(tokens[0], plain[0, ids.shape[1] :])
        assert exits == [[EXITS[-1]] * 12]
