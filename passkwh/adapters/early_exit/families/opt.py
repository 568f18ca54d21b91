"""OPT: learned positions, and for one size a norm after attention and embeddings narrower than the decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from passkwh.adapters.early_exit.families.base import AttentionKind, ModelParts, Rotation

if TYPE_CHECKING:
    import torch


def opt(model: Any) -> ModelParts:
    """The parts of an OPT model."""
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
        kinds=[AttentionKind(lambda states, positions: None)],
        kind_of=[0] * config.num_hidden_layers,
        finish=finish,
        head=model.lm_head,
        keys_values=keys_values,
        siblings=lambda layer: [[layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj]],
        key_value_heads=config.num_attention_heads,
        head_width=config.hidden_size // config.num_attention_heads,
        dtype=decoder.embed_positions.weight.dtype,
        device=decoder.embed_positions.weight.device,
    )
