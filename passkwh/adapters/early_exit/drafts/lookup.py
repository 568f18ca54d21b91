"""``lookup:K``: what followed the last few tokens where they stood before, in the prompt or in what was written.

Prompt-lookup decoding (Saxena, 2023). Costs nothing but the check, and pays where answers repeat their prompts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from passkwh.adapters.early_exit.drafts.base import Drafter, Frontier, whole_number
from passkwh.adapters.early_exit.rules.base import ModelContext, RuleSpec

if TYPE_CHECKING:
    import numpy.typing as npt

MATCH = 2
"""Tokens that must stand before, where ``match`` says nothing."""
LONGEST = 8
"""Of two places the one is taken that more tokens match at, up to so many."""


class LookupDrafter(Drafter):
    """Up to K tokens that followed the same ``match`` or more tokens before."""

    example = "lookup:3"
    options = ("match",)

    def __init__(self, most: int, match: int) -> None:
        self._most = most
        self._match = match

    @classmethod
    def make(cls, spec: RuleSpec, context: ModelContext | None) -> LookupDrafter | None:
        """The drafter; its argument is the most tokens of a draft."""
        most = whole_number(spec, spec.argument, "the most tokens of a draft", cls.example)
        match = whole_number(spec, spec.options.get("match", str(MATCH)), "match=TOKENS", f"{cls.example},match=4")
        return None if context is None else cls(most, match)

    def draft(self, frontier: Frontier) -> list[list[int]]:
        """Looked up row by row."""
        return [
            continuation(text, min(self._most, most), self._match)
            for text, most in zip(frontier.texts, frontier.most, strict=True)
        ]


def continuation(text: npt.NDArray[np.int64], count: int, match: int) -> list[int]:
    """What followed the last tokens of ``text`` where most of them stood before, the latest such place.

    Up to ``count`` tokens; none where fewer than ``match`` tokens stood before. What repeats itself up to the end of
    the text is taken to go on repeating itself.

    Example:
        >>> continuation(np.array([5, 6, 7, 8, 5, 6]), 3, match=2)
        [7, 8, 5]
    """
    ends = np.flatnonzero(text[:-1] == text[-1])
    matched = 1
    while len(ends) and matched < LONGEST:
        longer = ends[ends >= matched]
        longer = longer[text[longer - matched] == text[-1 - matched]]
        if not len(longer):
            break
        ends, matched = longer, matched + 1
    if not len(ends) or matched < match:
        return []
    start = int(ends[-1]) + 1
    period = len(text) - start
    return [int(text[start + place % period]) for place in range(count)]
