"""Exits speak through their map, the final norm and the one LM head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from passkwh.adapters.early_exit.bundle import HEADS, BaseModelCard, Bundle, ExitCard
from passkwh.adapters.early_exit.families import model_parts
from passkwh.adapters.early_exit.heads import ExitHeads, Shortcut, write_shortcuts
from passkwh.errors import UsageError
from tests.early_exit.conftest import DEPTH, left_padded

WIDTH = 48


def bundle(folder: Path, maps: dict[int, Shortcut], exits: tuple[int, ...] = (3, 5, DEPTH)) -> Bundle:
    base = BaseModelCard(model="tiny", revision="r", family="llama", hidden_size=WIDTH, layers=DEPTH)
    ExitCard(base=base, exits=exits, head="shortcut").write(folder)
    write_shortcuts(folder / HEADS, maps)
    return Bundle.read(folder)


def full() -> Shortcut:
    return Shortcut(bias=torch.randn(WIDTH), weight=torch.randn(WIDTH, WIDTH))


def low_rank() -> Shortcut:
    return Shortcut(bias=torch.randn(WIDTH), a=torch.randn(4, WIDTH), b=torch.randn(WIDTH, 4))


@torch.no_grad()
def test_without_maps_an_exit_speaks_as_if_it_were_the_last_layer(tiny: Any) -> None:
    ids, _ = left_padded(1, 9, 1)
    parts = model_parts(tiny)
    heads = ExitHeads.load(parts)
    raw: dict[int, torch.Tensor] = {}
    hooks = [
        layer.register_forward_hook(lambda _, __, out, number=number: raw.update({number: out}))
        for number, layer in enumerate(parts.layers, start=1)
    ]
    try:
        output = tiny(ids, output_hidden_states=True)
    finally:
        for hook in hooks:
            hook.remove()
    torch.testing.assert_close(heads.logits(DEPTH, raw[DEPTH]), output.logits)
    torch.testing.assert_close(heads.state_to_final(DEPTH, raw[DEPTH]), output.hidden_states[-1])
    torch.testing.assert_close(output.hidden_states[3], raw[3])


@torch.no_grad()
def test_maps_are_applied_before_the_final_norm(tiny: Any, tmp_path: Path) -> None:
    torch.manual_seed(1)
    maps = {3: full(), 5: low_rank()}
    parts = model_parts(tiny)
    heads = ExitHeads.load(parts, bundle(tmp_path, maps))
    states = torch.randn(7, WIDTH)
    whole, narrow = maps[3], maps[5]
    assert whole.weight is not None
    assert narrow.a is not None
    assert narrow.b is not None
    torch.testing.assert_close(
        heads.logits(3, states), parts.head(parts.finish(states @ whole.weight.T + whole.bias)), rtol=1e-4, atol=1e-4
    )
    mapped = states + (narrow.b @ (narrow.a @ states.T)).T + narrow.bias
    torch.testing.assert_close(heads.logits(5, states), parts.head(parts.finish(mapped)), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(heads.logits(DEPTH, states), parts.head(parts.finish(states)))


def test_maps_that_do_not_fit_are_named(tiny: Any, tmp_path: Path) -> None:
    parts = model_parts(tiny)
    with pytest.raises(UsageError, match="no map from exit 5 for states of width 48: it has nothing"):
        ExitHeads.load(parts, bundle(tmp_path / "a", {3: full()}))
    wide = Shortcut(bias=torch.randn(50), weight=torch.randn(50, 50))
    with pytest.raises(UsageError, match=r"from exit 3 .* it has bias \[50\], weight \[50, 50\]"):
        ExitHeads.load(parts, bundle(tmp_path / "b", {3: wide, 5: full()}))
    found = bundle(tmp_path / "c", {3: full(), 5: full()})
    (tmp_path / "c" / HEADS).write_bytes(b"nonsense")
    with pytest.raises(UsageError, match="cannot be read"):
        ExitHeads.load(parts, found)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, r"it has no exit.json; make one with `bench train`"),
        ("{", "Invalid JSON"),
        ('{"format": 7}', "format: Input should be 1"),
    ],
)
def test_a_folder_that_is_no_bundle_says_why(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "exit.json").write_text(content, "utf-8")
    with pytest.raises(UsageError, match=said):
        Bundle.read(tmp_path)


def test_a_bundle_must_have_what_its_card_names(tmp_path: Path) -> None:
    base = BaseModelCard(model="tiny", revision="r", family="llama", hidden_size=WIDTH, layers=DEPTH)
    ExitCard(base=base, exits=(3, DEPTH), head="none", lora=True).write(tmp_path)
    with pytest.raises(UsageError, match="names lora, which is not there"):
        Bundle.read(tmp_path)
    ExitCard(base=base, exits=(3, 5), head="none").write(tmp_path)
    with pytest.raises(UsageError, match="do not fit a model of 8 layers"):
        Bundle.read(tmp_path)
