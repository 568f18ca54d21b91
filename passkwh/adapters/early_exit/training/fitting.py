"""``bench train shortcut``: heads for the model as it is, from states of one pass over the data that are kept on disk.

First the map that errs least in the state (``shortcut.py``, in closed form), then, unless that is all that is wanted,
the same map trained on until its distribution is the last layer's (``distil.py``). Finished maps are kept beside the
states: a training that was interrupted goes on there.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from passkwh.adapters.early_exit.bundle import HEADS
from passkwh.adapters.early_exit.heads import ExitHeads, Shortcut, read_shortcuts, write_shortcuts
from passkwh.adapters.early_exit.training import shortcut
from passkwh.adapters.early_exit.training.distil import DistilSettings, common_tokens, distil
from passkwh.adapters.early_exit.training.job import TrainingJob
from passkwh.adapters.early_exit.training.quality import agreement
from passkwh.adapters.early_exit.training.state_store import stored_states
from passkwh.adapters.early_exit.training.states import StateReader
from passkwh.errors import UsageError

STORED = torch.float16
"""How maps are kept: their entries are small, and half the bytes matter in a bundle."""
METHODS = ("distilled", "ridge")


@dataclass(frozen=True)
class HeadSettings:
    """What heads are fitted to, and how."""

    method: str = "distilled"
    tokens: int = 100_000
    """Of the training data, shared equally by its corpora."""
    length: int = 512
    """Tokens of a row, which are read together."""
    rank: int | None = None
    """Of the low-rank form; whole maps by default."""
    candidates: int = 4096
    """Common tokens over which distributions are compared, and which the bundle lists."""
    distil: DistilSettings = field(default_factory=DistilSettings)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"--method is {self.method!r}: use {' or '.join(METHODS)}")


def fit_shortcut(job: TrainingJob, settings: HeadSettings, work: Path) -> dict[str, Any]:
    """Fit a map for each exit but the last and write ``heads.safetensors`` and ``exit.json``; gives the card's notes.

    The model is read without maps: those that the bundle already has are replaced.

    Args:
        work: folder for recorded states and for the maps that are finished; what is there is gone on with.
    """
    trainable = job.trainable
    exits = trainable.card.exits
    rows, held_out = job.rows(settings.length, settings.tokens), job.held_out_rows(settings.length)
    np.random.default_rng(0).shuffle(rows)
    candidates = torch.from_numpy(common_tokens(rows, settings.candidates)).to(trainable.device)
    with job.costed() as cost:
        states = stored_states(trainable, rows, work, lambda done, total: job.tick("reading", done, total))
        ridge = _ridge(job, states)
        shortcuts = {layer: Shortcut(**solved.tensors(settings.rank, torch.float32)) for layer, solved in ridge.items()}
        heads = {"plain": ExitHeads(trainable.parts), "ridge": _heads(job, shortcuts)}
        if settings.method == "distilled":
            shortcuts = _distilled(job, shortcuts, states, candidates, settings, work)
            heads["distilled"] = _heads(job, shortcuts)
    quality = {}
    reader = StateReader(trainable.model, exits)
    for place, (corpus, held) in enumerate(zip(job.held_out, held_out, strict=True)):
        job.tick("comparing exits", place, len(held_out))
        tensors = [torch.from_numpy(row)[None].to(trainable.device) for row in held]
        quality[corpus.description] = agreement(reader, tensors, exits, heads) | {"tokens": int(held.size)}
    notes = {
        "data": [corpus.description for corpus in job.corpora],
        "held_out": [corpus.description for corpus in job.held_out],
        "tokens": int(rows.size),
        "settings": asdict(settings),
        "ridge": {str(layer): solved.ridge for layer, solved in ridge.items()},
        "candidates_share": round(float(np.isin(rows, candidates.cpu().numpy()).mean()), 4),
        "duration_s": cost.duration_s,
        "energy": cost.energy,
        "agreement_with_last_layer": quality,
    }
    stored = {layer: part.to(torch.device("cpu"), STORED) for layer, part in shortcuts.items()}
    write_shortcuts(job.bundle / HEADS, stored, candidates)
    job.write_card({"shortcut": notes}, head="shortcut", candidates=len(candidates))
    return notes


def _ridge(job: TrainingJob, states: NDArray[np.float16]) -> dict[int, shortcut.Map]:
    card = job.trainable.card
    fit = shortcut.Fit(card.exits, card.base.hidden_size)
    for place, row in enumerate(states):
        job.tick("fitting", place, len(states))
        fit.add([np.asarray(row[:, at], np.float64) for at in range(len(card.exits))])
    return fit.solve()


def _distilled(
    job: TrainingJob,
    begun: dict[int, Shortcut],
    states: NDArray[np.float16],
    candidates: torch.Tensor,
    settings: HeadSettings,
    work: Path,
) -> dict[int, Shortcut]:
    """Every exit's map trained on; those that an interrupted training has finished are read."""
    card = job.trainable.card
    fitted = states.reshape(-1, *states.shape[2:])
    maps: dict[int, Shortcut] = {}
    for place, layer in enumerate(card.exits[:-1]):
        file = work / f"exit-{layer}-{settings.rank or 'whole'}.safetensors"
        if file.exists():
            maps |= read_shortcuts(file, (layer,), card.base.hidden_size)[0]
            continue

        def step(done: int, total: int, layer: int = layer) -> None:
            job.tick(f"exit {layer}", done, total)

        maps[layer] = distil(job.trainable.parts, begun[layer], fitted, place, candidates, settings.distil, step)
        write_shortcuts(file, {layer: maps[layer]})
    return maps


def _heads(job: TrainingJob, shortcuts: dict[int, Shortcut]) -> ExitHeads:
    """As they will be read from the bundle: through 16 bits, in the model's data type."""
    device, dtype = job.trainable.device, job.trainable.model.dtype
    halves = {layer: part.to(device, STORED).to(device, dtype) for layer, part in shortcuts.items()}
    return ExitHeads(job.trainable.parts, halves)
