"""``oracle``: the first exit that predicts what the last layer does (the paper's optimal exit), known afterwards.

Every token runs through all layers and the head reads every exit, so text and energy are not those of early exit: the
energy is more than the full model's. What the rule gives is the bound that any rule can reach without a changed token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from passkwh.adapters.early_exit.layout import ExitLayout
from passkwh.adapters.early_exit.rules.base import Decision, ModelContext, Rule, RuleSpec, before_last
from passkwh.errors import UsageError

if TYPE_CHECKING:
    import torch

    from passkwh.adapters.early_exit.heads import ExitHeads


class Oracle(Rule):
    """Notes every exit's prediction and, after the last layer, which would have sufficed (l_opt of eq. 2)."""

    example = "oracle"
    hindsight = True

    def __init__(self, layout: ExitLayout) -> None:
        self._depth = layout.depth
        self._predicted: dict[int, torch.Tensor] = {}
        self.exits = before_last(layout)

    @classmethod
    def make(cls, spec: RuleSpec, context: ModelContext | None) -> Oracle | None:
        """The rule, which takes no argument."""
        if spec.argument is not None:
            raise UsageError(f"--exit oracle takes no argument, and {spec.argument!r} was given")
        return None if context is None else cls(context.layout)

    def leave(self, layer: int, states: torch.Tensor, heads: ExitHeads) -> Decision:
        """None of them."""
        self._predicted[layer] = heads.logits(layer, states).argmax(dim=-1)
        return Decision([False] * len(states))

    def required_layers(self, last: torch.Tensor) -> list[int]:
        """First exit with the last layer's prediction, per token."""
        wanted = last.argmax(dim=-1)
        needed = wanted.new_full(wanted.shape, self._depth)
        for layer in sorted(self._predicted, reverse=True):
            needed[self._predicted[layer] == wanted] = layer
        self._predicted = {}
        layers: list[int] = needed.tolist()
        return layers
