"""How well each exit predicts: agreement with the last layer on files that nothing was fitted to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch

from passkwh.adapters.early_exit.heads import ExitHeads
from passkwh.adapters.early_exit.training.states import StateReader

_CHUNK = 128


def agreement(
    reader: StateReader, rows: Iterable[torch.Tensor], exits: tuple[int, ...], heads: Mapping[str, ExitHeads]
) -> dict[str, dict[int, float]]:
    """For each set of heads, by exit: the share of tokens whose likeliest next token is the last layer's.

    Args:
        rows: token ids, [1, tokens] each.
        heads: by name; each must leave the last layer as it is.
    """
    same = {name: np.zeros(len(exits)) for name in heads}
    tokens = 0
    for row in rows:
        with torch.inference_mode():
            states = reader(row)
            truth = _likeliest(next(iter(heads.values())), exits[-1], states[-1])
            tokens += len(truth)
            for name, exit_heads in heads.items():
                for place, layer in enumerate(exits):
                    predicted = truth if layer == exits[-1] else _likeliest(exit_heads, layer, states[place])
                    same[name][place] += int((predicted == truth).sum())
    return {
        name: {layer: round(float(count / max(tokens, 1)), 4) for layer, count in zip(exits, counts, strict=True)}
        for name, counts in same.items()
    }


def _likeliest(heads: ExitHeads, layer: int, states: torch.Tensor) -> torch.Tensor:
    return torch.cat([heads.logits(layer, chunk).argmax(dim=-1) for chunk in torch.split(states[0], _CHUNK)])
