"""How far a rule is from the first exit that predicts what the last layer does."""

from __future__ import annotations

from collections.abc import Sequence

from passkwh.analysis.exits.summary import ExitSummary
from passkwh.records import Record, Sample


class OracleDistance(Record):
    """How far one rule is from the first exit that predicts what the last layer does."""

    label: str
    oracle: str
    mean_layers_above: float | None
    """Mean exit layer of decoded tokens less the oracle's. Their texts may differ."""
    same_texts: int
    """Completions that are the oracle's, word for word: only there can exits be compared token by token."""
    tokens: int
    """Their decoded tokens."""
    at: float | None
    """Share of those tokens that left where the oracle would."""
    later: float | None
    earlier: float | None
    """Share that left at an earlier exit than the oracle and yet wrote the same text."""


def distance(
    one: ExitSummary, oracle: ExitSummary, samples: Sequence[Sample], judged: Sequence[Sample]
) -> OracleDistance:
    """Compare exits token by token where a completion is the oracle's, and mean layers over all."""
    ideal = {(sample.task_id, sample.sample_index): sample for sample in judged}
    pairs: list[tuple[int, int]] = []
    same = 0
    for sample in samples:
        twin = ideal.get((sample.task_id, sample.sample_index))
        if twin is None or twin.text != sample.text or twin.completion_tokens != sample.completion_tokens:
            continue
        same += 1
        pairs += zip((sample.exit_layers or ())[1:], (twin.exit_layers or ())[1:], strict=True)
    means = one.mean_exit_layer_decoded, oracle.mean_exit_layer_decoded
    return OracleDistance(
        label=one.label,
        oracle=oracle.label,
        mean_layers_above=None if means[0] is None or means[1] is None else means[0] - means[1],
        same_texts=same,
        tokens=len(pairs),
        at=_share([left == needed for left, needed in pairs]),
        later=_share([left > needed for left, needed in pairs]),
        earlier=_share([left < needed for left, needed in pairs]),
    )


def _share(hits: Sequence[bool]) -> float | None:
    return sum(hits) / len(hits) if hits else None
