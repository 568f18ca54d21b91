"""``fixed:L``: every token leaves after layer L (GREEN-CODE, fig. 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from passkwh.adapters.early_exit.rules.base import Decision, ModelContext, Rule, RuleSpec, listed
from passkwh.errors import UsageError

if TYPE_CHECKING:
    import torch

    from passkwh.adapters.early_exit.heads import ExitHeads


class Fixed(Rule):
    """Every token leaves after the same layer."""

    example = "fixed:12"

    def __init__(self, layer: int, depth: int) -> None:
        self.exits = frozenset({layer} - {depth})

    @classmethod
    def make(cls, spec: RuleSpec, context: ModelContext | None) -> Fixed | None:
        """The rule; the layer must be an exit of the model's layout."""
        text = spec.argument or ""
        if not text.isdecimal():
            raise UsageError(f"--exit fixed needs a layer, not {text!r}: write for example {cls.example}")
        if context is None:
            return None
        layout = context.layout
        if int(text) not in layout.exits:
            raise UsageError(f"--exit fixed:{text}: {context.model} can be left after layers {listed(layout.exits)}")
        return cls(int(text), layout.depth)

    def leave(self, layer: int, states: torch.Tensor, heads: ExitHeads) -> Decision:
        """All of them."""
        return Decision([True] * len(states))
