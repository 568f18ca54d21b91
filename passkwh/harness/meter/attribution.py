"""Whose joules are they: a batch's energy over its samples, and a generation's over prefill and decode.

What is measured is the batch. What a single sample of it cost is a matter of rule, and this is the rule: energy goes
by tokens processed, a prompt token counting ``PREFILL_WEIGHT`` of a generated one. Where the moment of the first token
is known, the two phases are measured apart and each is split by its own tokens, so that no weight is needed. The
samples of a batch always add up to the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum

from passkwh.harness.meter.trace import Trace
from passkwh.records import Energy, IdleBaseline, Window

PREFILL_WEIGHT = 0.1
"""Cost of a prompt token in generated tokens where the phases cannot be measured apart.

All prompt tokens go through the model in one pass that reads its weights once; a generated token needs a pass of its
own. The true ratio depends on model and device: it shifts energy between samples of one batch, never between batches.
"""


@dataclass(frozen=True)
class Phases:
    """Energy of a generation window before and after its first token."""

    prefill: Energy
    decode: Energy


def token_weights(tokens: Sequence[tuple[int, int]], prefill_weight: float = PREFILL_WEIGHT) -> list[float]:
    """Weight of each sample of a batch from its (prompt tokens, generated tokens); equal when there are none."""
    weights = [prefill_weight * prompt + generated for prompt, generated in tokens]
    return weights if fsum(weights) > 0 else [1.0] * len(weights)


def split(energy: Energy, weights: Sequence[float]) -> list[Energy]:
    """Shares of ``energy`` in proportion to ``weights`` (not negative, not all 0); they add up to it.

    The standard error is shared like the energy: the shares of one measurement err together. What is missing of the
    whole is missing, for the same reason, of every share.
    """
    total = fsum(weights)
    if any(weight < 0 for weight in weights) or not total > 0:
        raise ValueError(f"weights must not be negative and not all zero: {list(weights)}")
    gross, net, se = (_parts(value, weights, total) for value in (energy.gross_j, energy.net_j, energy.se_j))
    return [
        Energy(gross_j=gross_j, net_j=net_j, se_j=se_j, reason=energy.reason)
        for gross_j, net_j, se_j in zip(gross, net, se, strict=True)
    ]


def phases(trace: Trace, channel: str, window: Window, first_token_ns: int, idle: IdleBaseline | None = None) -> Phases:
    """Prefill and decode energy of a generation, cut at the mark that was left when the first token was there."""
    if not window.start_ns <= first_token_ns <= window.end_ns:
        raise ValueError(f"the first token at {first_token_ns} lies outside {window.start_ns}..{window.end_ns}")
    return Phases(
        prefill=trace.energy(channel, window.session, window.start_ns, first_token_ns, idle),
        decode=trace.energy(channel, window.session, first_token_ns, window.end_ns, idle),
    )


def split_phases(both: Phases, tokens: Sequence[tuple[int, int]]) -> list[Phases]:
    """Each sample's share of prefill, by its prompt tokens, and of decode, by its generated tokens."""
    prefill = split(both.prefill, token_weights([(prompt, 0) for prompt, _ in tokens]))
    decode = split(both.decode, token_weights([(0, generated) for _, generated in tokens]))
    return [Phases(prefill=before, decode=after) for before, after in zip(prefill, decode, strict=True)]


def _parts(value: float | None, weights: Sequence[float], total: float) -> list[float | None]:
    """``value`` split by ``weights``; the heaviest part takes the rounding."""
    if value is None:
        return [None] * len(weights)
    parts = [value * weight / total for weight in weights]
    heaviest = max(range(len(parts)), key=lambda index: weights[index])
    parts[heaviest] += value - fsum(parts)
    return [*parts]
