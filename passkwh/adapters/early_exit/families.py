"""Where the parts of a model are that early exit needs, family by family, in the modules of transformers itself.

The state that travels through a decoder (the residual stream) is called raw: what layer L hands to layer L + 1. It is
``hidden_states[L]`` of transformers' ``output_hidden_states`` for 0 <= L < depth; the last entry of that tuple is no
raw state, because transformers puts the final norm (and OPT's output projection) into it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from passkwh.errors import UsageError

Rotation = tuple[torch.Tensor, torch.Tensor]
"""Cosines and sines of rotary positions, each [batch, tokens, head width]."""


@dataclass(frozen=True)
class ModelParts:
    """The parts of one loaded model."""

    family: str
    config: Any
    """The model's configuration, which its attention modules share."""
    depth: int
    hidden_size: int
    embed: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    """Token ids and positions, each [batch, tokens] -> raw states before the first layer, [batch, tokens, d]."""
    layers: Sequence[Any]
    """Decoder layers. Each takes raw states, ``attention_mask``, ``past_key_values`` and what ``rotate`` gives."""
    rotate: Callable[[torch.Tensor, torch.Tensor], Rotation | None]
    """States and positions -> ``position_embeddings`` of every layer; None for a family with learned positions."""
    finish: Callable[[torch.Tensor], torch.Tensor]
    """Raw states [..., d] -> what the LM head reads: final norm, and output projection where there is one."""
    head: Callable[[torch.Tensor], torch.Tensor]
    """The one LM head: finished states -> logits [..., vocabulary]."""
    keys_values: Callable[[Any, torch.Tensor, Rotation | None], tuple[torch.Tensor, torch.Tensor]]
    """A layer, raw states [batch, tokens, d] and rotations -> its keys and values, [batch, heads, tokens, width]."""
    siblings: Callable[[Any], Sequence[Sequence[Any]]]
    """A layer -> groups of its linear maps, each of maps that read one and the same input."""
    key_value_heads: int
    head_width: int
    dtype: torch.dtype
    """Of states, keys and values."""
    device: torch.device


def model_parts(model: Any) -> ModelParts:
    """The parts of a causal language model of transformers, of a PEFT model around one, or of a quantized one.

    Raises:
        UsageError: the family is not supported (names those that are), or attends in a way the decoding loop does not.
    """
    model = model.get_base_model() if hasattr(model, "get_base_model") else model
    family = model.config.model_type
    if family not in FAMILIES:
        raise UsageError(f"early exit does not know models of family {family!r}: there are {', '.join(FAMILIES)}")
    return FAMILIES[family](model)


def _llama(model: Any) -> ModelParts:
    """Llama, and Qwen2, whose modules have the same names."""
    config, decoder = model.config, model.model
    if "sliding_attention" in (getattr(config, "layer_types", None) or ()):
        raise UsageError("early exit needs attention over the whole context, and this model's layers use a window")
    kind = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    if kind in ("dynamic", "longrope"):
        raise UsageError(f"early exit needs positions that stay what they are, and {kind!r} rotary ones change")
    head_width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads

    def keys_values(layer: Any, states: torch.Tensor, rotation: Rotation | None) -> tuple[torch.Tensor, torch.Tensor]:
        assert rotation is not None
        normed = layer.input_layernorm(states)
        shape = (*normed.shape[:-1], -1, head_width)
        keys = layer.self_attn.k_proj(normed).view(shape).transpose(1, 2)
        values = layer.self_attn.v_proj(normed).view(shape).transpose(1, 2)
        _, keys = apply_rotary_pos_emb(keys, keys, *rotation)
        return keys, values

    return ModelParts(
        family=config.model_type,
        config=config,
        depth=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        embed=lambda ids, positions: decoder.embed_tokens(ids),
        layers=decoder.layers,
        rotate=decoder.rotary_emb,
        finish=decoder.norm,
        head=model.lm_head,
        keys_values=keys_values,
        siblings=lambda layer: [_attention_maps(layer), [layer.mlp.gate_proj, layer.mlp.up_proj]],
        key_value_heads=config.num_key_value_heads,
        head_width=head_width,
        dtype=decoder.norm.weight.dtype,
        device=decoder.norm.weight.device,
    )


def _opt(model: Any) -> ModelParts:
    config, decoder = model.config, model.model.decoder

    def embed(ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        states = decoder.embed_tokens(ids)
        if decoder.project_in is not None:
            states = decoder.project_in(states)
        # This embedding reads its mask only where it is given no positions.
        placed: torch.Tensor = states + decoder.embed_positions(None, position_ids=positions)
        return placed

    def finish(states: torch.Tensor) -> torch.Tensor:
        if decoder.final_layer_norm is not None:
            states = decoder.final_layer_norm(states)
        return states if decoder.project_out is None else decoder.project_out(states)

    def keys_values(layer: Any, states: torch.Tensor, rotation: Rotation | None) -> tuple[torch.Tensor, torch.Tensor]:
        if layer.do_layer_norm_before:
            states = layer.self_attn_layer_norm(states)
        shape = (*states.shape[:-1], layer.self_attn.num_heads, layer.self_attn.head_dim)
        keys = layer.self_attn.k_proj(states).view(shape).transpose(1, 2)
        values = layer.self_attn.v_proj(states).view(shape).transpose(1, 2)
        return keys, values

    return ModelParts(
        family=config.model_type,
        config=config,
        depth=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        embed=embed,
        layers=decoder.layers,
        rotate=lambda states, positions: None,
        finish=finish,
        head=model.lm_head,
        keys_values=keys_values,
        siblings=lambda layer: [_attention_maps(layer)],
        key_value_heads=config.num_attention_heads,
        head_width=config.hidden_size // config.num_attention_heads,
        dtype=decoder.embed_positions.weight.dtype,
        device=decoder.embed_positions.weight.device,
    )


def _attention_maps(layer: Any) -> list[Any]:
    attention = layer.self_attn
    return [attention.q_proj, attention.k_proj, attention.v_proj]


FAMILIES: dict[str, Callable[[Any], ModelParts]] = {"llama": _llama, "qwen2": _llama, "opt": _opt}
"""``model_type`` of a configuration -> where its parts are. A family is one function and one line here."""
