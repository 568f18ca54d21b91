"""The contract of drafters: for rows of a batch, tokens that the whole model may well write next.

A drafter changes what completions cost and never what they are: the whole model checks every token (``decode.py``).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from passkwh.adapters.early_exit.rules.base import ExitMethod, RuleSpec
from passkwh.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from passkwh.adapters.early_exit.drafts.walk import Walk
    from passkwh.adapters.early_exit.heads import ExitHeads


@dataclass(frozen=True)
class Frontier:
    """Rows of a batch that are to be drafted for: everything is in their order."""

    rows: Sequence[int]
    """Their places in the batch."""
    texts: Sequence[npt.NDArray[np.int64]]
    """Prompt and completion of each so far, as tokens."""
    ends: Sequence[int]
    """Where the first drafted token of each is going to stand in its padded row."""
    most: Sequence[int]
    """The most tokens that each has room for."""
    end_tokens: Collection[int]
    """Nothing needs to be drafted after one of these."""
    walk: Walk
    """The model, layer by layer, with keys, values and states of the rows."""
    heads: ExitHeads


class Drafter(ExitMethod):
    """Drafts tokens. Made once for a model."""

    common = ("exits", "bundle")
    lossless = True

    @abstractmethod
    def draft(self, frontier: Frontier) -> list[list[int]]:
        """Tokens for each row of the frontier, the likeliest next ones: none where there is nothing to go by."""


def whole_number(spec: RuleSpec, text: str | None, what: str, example: str) -> int:
    """A count of 1 or more; UsageError for anything else, with an example."""
    if text is None or not text.isdecimal() or int(text) < 1:
        seen = "nothing" if text is None else repr(text)
        raise UsageError(f"--exit {spec.name} needs {what}, 1 or more, not {seen}: write for example {example}")
    return int(text)
