"""Heads that learn what the last layer of the *unchanged* model says: an exit's map is trained by gradients so that
the distribution over tokens that it leads to, through the final norm and the one LM head, is the last layer's.

Nothing of the model is trained, so full depth is the model as it was. A ridge map (``shortcut.py``), from which this
begins, errs least in the state; what counts is the distribution. Distributions are compared over a list of candidates,
the tokens that are most common in the data, because the whole vocabulary takes ten times as long: what lies outside the
list is left to the map that this begins with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from passkwh.adapters.early_exit.families import ModelParts
from passkwh.adapters.early_exit.heads import Shortcut, head_rows

_MEASURED = 4096
"""Tokens whose states say how large each feature is."""


@dataclass(frozen=True)
class DistilSettings:
    """How long and how fast."""

    epochs: int = 1
    batch_size: int = 512
    learning_rate: float = 0.01
    """Relative to the size of the map's own numbers, falling linearly to nothing."""
    seed: int = 0


def common_tokens(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The token ids that occur most often, the commonest first; equally common ones by their number."""
    counts = np.bincount(rows.reshape(-1))
    order = np.argsort(-counts, kind="stable")[:count]
    return np.asarray(order[counts[order] > 0], np.int64)


def distil(
    parts: ModelParts,
    shortcut: Shortcut,
    states: NDArray[np.float16],
    place: int,
    candidates: torch.Tensor,
    settings: DistilSettings,
    step: Callable[[int, int], None] = lambda done, total: None,
) -> Shortcut:
    """The map of one exit, trained on from ``shortcut``.

    Args:
        states: [tokens, exits, d], the last being those after the last layer; may be memory-mapped.
        place: of the exit.
        candidates: token ids [n] over which distributions are compared.
        step: gets steps done and steps in all.
    """
    head = head_rows(parts, candidates).float()
    measured = torch.from_numpy(np.asarray(states[:: max(1, len(states) // _MEASURED), place], np.float32))
    mean, scale = measured.mean(0), measured.std(0).clamp_min(1e-6)
    names = {name: tensor.float() for name, tensor in vars(shortcut).items() if tensor is not None}
    # Features of a residual stream differ in size by orders of magnitude: trained is a map of standardised ones.
    reads = "weight" if shortcut.weight is not None else "a"
    fixed = {"bias": names["bias"] + _moved(names, mean), reads: names[reads] * scale}
    begin = names | fixed
    sizes = {name: float(tensor.square().mean().sqrt()) or 1.0 for name, tensor in begin.items()}
    trained = {name: (tensor / sizes[name]).requires_grad_() for name, tensor in begin.items()}
    optimizer = torch.optim.Adam(trained.values(), lr=settings.learning_rate)
    random = np.random.default_rng(settings.seed)
    per_epoch = -(-len(states) // settings.batch_size)
    total, done = per_epoch * settings.epochs, 0
    for _ in range(settings.epochs):
        order = random.permutation(len(states))
        for start in range(0, len(order), settings.batch_size):
            which = np.sort(order[start : start + settings.batch_size])
            batch = torch.from_numpy(np.asarray(states[which][:, [place, -1]], np.float32))
            raw, last = batch[:, 0], batch[:, 1]
            with torch.no_grad():
                wanted = torch.log_softmax(_finish(parts, last) @ head.T, dim=-1)
            mapped = _apply({name: tensor * sizes[name] for name, tensor in trained.items()}, raw, mean, scale)
            given = torch.log_softmax(_finish(parts, mapped) @ head.T, dim=-1)
            loss = torch.nn.functional.kl_div(given, wanted, reduction="batchmean", log_target=True)
            optimizer.param_groups[0]["lr"] = settings.learning_rate * (1 - done / total)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            done += 1
            step(done, total)
    learnt = {name: tensor.detach() * sizes[name] for name, tensor in trained.items()}
    learnt[reads] = learnt[reads] / scale
    learnt["bias"] = learnt["bias"] - _moved(learnt, mean)
    return Shortcut(**learnt)


def _moved(names: dict[str, torch.Tensor], mean: torch.Tensor) -> torch.Tensor:
    """What the map makes of the mean state, beyond the state itself in the low-rank form."""
    if "weight" in names:
        return names["weight"] @ mean
    return names["b"] @ (names["a"] @ mean)


def _apply(names: dict[str, torch.Tensor], raw: torch.Tensor, mean: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """The map in its trained form, which reads standardised features: [n, d] -> [n, d]."""
    read = (raw - mean) / scale
    if "weight" in names:
        return torch.nn.functional.linear(read, names["weight"], names["bias"])
    return raw + torch.nn.functional.linear(read @ names["a"].T, names["b"], names["bias"])


def _finish(parts: ModelParts, states: torch.Tensor) -> torch.Tensor:
    return parts.finish(states.to(parts.dtype)).float()
