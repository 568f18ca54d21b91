"""``confidence:T`` and ``entropy:T``: a token leaves where the exit's own distribution over tokens is sure enough.

Both run the LM head at every exit that is passed, which is what they cost.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

from passkwh.adapters.early_exit.layout import ExitLayout
from passkwh.adapters.early_exit.rules.base import Decision, ModelContext, Rule, RuleSpec, before_last, threshold

if TYPE_CHECKING:
    import torch

    from passkwh.adapters.early_exit.heads import ExitHeads


class _FromDistribution(Rule):
    """A rule with a threshold from 0 to 1 on what :meth:`leave` makes of an exit's logits."""

    takes_threshold = True

    def __init__(self, limit: float, layout: ExitLayout) -> None:
        self._limit = limit
        self.exits = before_last(layout)

    @classmethod
    def make(cls, spec: RuleSpec, context: ModelContext | None) -> Self | None:
        """The rule, for a threshold from 0 to 1."""
        limit = threshold(spec, cls.example)
        return None if context is None else cls(limit, context.layout)


class Confidence(_FromDistribution):
    """A token leaves where the exit's most likely token has at least probability T."""

    example = "confidence:0.9"

    def leave(self, layer: int, states: torch.Tensor, heads: ExitHeads) -> Decision:
        """Those whose top probability reaches the threshold."""
        logits = heads.logits(layer, states)
        scores = logits.float()
        top = (scores.amax(dim=-1) - scores.logsumexp(dim=-1)).exp()
        return Decision((top >= self._limit).tolist(), logits)


class Entropy(_FromDistribution):
    """A token leaves where the entropy over that of a uniform distribution (log of the vocabulary) is at most T."""

    example = "entropy:0.1"

    def leave(self, layer: int, states: torch.Tensor, heads: ExitHeads) -> Decision:
        """Those whose normalised entropy is at most the threshold."""
        import torch

        logits = heads.logits(layer, states)
        logs = torch.log_softmax(logits.float(), dim=-1)
        entropy = torch.special.entr(logs.exp()).sum(dim=-1) / math.log(logs.shape[-1])
        return Decision((entropy <= self._limit).tolist(), logits)
