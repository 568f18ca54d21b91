"""``bench train shortcut``: fits shortcut heads, judges them on other files, and puts them into a bundle."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from passkwh.adapters.early_exit.bundle import HEADS
from passkwh.adapters.early_exit.heads import ExitHeads, Shortcut, write_shortcuts
from passkwh.adapters.early_exit.training import shortcut
from passkwh.adapters.early_exit.training.data import Corpus, packed
from passkwh.adapters.early_exit.training.model import Student
from passkwh.adapters.early_exit.training.quality import agreement
from passkwh.adapters.early_exit.training.states import StateReader
from passkwh.adapters.quantization.make import OpenSpan

Tick = Callable[[str, int, int], None]
"""Told a stage, how much of it is done, and of how much."""
STORED = torch.float16
"""How maps are kept: their entries are small, and half the bytes matter in a bundle."""


def fit_shortcut(
    student: Student,
    corpora: Sequence[Corpus],
    held_out: Sequence[Corpus],
    bundle: Path,
    tokens: int,
    length: int,
    rank: int | None = None,
    judged_tokens: int = 2048,
    meter: OpenSpan | None = None,
    tick: Tick = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Fit a map for each exit but the last and write ``heads.safetensors`` and ``exit.json``; gives the card's notes.

    Args:
        student: read without maps: those that a bundle already has are replaced.
        corpora: files to fit to; each gives an equal share of ``tokens``.
        held_out: files to judge on, ``judged_tokens`` of each.
        length: tokens of a row, which are read together.
        rank: of the low-rank form; whole maps by default.
    """
    exits, width = student.card.exits, student.card.base.hidden_size
    share = tokens // len(corpora)
    rows = np.concatenate([packed(corpus, student.tokenizer, length, share) for corpus in corpora])
    judged = {corpus.description: packed(corpus, student.tokenizer, length, judged_tokens) for corpus in held_out}
    np.random.default_rng(0).shuffle(rows)
    reader = StateReader(student.model, exits)
    done = 0

    def seen(count: int) -> None:
        nonlocal done
        done += count
        tick("reading", done, rows.size)

    start_ns = time.monotonic_ns()
    with meter() if meter else nullcontext(None) as spent:
        fit = shortcut.collect(reader, _tensors(rows, student.device), exits, width, seen)
        tick("solving", 0, 1)
        maps = fit.solve()
    duration_s = (time.monotonic_ns() - start_ns) / 1e9
    shortcuts = {layer: Shortcut(**solved.tensors(rank, STORED)) for layer, solved in maps.items()}
    plain = ExitHeads(student.anatomy)
    fitted = ExitHeads(
        student.anatomy, {layer: part.to(student.device, student.model.dtype) for layer, part in shortcuts.items()}
    )
    quality = {}
    for place, (name, held) in enumerate(judged.items()):
        tick("judging", place, len(judged))
        quality[name] = agreement(reader, _tensors(held, student.device), exits, {"before": plain, "after": fitted}) | {
            "tokens": int(held.size)
        }
    notes = {
        "data": [corpus.description for corpus in corpora],
        "tokens": int(rows.size),
        "rank": rank,
        "ridge": {str(layer): solved.ridge for layer, solved in maps.items()},
        "duration_s": round(duration_s, 1),
        "energy": spent().model_dump(mode="json") if spent else None,
        "agreement_with_last_layer": quality,
    }
    write_shortcuts(bundle / HEADS, shortcuts)
    card = student.card.model_copy(update={"head": "shortcut", "notes": student.card.notes | {"shortcut": notes}})
    card.write(bundle)
    return notes


def _tensors(rows: NDArray[np.int64], device: torch.device) -> list[torch.Tensor]:
    return [torch.from_numpy(row)[None].to(device) for row in rows]
