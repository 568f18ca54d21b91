"""An exit rule: a token leaves at the first exit where the mean of its state is positive."""

from __future__ import annotations

import torch

from passkwh.adapters.early_exit.heads import ExitHeads
from passkwh.adapters.early_exit.rules.base import Decision, ModelContext, Rule, RuleSpec, before_last
from passkwh.errors import UsageError


class Sign(Rule):
    """Leaves where the mean of a token's state is positive."""

    example = "toy-sign"

    def __init__(self, context: ModelContext) -> None:
        self.exits = before_last(context.layout)

    @classmethod
    def make(cls, spec: RuleSpec, context: ModelContext | None) -> Sign | None:
        """The rule; it takes no argument."""
        if spec.argument is not None:
            raise UsageError(f"--exit toy-sign:{spec.argument}: toy-sign takes no argument")
        return None if context is None else cls(context)

    def leave(self, layer: int, states: torch.Tensor, heads: ExitHeads) -> Decision:
        """Those with a positive mean; ``states`` has shape [tokens, width]."""
        return Decision((states.float().mean(dim=1) > 0).tolist())
