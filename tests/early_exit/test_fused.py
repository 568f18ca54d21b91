"""Maps of one input run as one: the same numbers, the same memory, and nobody outside notices."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from passkwh.adapters.early_exit.attention import attend
from passkwh.adapters.early_exit.decode import Ending, ExitDecoder
from passkwh.adapters.early_exit.families import model_parts
from passkwh.adapters.early_exit.fused import MOST_FEW, Fused, few_tokens
from passkwh.adapters.early_exit.heads import ExitHeads, Shortcut
from passkwh.adapters.early_exit.rules.base import Decision
from tests.early_exit.conftest import MODELS, left_padded, with_layers_that_matter
from tests.early_exit.test_decode import EXITS, Sometimes


def maps(model: Any) -> list[torch.nn.Linear]:
    parts = model_parts(model)
    return [module for layer in parts.layers for group in parts.siblings(layer) for module in group]


def storages(model: Any) -> set[int]:
    return {module.weight.untyped_storage().data_ptr() for module in maps(model)}


@torch.inference_mode()
@pytest.mark.parametrize(
    ("tokens", "dtype"), [(12, torch.float32), (1, torch.bfloat16), (12, torch.bfloat16), (384, torch.bfloat16)]
)
def test_outputs_are_the_same_to_the_bit_and_weights_stay_what_they_were(
    tiny: Any, tokens: int, dtype: torch.dtype
) -> None:
    tiny = copy.deepcopy(tiny).to(dtype)
    kept = {name: weight.clone() for name, weight in tiny.state_dict().items()}
    modules = maps(tiny)
    given = [torch.randn(1, tokens, module.in_features, dtype=dtype) for module in modules]
    alone = [module(states) for module, states in zip(modules, given, strict=True)]
    with Fused(model_parts(tiny)).running():
        assert [m for m in modules if "forward" in vars(m)] == modules
        for module, states, expected in zip(modules, given, alone, strict=True):
            assert torch.equal(module(states), expected)
    assert not [m for m in modules if "forward" in vars(m)]
    for name, weight in tiny.state_dict().items():
        assert torch.equal(weight, kept[name])


@torch.inference_mode()
def test_one_call_computes_for_the_group_and_new_contents_are_computed_anew(tiny: Any) -> None:
    parts = model_parts(tiny)
    first, *others = parts.siblings(parts.layers[0])[0]
    states = torch.randn(1, 1, first.in_features)
    with Fused(parts).running():
        one = first(states)
        again = [module(states) for module in others]
        assert {part.untyped_storage().data_ptr() for part in again} == {one.untyped_storage().data_ptr()}
        states.mul_(2)
        doubled = first(states)
    assert torch.equal(doubled, first(states))
    assert not torch.equal(doubled, one)


@torch.inference_mode()
def test_a_wide_map_in_16_bits_rounds_as_it_does_alone() -> None:
    """As wide as a real model's, where products of another size sum in another order."""
    config = LlamaConfig(
        vocab_size=8, hidden_size=576, intermediate_size=1536, num_hidden_layers=1, num_attention_heads=9,
        num_key_value_heads=3, pad_token_id=0,
    )  # fmt: skip
    parts = model_parts(LlamaForCausalLM(config).to(torch.bfloat16))
    modules = [module for group in parts.siblings(parts.layers[0]) for module in group]
    for tokens in (1, 2, 8, 100, 384):
        states = torch.randn(1, tokens, 576, dtype=torch.bfloat16)
        alone = [module(states) for module in modules]
        with Fused(parts).running():
            assert all(torch.equal(module(states), own) for module, own in zip(modules, alone, strict=True)), tokens


@torch.inference_mode()
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("seed", range(20))
def test_attention_in_16_bits_rounds_as_the_usual_one_does(padded: bool, rows: int, seed: int) -> None:
    torch.manual_seed(seed)
    before = 1000
    query = torch.randn(rows, 9, 1, 64, dtype=torch.bfloat16)
    key, value = (torch.randn(rows, 3, before, 64, dtype=torch.bfloat16) for _ in range(2))
    mask = torch.ones(rows, 1, 1, before, dtype=torch.bool) if padded else None
    if mask is not None:
        mask[0, :, :, :50] = False
    module = torch.nn.Module()
    module.num_key_value_groups, module.is_causal = 3, True  # type: ignore[assignment]
    own, usual = (of(module, query, key, value, mask, scaling=0.125)[0] for of in (attend, sdpa_attention_forward))
    assert torch.equal(own, usual)


