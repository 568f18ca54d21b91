"""Single tokens on their way through the exits: of each row the last one, which leaves where a rule says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from passkwh.adapters.early_exit.drafts.walk import Walk
from passkwh.adapters.early_exit.heads import ExitHeads
from passkwh.adapters.early_exit.rules.base import Rule


class Departure(NamedTuple):
    """Tokens that leave at one exit."""

    places: list[int]
    """Which of the rows they are of."""
    layer: int
    logits: torch.Tensor
    """[tokens, vocabulary], of the exit."""


def departures(
    walk: Walk, heads: ExitHeads, rule: Rule, rows: Sequence[int], ends: Sequence[int]
) -> Iterator[Departure]:
    """Take the last position before ``ends`` of these rows from exit to exit, and tell of those that leave.

    Those that the rule keeps to the last exit have been through its layers, and are not told of.
    """
    kept, layer = list(range(len(rows))), 0
    for exit_layer in sorted(rule.exits):
        if not kept:
            return
        own_rows, own_ends = [rows[at] for at in kept], [ends[at] for at in kept]
        walk.advance(own_rows, own_ends, layer, exit_layer)
        states = walk.states(own_rows, [end - 1 for end in own_ends], own_ends)
        decision = rule.leave(exit_layer, states, heads)
        leaving = [place for place, gone in enumerate(decision.leave) if gone]
        if leaving:
            some = slice(None) if len(leaving) == len(kept) else leaving
            logits = heads.logits(exit_layer, states[some]) if decision.logits is None else decision.logits[some]
            yield Departure([kept[place] for place in leaving], exit_layer, logits)
        kept = [at for at, gone in zip(kept, decision.leave, strict=True) if not gone]
        layer = exit_layer
