"""Where the parts of a model are that early exit needs, in the modules of transformers itself.

The state that travels through a decoder (the residual stream) is called raw: what layer L hands to layer L + 1. It is
``hidden_states[L]`` of transformers' ``output_hidden_states`` for 0 <= L < depth; the last entry of that tuple is no
raw state, because transformers puts the final norm (and OPT's output projection) into it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from passkwh.errors import UsageError
from passkwh.registry import EXIT_FAMILIES

if TYPE_CHECKING:  # families are listed without torch
    import torch

Rotation = tuple["torch.Tensor", "torch.Tensor"]
"""Cosines and sines of rotary positions, each [batch, tokens, rotated width]."""


@dataclass(frozen=True)
class AttentionKind:
    """How some of a model's layers attend: with one kind of rotations, over the whole context or a window of it."""

    rotate: Callable[[torch.Tensor, torch.Tensor], Rotation | None]
    """States and positions -> ``position_embeddings`` of these layers; None for a family with learned positions."""
    window: int | None = None
    """Tokens that one attends to, itself included; None for all before it."""


@dataclass(frozen=True)
class ModelParts:
    """The parts of one loaded model."""

    family: str
    config: Any
    """The model's configuration, which its attention modules share."""
    depth: int
    hidden_size: int
    embed: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    """Token ids and positions, each [batch, tokens] -> raw states before the first layer, [batch, tokens, d], scaled
    where the family scales them."""
    layers: Sequence[Any]
    """Decoder layers. Each takes raw states, ``attention_mask``, ``past_key_values`` and the rotations of its kind."""
    kinds: Sequence[AttentionKind]
    """The distinct ways in which layers attend."""
    kind_of: Sequence[int]
    """Of each layer, which of ``kinds`` is its own."""
    finish: Callable[[torch.Tensor], torch.Tensor]
    """Raw states [..., d] -> what the LM head reads: final norm, and output projection where there is one."""
    head: Callable[[torch.Tensor], torch.Tensor]
    """The one LM head: finished states -> logits [..., vocabulary], capped where the family caps them."""
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
        UsageError: the family is not described (says how to describe it), or attends in a way that the decoding loop
            does not.
    """
    model = model.get_base_model() if hasattr(model, "get_base_model") else model
    family = model.config.model_type
    if family not in EXIT_FAMILIES:
        raise UsageError(
            f"early exit does not know models of family {family!r}: there are {', '.join(EXIT_FAMILIES.names())}; "
            f"describe another with an entry point {family} in the group {EXIT_FAMILIES.group}, for example "
            "RotaryFamily() where its modules are named as Llama's (docs/early-exit.md)"
        )
    parts: ModelParts = EXIT_FAMILIES.get(family)(model)
    return parts
