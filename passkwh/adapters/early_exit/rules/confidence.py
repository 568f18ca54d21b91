"""``confidence:T``: a token leaves where the exit's most likely token has at least probability T."""

from __future__ import annotations

import torch

from passkwh.adapters.early_exit.heads import ExitHeads
from passkwh.adapters.early_exit.layout import ExitLayout
from passkwh.adapters.early_exit.rules.base import Decision, ModelContext, Rule, RuleSpec, before_last, threshold


class Confidence(Rule):
    """Top probability at the exit. The LM head runs at every exit that is passed, which is what the rule costs."""

    example = "confidence:0.9"

    def __init__(self, least: float, layout: ExitLayout) -> None:
        self._least = least
        self.exits = before_last(layout)

    @classmethod
    def make(cls, spec: RuleSpec, context: ModelContext | None) -> Confidence | None:
        """The rule, for a threshold from 0 to 1."""
        least = threshold(spec, cls.example)
        return None if context is None else cls(least, context.layout)

    def leave(self, layer: int, states: torch.Tensor, heads: ExitHeads) -> Decision:
        """Those whose top probability reaches the threshold."""
        logits = heads.logits(layer, states)
        scores = logits.float()
        top = (scores.amax(dim=-1) - scores.logsumexp(dim=-1)).exp()
        return Decision((top >= self._least).tolist(), logits)
