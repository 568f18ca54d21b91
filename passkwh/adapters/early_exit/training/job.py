"""What every training has in common: a model, its data, the bundle that it writes to, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from passkwh.adapters.early_exit.training.data import TrainingCorpus, packed
from passkwh.adapters.early_exit.training.model import TrainableModel
from passkwh.adapters.quantization.make import OpenSpan
from passkwh.errors import UsageError

Tick = Callable[[str, int, int], None]
"""Gets a stage in words, how much of it is done, and of how much."""
HELD_OUT_TOKENS = 2048
"""Tokens of each held-out corpus that exits are compared on."""


@dataclass(frozen=True)
class TrainingJob:
    """A model with the data to train and to evaluate on."""

    trainable: TrainableModel
    corpora: Sequence[TrainingCorpus]
    held_out: Sequence[TrainingCorpus]
    """Files that nothing is fitted to."""
    bundle: Path
    """Folder that the result is written to, with a note of how it was made."""
    meter: OpenSpan | None = None
    tick: Tick = lambda stage, done, total: None

    def rows(self, length: int, tokens: int | None) -> NDArray[np.int64]:
        """Training data as rows of token ids [rows, length]; each corpus gives an equal share of ``tokens``."""
        share = None if tokens is None else tokens // len(self.corpora)
        return np.concatenate([packed(corpus, self.trainable.tokenizer, length, share) for corpus in self.corpora])

    def held_out_rows(self, length: int) -> list[NDArray[np.int64]]:
        """Rows of token ids of each held-out corpus."""
        return [packed(corpus, self.trainable.tokenizer, length, HELD_OUT_TOKENS) for corpus in self.held_out]

    @contextmanager
    def costed(self) -> Iterator[Cost]:
        """Measure the block: what is yielded has its duration and energy once the block has ended."""
        start_ns, cost = time.monotonic_ns(), Cost()
        with self.meter() if self.meter else nullcontext(None) as spent:
            yield cost
        cost.duration_s = round((time.monotonic_ns() - start_ns) / 1e9, 1)
        cost.energy = spent().model_dump(mode="json") if spent else None

    def write_card(self, notes: dict[str, Any], **changes: Any) -> None:
        """Write the bundle's card with further notes on how its parts were made, and with other changes."""
        card = self.trainable.card
        card.model_copy(update={**changes, "notes": card.notes | notes}).write(self.bundle)


@dataclass
class Cost:
    """What a block of a training took."""

    duration_s: float = 0.0
    energy: dict[str, Any] | None = field(default=None)
    """As ``SpentEnergy``; None without a meter."""


def check_same(where: str, begun: dict[str, Any], wanted: dict[str, Any], fix: str) -> None:
    """UsageError where something was begun with other settings than are wanted now; names the first that differs."""
    for name, value in wanted.items():
        if begun.get(name) != value:
            raise UsageError(f"{where} was begun with {name} {begun.get(name)}, not {value}: {fix}")
