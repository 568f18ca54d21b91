"""``confidence:T`` and ``entropy:T``: a token leaves where the exit's own distribution over tokens is sure enough.

Both need logits at every exit that is passed, which is what they cost: the whole LM head, or with ``candidates=N`` its
rows of the N tokens that are most common in the data that the bundle's heads were trained on. Only the decision is made
on those: where a token leaves, the whole head says which one it is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

from passkwh.adapters.early_exit.layout import ExitLayout
from passkwh.adapters.early_exit.rules.base import Decision, ModelContext, Rule, RuleSpec, before_last, threshold
from passkwh.errors import UsageError
from passkwh.records import Option

if TYPE_CHECKING:
    import torch

    from passkwh.adapters.early_exit.heads import ExitHeads


class _FromDistribution(Rule):
    """A rule with a threshold from 0 to 1 on what :meth:`leave` makes of an exit's logits."""

    options = ("candidates",)
    takes_threshold = True

    def __init__(self, limit: float, layout: ExitLayout, candidates: int | None = None) -> None:
        self._limit = limit
        self._candidates = candidates
        self.exits = before_last(layout)
        self._about: dict[str, Option] = {}

    @classmethod
    def make(cls, spec: RuleSpec, context: ModelContext | None) -> Self | None:
        """The rule, for a threshold from 0 to 1 or a loss that the bundle's calibration has one for."""
        limit = threshold(spec, cls.example, context)
        candidates = _candidates(spec)
        if context is None:
            return None
        listed = context.bundle.card.candidates if context.bundle else 0
        if candidates is not None and candidates > listed:
            raise UsageError(
                f"--exit {spec.name}: candidates={candidates}, and the heads of {context.model} list {listed} common "
                "tokens: give fewer, or a bundle of `bench train shortcut --candidates`"
            )
        rule = cls(limit.value, context.layout, candidates)
        rule._about = {**limit.about}
        return rule

    def about(self) -> dict[str, Option]:
        """Which threshold a calibration gave."""
        return self._about

    def _logits(self, layer: int, states: torch.Tensor, heads: ExitHeads) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What the decision is made on, [n, tokens]; and the logits of the whole vocabulary, where those are it."""
        if self._candidates is not None:
            return heads.candidate_logits(layer, states, self._candidates).float(), None
        logits = heads.logits(layer, states)
        return logits.float(), logits


class Confidence(_FromDistribution):
    """A token leaves where the exit's most likely token has at least probability T."""

    example = "confidence:0.9"

    def leave(self, layer: int, states: torch.Tensor, heads: ExitHeads) -> Decision:
        """Those whose top probability reaches the threshold."""
        scores, logits = self._logits(layer, states, heads)
        top = (scores.amax(dim=-1) - scores.logsumexp(dim=-1)).exp()
        return Decision((top >= self._limit).tolist(), logits)


class Entropy(_FromDistribution):
    """A token leaves where the entropy over that of a uniform distribution (log of the vocabulary) is at most T."""

    example = "entropy:0.1"

    def leave(self, layer: int, states: torch.Tensor, heads: ExitHeads) -> Decision:
        """Those whose normalised entropy is at most the threshold."""
        import torch

        scores, logits = self._logits(layer, states, heads)
        logs = torch.log_softmax(scores, dim=-1)
        entropy = torch.special.entr(logs.exp()).sum(dim=-1) / math.log(logs.shape[-1])
        return Decision((entropy <= self._limit).tolist(), logits)


def _candidates(spec: RuleSpec) -> int | None:
    text = spec.options.get("candidates")
    if text is None:
        return None
    if not text.isdecimal() or int(text) < 2:
        raise UsageError(f"--exit {spec.name}: candidates={text}: give a whole number of tokens from 2 on")
    return int(text)