class AsksHeads(Sometimes):
    """Leaves as that does, and looks through the exit's map first, as rules of distributions do."""

    def leave(self, layer: int, states: torch.Tensor, heads: ExitHeads) -> Decision:
        heads.state_to_final(layer, states)
        return super().leave(layer, states, heads)


def test_a_state_that_goes_on_is_laid_out_as_if_made_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice of several keeps their strides, for which torch's product in 16 bits on a CPU takes a slow path."""
    parts = model_parts(with_layers_that_matter(MODELS["llama"]))
    maps_of_exits = {layer: Shortcut(torch.zeros(48), torch.eye(48)) for layer in EXITS}
    ids, mask = left_padded(1, 12, 2)
    strides: list[tuple[int, ...]] = []
    product = torch.nn.functional.linear

    def watched(states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        if states.numel() == states.shape[-1]:
            strides.append(states.stride())
        return product(states, weight, bias)

    monkeypatch.setattr(torch.nn.functional, "linear", watched)
    _, (depths,) = ExitDecoder(parts, ExitHeads(parts, maps_of_exits), AsksHeads(0.0), "deferred").draw(
        ids, mask, Ending(24, (), 0)
    )
    assert len(set(depths[1:])) > 2, "nothing ever caught up"
    assert {stride for stride in strides if len(stride) == 2} == {(48, 1)}


def test_a_second_decoder_finds_the_weights_side_by_side(tiny: Any) -> None:
    Fused(model_parts(tiny))
    groups = sum(len(model_parts(tiny).siblings(layer)) for layer in model_parts(tiny).layers)
    before = storages(tiny)
    assert len(before) == groups
    Fused(model_parts(tiny))
    assert storages(tiny) == before


def test_quantized_maps_are_left_alone(tiny: Any) -> None:
    class Other(torch.nn.Linear):
        """As the modules of quantized checkpoints: another class."""

    layer = model_parts(tiny).layers[0].self_attn
    plain = layer.k_proj
    layer.k_proj = Other(plain.in_features, plain.out_features)
    try:
        states = torch.randn(1, 1, plain.in_features)
        alone = layer.q_proj(states), layer.k_proj(states)
        with Fused(model_parts(tiny)).running():
            assert "forward" not in vars(layer.k_proj)
            assert all(map(torch.equal, alone, (layer.q_proj(states), layer.k_proj(states))))
    finally:
        layer.k_proj = plain


@pytest.mark.parametrize("count", [1, 2, 5, MOST_FEW, MOST_FEW + 1])
@pytest.mark.parametrize("biased", [True, False])
def test_few_tokens_are_multiplied_as_linear_does(count: int, biased: bool) -> None:
    torch.manual_seed(count)
    weight, states = torch.randn(7, 5), torch.randn(1, count, 5)
    bias = torch.randn(7) if biased else None
    out = few_tokens(states, weight, bias)
    torch.testing.assert_close(out, torch.nn.functional.linear(states, weight, bias))
    assert out.is_contiguous()


@torch.inference_mode()
def test_a_head_in_16_bits_that_the_cpu_emulates_is_multiplied_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("passkwh.adapters.early_exit.fused.cpu_has_bfloat16", lambda: False)
    model = MODELS["llama"]().to(torch.bfloat16).eval()
    states = torch.randn(1, 4, 48).to(torch.bfloat16)
    for few in (states, states[:, :1]):
        expected = model.lm_head(few)
        with Fused(model_parts(model)).running():
            out = model.lm_head(few)
        assert out.dtype == torch.bfloat16
        torch.testing.assert_close(out, expected, rtol=2e-2, atol=2e-2)
    assert "forward" not in vars(model.lm_head)
