"""At which layers a token may leave, and how much each exit weighs in fine-tuning (GREEN-CODE, III-D)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from passkwh.errors import UsageError

Skipped = Literal["propagated", "deferred"]
"""Where the keys and values of skipped layers come from (``cache.py``)."""
FIRST_EXIT = 4
DECAY = 0.9
BUDGETS = (0.7, 0.2, 0.1)
"""Shares of the loss: exits of the first half, exits of the second half, the last layer."""


@dataclass(frozen=True)
class ExitLayout:
    """Where a model of ``depth`` layers may be left: after ``exits[i]`` layers, counted from 1; the last is depth."""

    depth: int
    exits: tuple[int, ...]

    def __post_init__(self) -> None:
        ordered = all(a < b for a, b in zip(self.exits, self.exits[1:], strict=False))
        if not self.exits or not ordered or self.exits[0] < 1 or self.exits[-1] != self.depth:
            raise UsageError(
                f"exit layers {list(self.exits)} do not fit a model of {self.depth} layers: "
                f"give rising numbers from 1 that end with {self.depth}"
            )

    def weights(self) -> tuple[float, ...]:
        """Weight of each exit's loss, sum 1: geometric within each half, times the half's budget (III-D).

        Where a half has no exit, its budget goes to the others in proportion.
        """
        half = (
            self.depth // 2
        )  # the layer in the middle is the last of the first half, as in the authors' list of exits
        halves = [
            [layer for layer in self.exits[:-1] if layer <= half],
            [layer for layer in self.exits[:-1] if layer > half],
            [self.depth],
        ]
        shares = []
        for budget, layers in zip(BUDGETS, halves, strict=True):
            ratios = [DECAY**place for place in range(len(layers))]
            shares += [budget * ratio / sum(ratios) for ratio in ratios]
        return tuple(share / sum(shares) for share in shares)


def default_layout(depth: int) -> ExitLayout:
    """The authors' layout: from layer 4 every second layer of the first half, then every fourth, and the last.

    Their code lists the exits of 32 layers counted from 0 (``allowed_exits=[3,5,7,9,11,13,15,19,23,27]``): counted from
    1, 4 to 16 by twos, 20, 24, 28, and the last layer beside them. So the paper's "9 exit points" of 28 layers and "10"
    of 32 leave the last layer out. Where the depth's half is odd, every fourth counts from the last exit of the first
    half: 4 to 14 by twos, 18, 22, 26, 30 for 30 layers.
    """
    early = list(range(FIRST_EXIT, min(depth // 2, depth - 1) + 1, 2))
    middle = early[-1] if early else depth // 2
    late = list(range(middle + 4, depth, 4))
    return ExitLayout(depth, (*early, *late, depth))
