"""The samples of a pack in columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from passkwh.harness.meter.series import Bools, Floats, Ints
from passkwh.harness.runs.columns import Columns
from passkwh.records import Energy, Sample, Window

PARTS = ("generation_energy", "prefill_energy", "evaluation_energy")
KINDS: tuple[str, ...] = tuple(sorted(get_args(Window.model_fields["kind"].annotation)))
NO_BATCH = -(2**63)


@dataclass(frozen=True)
class Stated:
    """Energies of one channel as the samples state them, shape (n,): NaN where a value, or the channel, is missing."""

    there: Bools
    gross_j: Floats
    net_j: Floats


@dataclass(frozen=True)
class Samples:
    """Samples in the order of their ``order``; lists and arrays of shape (n,)."""

    columns: Columns
    keys: list[str]
    tasks: list[str]
    order: Ints
    sample_index: Ints
    batch_id: Ints
    batch_size: Ints
    latency_s: Floats
    status: list[str | None]
    detail: list[str]
    """Of the verdict; empty where there is none."""
    generation_kind: Ints
    """Kind of the generation window, as its place in ``KINDS``."""
    generation_batch: Ints
    """The batch that the generation window names, or ``NO_BATCH``."""
    evaluation_kind: Ints
    """Kind of the evaluation window of those that were scored."""
    energies: dict[str, dict[str, Stated]]
    """By part (``generation_energy``, ...) and channel."""
    channels: dict[str, Ints]
    """By part: how many channels each sample states."""

    @classmethod
    def of(cls, records: Sequence[Sample]) -> Samples:
        """Those of records, in any order."""
        samples = sorted(records, key=lambda sample: sample.order)
        windows = [sample.generation for sample in samples]
        scoring = [sample.evaluation for sample in samples if sample.evaluation is not None]
        by_part: dict[str, list[dict[str, Energy]]] = {part: [getattr(s, part) for s in samples] for part in PARTS}
        return cls(
            columns=Columns.of(samples),
            keys=[sample.key for sample in samples],
            tasks=[sample.task_id for sample in samples],
            order=np.array([sample.order for sample in samples], dtype=np.int64),
            sample_index=np.array([sample.sample_index for sample in samples], dtype=np.int64),
            batch_id=np.array([sample.batch_id for sample in samples], dtype=np.int64),
            batch_size=np.array([sample.batch_size for sample in samples], dtype=np.int64),
            latency_s=np.array([sample.latency_s for sample in samples], dtype=np.float64),
            status=[None if sample.verdict is None else sample.verdict.status for sample in samples],
            detail=["" if sample.verdict is None else sample.verdict.detail for sample in samples],
            generation_kind=np.array([KINDS.index(window.kind) for window in windows], dtype=np.int64),
            generation_batch=np.array([NO_BATCH if w.batch_id is None else w.batch_id for w in windows], np.int64),
            evaluation_kind=np.array([KINDS.index(window.kind) for window in scoring], dtype=np.int64),
            energies={
                part: {name: _stated(entries, name) for name in dict.fromkeys(key for one in entries for key in one)}
                for part, entries in by_part.items()
            },
            channels={part: np.array([len(one) for one in entries]) for part, entries in by_part.items()},
        )

    def __len__(self) -> int:
        return len(self.keys)


def _stated(entries: Sequence[dict[str, Energy]], name: str) -> Stated:
    found = [one.get(name) for one in entries]
    return Stated(
        np.array([one is not None for one in found], dtype=np.bool_),
        np.array([None if one is None else one.gross_j for one in found], dtype=np.float64),
        np.array([None if one is None else one.net_j for one in found], dtype=np.float64),
    )
