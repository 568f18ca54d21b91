"""States of a model at its exits over packed rows of tokens, on disk: read by fits again and again, never held whole.

A store is a folder: ``store.json`` (of which model and rows, and how many rows are there) and ``states.f16``
[rows, length, exits, d], raw states in 16 bits. One that was interrupted goes on after its last whole row.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from passkwh.adapters.early_exit.training.job import check_same
from passkwh.adapters.early_exit.training.model import TrainableModel
from passkwh.adapters.early_exit.training.states import HALF_MAX, StateReader

INDEX, STATES = "store.json", "states.f16"


def stored_states(
    trainable: TrainableModel, rows: NDArray[np.int64], folder: Path, read: Callable[[int, int], None]
) -> NDArray[np.float16]:
    """The states of ``rows`` [rows, length] after each exit, memory-mapped [rows, length, exits, d].

    ``read`` gets how many rows are there and how many there will be.

    Raises:
        UsageError: the folder holds those of another model, layout or other rows.
    """
    exits, width = trainable.card.exits, trainable.card.base.hidden_size
    shape = (*rows.shape, len(exits), width)
    identity: dict[str, Any] = {
        "revision": trainable.card.base.revision,
        "fine-tuning": trainable.tuning_hash,
        "exits": list(exits),
        "rows": hashlib.sha256(np.ascontiguousarray(rows).tobytes()).hexdigest(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    index, file = folder / INDEX, folder / STATES
    done = 0
    if index.exists():
        begun = json.loads(index.read_text("utf-8"))
        check_same(f"the states in {folder}", begun, identity, "give another --work, or delete them")
        done = begun["done"]
    size = math.prod(shape[1:]) * np.dtype(np.float16).itemsize
    reader = StateReader(trainable.model, exits)
    with file.open("r+b" if file.exists() else "w+b") as states:
        states.truncate(done * size)
        states.seek(done * size)
        for place in range(done, len(rows)):
            read(place, len(rows))
            with torch.inference_mode():
                seen = reader(torch.from_numpy(rows[place : place + 1]).to(trainable.device))
            row = torch.stack([state[0] for state in seen], 1).float().clamp(-HALF_MAX, HALF_MAX)
            states.write(row.half().cpu().numpy().tobytes())
            states.flush()
            draft = folder / f".{INDEX}"
            draft.write_text(json.dumps({**identity, "done": place + 1}) + "\n", "utf-8")
            draft.replace(index)
    return np.memmap(file, dtype=np.float16, mode="r", shape=shape)
