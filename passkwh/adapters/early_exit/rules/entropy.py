"""``entropy:T``: a token leaves where the exit's distribution over tokens has at most entropy T, on a scale to 1."""

from __future__ import annotations

import math

import torch

from passkwh.adapters.early_exit.heads import ExitHeads
from passkwh.adapters.early_exit.layout import ExitLayout
from passkwh.adapters.early_exit.rules.base import Decision, ModelContext, Rule, RuleSpec, before_last, threshold


class Entropy(Rule):
    """Entropy at the exit over that of a uniform distribution (log of the vocabulary's size). Costs the LM head."""

    example = "entropy:0.1"

    def __init__(self, most: float, layout: ExitLayout) -> None:
        self._most = most
        self.exits = before_last(layout)

    @classmethod
    def make(cls, spec: RuleSpec, context: ModelContext | None) -> Entropy | None:
        """The rule, for a threshold from 0 to 1."""
        most = threshold(spec, cls.example)
        return None if context is None else cls(most, context.layout)

    def leave(self, layer: int, states: torch.Tensor, heads: ExitHeads) -> Decision:
        """Those whose normalised entropy is at most the threshold."""
        logits = heads.logits(layer, states)
        logs = torch.log_softmax(logits.float(), dim=-1)
        entropy = torch.special.entr(logs.exp()).sum(dim=-1) / math.log(logs.shape[-1])
        return Decision((entropy <= self._most).tolist(), logits)
