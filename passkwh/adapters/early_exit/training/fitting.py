"""``bench train shortcut``: fits shortcut heads, compares exits on held-out files, and puts the heads into a bundle."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from passkwh.adapters.early_exit.bundle import HEADS
from passkwh.adapters.early_exit.heads import ExitHeads, Shortcut, write_shortcuts
from passkwh.adapters.early_exit.training import shortcut
from passkwh.adapters.early_exit.training.job import TrainingJob
from passkwh.adapters.early_exit.training.quality import agreement
from passkwh.adapters.early_exit.training.states import StateReader

STORED = torch.float16
"""How maps are kept: their entries are small, and half the bytes matter in a bundle."""


def fit_shortcut(job: TrainingJob, tokens: int, length: int, rank: int | None = None) -> dict[str, Any]:
    """Fit a map for each exit but the last and write ``heads.safetensors`` and ``exit.json``; gives the card's notes.

    The model is read without maps: those that the bundle already has are replaced.

    Args:
        tokens: of the training data, shared equally by its corpora.
        length: tokens of a row, which are read together.
        rank: of the low-rank form; whole maps by default.
    """
    trainable = job.trainable
    exits, width = trainable.card.exits, trainable.card.base.hidden_size
    rows, held_out = job.rows(length, tokens), job.held_out_rows(length)
    np.random.default_rng(0).shuffle(rows)
    reader = StateReader(trainable.model, exits)
    done = 0

    def seen(count: int) -> None:
        nonlocal done
        done += count
        job.tick("reading", done, rows.size)

    with job.costed() as cost:
        fit = shortcut.collect(reader, _tensors(rows, trainable.device), exits, width, seen)
        job.tick("solving", 0, 1)
        maps = fit.solve()
    shortcuts = {layer: Shortcut(**solved.tensors(rank, STORED)) for layer, solved in maps.items()}
    plain = ExitHeads(trainable.parts)
    fitted = ExitHeads(
        trainable.parts, {layer: part.to(trainable.device, trainable.model.dtype) for layer, part in shortcuts.items()}
    )
    quality = {}
    for place, (corpus, held) in enumerate(zip(job.held_out, held_out, strict=True)):
        job.tick("comparing exits", place, len(held_out))
        shares = agreement(reader, _tensors(held, trainable.device), exits, {"before": plain, "after": fitted})
        quality[corpus.description] = shares | {"tokens": int(held.size)}
    notes = {
        "data": [corpus.description for corpus in job.corpora],
        "tokens": int(rows.size),
        "rank": rank,
        "ridge": {str(layer): solved.ridge for layer, solved in maps.items()},
        "duration_s": cost.duration_s,
        "energy": cost.energy,
        "agreement_with_last_layer": quality,
    }
    write_shortcuts(job.bundle / HEADS, shortcuts)
    job.write_card({"shortcut": notes}, head="shortcut")
    return notes


def _tensors(rows: NDArray[np.int64], device: torch.device) -> list[torch.Tensor]:
    return [torch.from_numpy(row)[None].to(device) for row in rows]
