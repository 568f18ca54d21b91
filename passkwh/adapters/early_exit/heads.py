"""From a state at an exit to logits: the exit's linear map where there is one, the final norm, the one LM head.

The map is that of Yom Din et al. (2024), "Jump to conclusions" (the paper's reference [37]): it takes the raw state at
an exit to the raw state after the last layer. Without a map the state itself is read as if it were the last one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from passkwh.adapters.early_exit.bundle import HEADS, Bundle
from passkwh.errors import UsageError

if TYPE_CHECKING:
    from passkwh.adapters.early_exit.families import ModelParts

Tensors = Mapping[str, torch.Tensor]
CANDIDATES = "candidates"
"""In ``heads.safetensors``: ids of the tokens that are most common in the training data, the commonest first."""


@dataclass(frozen=True)
class Shortcut:
    """One exit's map, full or low-rank.

    Full: ``weight`` [d, d] and ``bias`` [d], state -> weight @ state + bias. Low-rank: ``a`` [r, d], ``b`` [d, r] and
    ``bias`` [d], state -> state + b @ (a @ state) + bias.
    """

    bias: torch.Tensor
    weight: torch.Tensor | None = None
    a: torch.Tensor | None = None
    b: torch.Tensor | None = None

    @classmethod
    def of(cls, tensors: Tensors, hidden_size: int) -> Shortcut | None:
        """The map that these tensors are for states of this width; None where they are none."""
        d, a = hidden_size, tensors.get("a")
        rank = 0 if a is None else len(a)
        full: dict[str, tuple[int, ...]] = {"weight": (d, d), "bias": (d,)}
        low: dict[str, tuple[int, ...]] = {"a": (rank, d), "b": (d, rank), "bias": (d,)}
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        return cls(**tensors) if shapes == (full if a is None else low) else None

    def to(self, device: torch.device, dtype: torch.dtype) -> Shortcut:
        """The same map elsewhere, or in another type."""
        return Shortcut(**{name: t.to(device, dtype) for name, t in vars(self).items() if t is not None})

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """[..., d] -> [..., d]."""
        linear = torch.nn.functional.linear
        if self.weight is not None:
            return linear(states, self.weight, self.bias)
        assert self.a is not None
        assert self.b is not None
        return states + linear(linear(states, self.a), self.b, self.bias)


class ExitHeads:
    """From the state at each exit of one model to logits."""

    def __init__(
        self, parts: ModelParts, shortcuts: Mapping[int, Shortcut] | None = None, candidates: torch.Tensor | None = None
    ) -> None:
        self._parts = parts
        self._shortcuts = dict(shortcuts or {})
        self._candidates = candidates
        self._candidate_rows: dict[int, torch.Tensor] = {}

    @classmethod
    def load(cls, parts: ModelParts, bundle: Bundle | None = None) -> ExitHeads:
        """The heads of a bundle, in the model's data type and on its device; plain ones without a bundle or maps.

        UsageError where the file is damaged, or its maps do not fit the exits or the model.
        """
        if bundle is None or bundle.card.head == "none":
            return cls(parts)
        maps, candidates = read_shortcuts(bundle.folder / HEADS, bundle.card.exits[:-1], parts.hidden_size)
        moved = {layer: shortcut.to(parts.device, parts.dtype) for layer, shortcut in maps.items()}
        return cls(parts, moved, None if candidates is None else candidates.long().to(parts.device))

    def state_to_final(self, layer: int, states: torch.Tensor) -> torch.Tensor:
        """Raw states [..., d] after ``layer`` layers -> what the LM head reads.

        At the depth of the model these are transformers' ``hidden_states[-1]``, which must not be given here again.
        """
        shortcut = self._shortcuts.get(layer)
        return self._parts.finish(states if shortcut is None else shortcut(states))

    def logits(self, layer: int, states: torch.Tensor) -> torch.Tensor:
        """Raw states [..., d] after ``layer`` layers -> logits [..., vocabulary]."""
        return self.lm_head(self.state_to_final(layer, states))

    def candidate_logits(self, layer: int, states: torch.Tensor, count: int) -> torch.Tensor:
        """Raw states [..., d] -> logits [..., count] of the ``count`` commonest tokens alone: a part of the LM head's
        rows, and of its cost. UsageError where the bundle lists fewer.
        """
        rows = self._candidate_rows.get(count)
        if rows is None:
            listed = 0 if self._candidates is None else len(self._candidates)
            if self._candidates is None or count > listed:
                raise UsageError(
                    f"candidates={count}: these exits' heads list {listed} common tokens: give at most so many, or "
                    "train heads with `bench train shortcut --candidates`"
                )
            rows = head_rows(self._parts, self._candidates[:count])
            self._candidate_rows[count] = rows
        return torch.nn.functional.linear(self.state_to_final(layer, states), rows)

    def lm_head(self, finals: torch.Tensor) -> torch.Tensor:
        """What ``state_to_final`` gives -> logits [..., vocabulary]."""
        return self._parts.head(finals)


def head_rows(parts: ModelParts, tokens: torch.Tensor) -> torch.Tensor:
    """The LM head's rows of some token ids, [n, d]; UsageError for a head whose weights are packed."""
    weight = getattr(parts.head, "weight", None)
    if not isinstance(weight, torch.Tensor) or weight.dim() != 2:
        raise UsageError("the LM head's weights are packed, so no candidates can be taken from it: leave them out")
    return weight.detach()[tokens].contiguous()


def read_shortcuts(
    file: Path, exits: tuple[int, ...], hidden_size: int
) -> tuple[dict[int, Shortcut], torch.Tensor | None]:
    """The maps of a ``heads.safetensors``, by exit, and its candidates where it has some; UsageError unless there is a
    fitting map for each of ``exits``."""
    try:
        flat = load_file(file)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from None
    maps: dict[int, Shortcut] = {}
    for layer in exits:
        prefix = f"exit.{layer}."
        tensors = {name.removeprefix(prefix): tensor for name, tensor in flat.items() if name.startswith(prefix)}
        shortcut = Shortcut.of(tensors, hidden_size)
        if shortcut is None:
            shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in tensors.items()) or "nothing"
            raise UsageError(f"{file} has no map from exit {layer} for states of width {hidden_size}: it has {shapes}")
        maps[layer] = shortcut
    return maps, flat.get(CANDIDATES)


def write_shortcuts(file: Path, maps: Mapping[int, Shortcut], candidates: torch.Tensor | None = None) -> None:
    """Write a ``heads.safetensors``."""
    file.parent.mkdir(parents=True, exist_ok=True)
    flat = {
        f"exit.{layer}.{name}": tensor.detach().cpu().contiguous()
        for layer, shortcut in maps.items()
        for name, tensor in vars(shortcut).items()
        if tensor is not None
    }
    save_file(flat if candidates is None else flat | {CANDIDATES: candidates.int().cpu()}, file)
