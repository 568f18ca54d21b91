"""Reads the residual stream of a model at its exits, in one ordinary forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from passkwh.adapters.early_exit.families import model_parts

HALF_MAX = 65504.0
"""The largest number of 16 bits, which states are stored in; greater ones are cut to it."""


class StateReader:
    """Calls a model's decoder and gives the raw state after each of some layers (counted from 1).

    Gradients flow through what it gives. The LM head is not run.
    """

    def __init__(self, model: Any, exits: Sequence[int]) -> None:
        self._model = model
        self._layers = model_parts(model).layers
        self._exits = tuple(exits)

    def __call__(self, input_ids: torch.Tensor, past_key_values: Any = None) -> list[torch.Tensor]:
        """Token ids [batch, tokens] -> for each exit its raw states [batch, tokens, d]; they go on after what a cache
        holds, where one is given, and are added to it.
        """
        base = self._model.get_base_model() if hasattr(self._model, "get_base_model") else self._model
        with self._hooked() as seen:
            base.model(input_ids=input_ids, past_key_values=past_key_values, use_cache=past_key_values is not None)
        return [seen[layer] for layer in self._exits]

    @contextmanager
    def _hooked(self) -> Iterator[dict[int, torch.Tensor]]:
        seen: dict[int, torch.Tensor] = {}

        def keep(layer: int) -> Any:
            def hook(module: Any, inputs: Any, output: Any) -> None:
                seen[layer] = output[0] if isinstance(output, tuple) else output

            return hook

        handles = [self._layers[layer - 1].register_forward_hook(keep(layer)) for layer in self._exits]
        try:
            yield seen
        finally:
            for handle in handles:
                handle.remove()
