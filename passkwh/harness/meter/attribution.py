"""Whose joules are they: a batch's energy over its samples, and a generation's over prefill and decode.

What is measured is the batch. What a single sample of it cost is a matter of rule, and this is the rule: energy goes
by tokens processed, a prompt token counting ``PREFILL_WEIGHT`` of a generated one. Where the moment of the first token
is known, the two phases are measured apart and each is split by its own tokens, so that no weight is needed. The
samples of a batch always add up to the batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from passkwh.harness.meter.energies import Energies, Spans
from passkwh.harness.meter.series import Floats, Ints
from passkwh.harness.meter.trace import Trace
from passkwh.records import Energy, IdleBaseline

PREFILL_WEIGHT = 0.1
"""Cost of a prompt token in generated tokens where the phases cannot be measured apart.

All prompt tokens go through the model in one pass that reads its weights once; a generated token needs a pass of its
own. The true ratio depends on model and device: it shifts energy between samples of one batch, never between batches.
"""


@dataclass(frozen=True)
class Phases:
    """Energies of generation windows, or of the samples in them, before and after the first token."""

    prefill: Energies
    decode: Energies


def token_weights(tokens: Sequence[tuple[int, int]], prefill_weight: float = PREFILL_WEIGHT) -> list[float]:
    """Weight of each sample of a batch from its (prompt tokens, generated tokens); equal when there are none."""
    prompt, generated = np.array(tokens, dtype=np.float64).reshape(-1, 2).T
    return [float(w) for w in usable(prefill_weight * prompt + generated, np.zeros(len(tokens), dtype=np.int64))]


def usable(weights: Floats, owner: Ints) -> Floats:
    """Weights of members, equal among those of an owner (a batch, a session) who have no weight at all."""
    return np.where((np.bincount(owner, weights) > 0)[owner], weights, 1.0) if len(owner) else weights


def split(energy: Energy, weights: Sequence[float]) -> list[Energy]:
    """Shares of ``energy`` in proportion to ``weights`` (not negative, not all 0); they add up to it.

    Raises ValueError for other weights.
    """
    owner = np.zeros(len(weights), dtype=np.int64)
    return Energies.of([energy]).shared(owner, np.array(weights, dtype=np.float64)).records()


def phases(
    trace: Trace, channel: str, windows: Spans, first_token_ns: Ints, idle: Mapping[int, IdleBaseline] | None = None
) -> Phases:
    """Prefill and decode energy of generations, cut at the marks that were left when the first tokens were there.

    ``idle`` is by session. Raises ValueError for a mark outside its window.
    """
    outside = np.flatnonzero((first_token_ns < windows.start_ns) | (first_token_ns > windows.end_ns))
    if len(outside):
        i = int(outside[0])
        raise ValueError(
            f"the first token at {first_token_ns[i]} lies outside {windows.start_ns[i]}..{windows.end_ns[i]}"
        )
    return Phases(
        prefill=trace.energies(channel, Spans(windows.session, windows.start_ns, first_token_ns), idle),
        decode=trace.energies(channel, Spans(windows.session, first_token_ns, windows.end_ns), idle),
    )


def split_phases(both: Phases, owner: Ints, prompt: Floats, generated: Floats) -> Phases:
    """Each sample's share of its batch's prefill, by its prompt tokens, and of decode, by its generated tokens."""
    return Phases(
        prefill=both.prefill.shared(owner, usable(prompt, owner)),
        decode=both.decode.shared(owner, usable(generated, owner)),
    )
