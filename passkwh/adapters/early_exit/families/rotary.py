"""Decoders with rotary positions, all built alike: Llama, Mistral, Qwen, Gemma, Phi. What differs is described."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from passkwh.adapters.early_exit.families.base import AttentionKind, ModelParts, Rotation
from passkwh.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch.nn import Module

FULL, SLIDING = "full_attention", "sliding_attention"


@dataclass(frozen=True)
class RotaryFamily:
    """Where such a family's parts are, by their names in transformers; called with a model, it gives its parts.

    Layers have ``input_layernorm`` and ``self_attn``; the family's own ``apply_rotary_pos_emb`` rotates keys, whole or
    in part, and its own embedding scales what it scales (Gemma).

    Example, for a family whose modules are named as Llama's and whose configuration names each layer's reach:
        >>> FAMILY = RotaryFamily(reach="layer_types")
    """

    key_value: tuple[str, ...] = ("k_proj", "v_proj")
    """Of ``self_attn``: its maps to keys and to values, or the one to queries, keys and values."""
    key_norm: str | None = None
    """Of ``self_attn``: what norms keys, head by head, before they are rotated."""
    siblings: tuple[tuple[str, ...], ...] = (
        ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        ("mlp.gate_proj", "mlp.up_proj"),
    )
    """Of a layer: groups of linear maps that read the same input."""
    reach: Literal["whole", "layer_types", "sliding_window"] = "whole"
    """What of the configuration bounds how far layers look back: nothing, each layer's type, or one window for all."""
    rotations_by_type: bool = False
    """Layers of different types rotate differently (Gemma 3: local and global)."""
    softcap: str | None = None
    """Of the configuration: what logits are capped at, softly; not capped where it is null."""

    @property
    def summary(self) -> str:
        """One line for ``bench list``."""
        keys = "normed keys" if self.key_norm else "plain keys"
        reach = {"whole": "no window", "layer_types": "windows by layer", "sliding_window": "one window for all layers"}
        return f"a decoder with rotary positions, {keys}, {reach[self.reach]}"

    def __call__(self, model: Any) -> ModelParts:
        """The parts of a model of the family; UsageError for rotations that change with the length of the text."""
        config, decoder = model.config, model.model
        _refuse_changing_rotations(config)
        norm, rotary = decoder.norm, decoder.rotary_emb
        types = self._types(config)
        distinct = list(dict.fromkeys(types))
        head_width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return ModelParts(
            family=config.model_type,
            config=config,
            depth=config.num_hidden_layers,
            hidden_size=config.hidden_size,
            embed=lambda ids, positions: decoder.embed_tokens(ids),
            layers=decoder.layers,
            kinds=[
                AttentionKind(
                    partial(rotary, layer_type=kind) if self.rotations_by_type else rotary,
                    config.sliding_window if kind == SLIDING else None,
                )
                for kind in distinct
            ],
            kind_of=[distinct.index(kind) for kind in types],
            finish=norm,
            head=self._head(model, config),
            keys_values=partial(self._keys_values, config.num_key_value_heads, head_width),
            siblings=self._siblings,
            key_value_heads=config.num_key_value_heads,
            head_width=head_width,
            dtype=norm.weight.dtype,
            device=norm.weight.device,
        )

    def _types(self, config: Any) -> list[str]:
        """Of each layer, whether it attends to all before it or through a window."""
        depth = config.num_hidden_layers
        if self.reach == "layer_types" and getattr(config, "layer_types", None):
            return list(config.layer_types)
        windowed = self.reach == "sliding_window" and config.sliding_window is not None
        return [SLIDING if windowed else FULL] * depth

    def _head(self, model: Any, config: Any) -> Any:
        head = model.lm_head
        cap = None if self.softcap is None else getattr(config, self.softcap, None)
        if cap is None:
            return head
        return lambda finals: (head(finals) / cap).tanh() * cap

    def _keys_values(
        self, heads: int, width: int, layer: Module, states: torch.Tensor, rotation: Rotation | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        assert rotation is not None
        attention: Any = layer.self_attn
        normed: torch.Tensor = layer.input_layernorm(states)  # type: ignore[operator]
        maps = [getattr(attention, name)(normed) for name in self.key_value]
        if len(maps) == 1:  # queries, keys and values side by side
            maps = list(maps[0].split((maps[0].shape[-1] - 2 * heads * width, heads * width, heads * width), -1)[1:])
        keys, values = (part.view(*normed.shape[:-1], heads, width) for part in maps)
        if self.key_norm is not None:
            keys = getattr(attention, self.key_norm)(keys)
        keys, values = keys.transpose(1, 2), values.transpose(1, 2)
        own = sys.modules[type(attention).__module__]
        return own.apply_rotary_pos_emb(keys, keys, *rotation)[1], values

    def _siblings(self, layer: Module) -> Sequence[Sequence[Any]]:
        return [[layer.get_submodule(name) for name in group] for group in self.siblings]


def _refuse_changing_rotations(config: Any) -> None:
    given = getattr(config, "rope_parameters", None) or {}
    for parameters in (given, *(part for part in given.values() if isinstance(part, dict))):
        if (kind := parameters.get("rope_type", "default")) in ("dynamic", "longrope"):
            raise UsageError(f"early exit needs positions that stay what they are, and {kind!r} rotary ones change")


_QKV = RotaryFamily().siblings[:1]
LLAMA = RotaryFamily()
QWEN2 = RotaryFamily(reach="layer_types")
QWEN3 = RotaryFamily(reach="layer_types", key_norm="k_norm")
QWEN3_MOE = RotaryFamily(reach="sliding_window", key_norm="k_norm", siblings=_QKV)
MISTRAL = RotaryFamily(reach="sliding_window")
MIXTRAL = RotaryFamily(reach="sliding_window", siblings=_QKV)
PHI3 = RotaryFamily(reach="sliding_window", key_value=("qkv_proj",), siblings=())
GEMMA3 = RotaryFamily(reach="layer_types", key_norm="k_norm", rotations_by_type=True, softcap="final_logit_softcapping")
