"""Tiny real models of every supported family, with random weights, and prompts for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

Make = Callable[[], Any]
VOCABULARY = 320
DEPTH = 8


def _llama() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=48, intermediate_size=96, num_hidden_layers=DEPTH, num_attention_heads=6,
            num_key_value_heads=2, max_position_embeddings=256, pad_token_id=0, eos_token_id=1, bos_token_id=None,
        )
    )  # fmt: skip


def _qwen2() -> Any:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=VOCABULARY, hidden_size=48, intermediate_size=96, num_hidden_layers=DEPTH, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=256, pad_token_id=0,
            eos_token_id=1, bos_token_id=None,
        )
    )  # fmt: skip


def _rotary(family: str, **more: Any) -> Any:
    """A tiny model of a family whose configuration takes the usual names."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        family, vocab_size=VOCABULARY, hidden_size=48, intermediate_size=96, num_hidden_layers=DEPTH,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256, pad_token_id=0, eos_token_id=1,
        bos_token_id=None, **more,
    )  # fmt: skip
    return AutoModelForCausalLM.from_config(config)


def _opt(before: bool, width: int) -> Any:
    from transformers import OPTConfig, OPTForCausalLM

    return OPTForCausalLM(
        OPTConfig(
            vocab_size=VOCABULARY, hidden_size=48, ffn_dim=96, num_hidden_layers=DEPTH, num_attention_heads=4,
            max_position_embeddings=256, tie_word_embeddings=False, do_layer_norm_before=before,
            word_embed_proj_dim=width, pad_token_id=0, eos_token_id=1, bos_token_id=None,
        )
    )  # fmt: skip


MODELS: dict[str, Make] = {
    "llama": _llama,
    "qwen2": _qwen2,
    "opt": lambda: _opt(True, 48),
    "opt-350m-like": lambda: _opt(False, 24),  # norm after attention, and embeddings narrower than the decoder
}
FAMILIES: dict[str, Make] = {
    "qwen3": lambda: _rotary("qwen3", head_dim=16),
    "qwen3-moe": lambda: _rotary(
        "qwen3_moe", head_dim=16, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32
    ),
    "mixtral": lambda: _rotary("mixtral", num_local_experts=4, num_experts_per_tok=2),
    "mistral-window": lambda: _rotary("mistral", sliding_window=7),
    "phi3": lambda: _rotary("phi3", partial_rotary_factor=0.5),
    "gemma3": lambda: _rotary(
        "gemma3_text",
        head_dim=16,
        query_pre_attn_scalar=16,
        sliding_window=7,
        final_logit_softcapping=20.0,
        layer_types=[*["sliding_attention"] * 3, "full_attention"] * 2,
    ),
}
"""Families that differ from those by what one description of them says."""


@pytest.fixture(scope="session", params=list(MODELS))
def tiny(request: pytest.FixtureRequest) -> Any:
    """A tiny model of each kind of decoder."""
    return with_layers_that_matter(MODELS[request.param])


@pytest.fixture(scope="session", params=[*MODELS, *FAMILIES])
def of_family(request: pytest.FixtureRequest) -> Any:
    """A tiny model of every family."""
    return with_layers_that_matter((MODELS | FAMILIES)[request.param])


def with_layers_that_matter(make: Make) -> Any:
    """A tiny model in float32: random weights as initialised change states hardly at all."""
    torch.manual_seed(3)
    model = make().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2:
                parameter.mul_(8 if ".layers." in name else 2)
            else:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def left_padded(rows: int, longest: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random prompts of different lengths, the first of full length: ids and attention mask [rows, longest]."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(2, VOCABULARY, (rows, longest), generator=generator)
    mask = torch.ones_like(ids)
    for row in range(1, rows):
        padding = int(torch.randint(0, longest - 1, (), generator=generator))
        ids[row, :padding], mask[row, :padding] = 0, 0
    return ids, mask
