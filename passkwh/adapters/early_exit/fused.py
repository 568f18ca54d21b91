"""Linear maps that read the same input, run as one: queries, keys and values of a layer; gate and up of its MLP.

For a single new token such a map is so small that calling it costs as much as computing it. The weights are laid side
by side once, and the modules' own weights become views of that, so it takes no more memory and nothing else notices.
Within ``running`` the first module of a group that is called computes for all, and the others hand out their part.
Each output is the same sum over the same numbers as before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch.nn import Linear, Parameter
from torch.nn.functional import linear

from passkwh.adapters.early_exit.families import ModelParts


class Fused:
    """All groups of a model's decoder layers that can run as one: dense ones (quantized maps stay as they are)."""

    def __init__(self, parts: ModelParts) -> None:
        groups = [group for layer in parts.layers for group in parts.siblings(layer)]
        self._groups = [_Group(group) for group in groups if _alike(group)]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Within the block the modules work together."""
        try:
            for group in self._groups:
                group.join()
            yield
        finally:
            for group in self._groups:
                group.part()


def _alike(modules: Sequence[Any]) -> bool:
    """Plain maps with one kind of weights, all with a bias or all without."""
    return all(type(module) is Linear for module in modules) and (
        len({(module.weight.dtype, module.weight.device, module.bias is None) for module in modules}) == 1
    )


class _Group:
    """Modules that read the same input."""

    def __init__(self, modules: Sequence[Linear]) -> None:
        self._modules = modules
        self._sizes = [module.out_features for module in modules]
        self._weight = _side_by_side(modules, "weight")
        self._bias = None if modules[0].bias is None else _side_by_side(modules, "bias")
        self._input: torch.Tensor | None = None
        self._parts: list[torch.Tensor | None] = []

    def join(self) -> None:
        for place, module in enumerate(self._modules):
            module.forward = partial(self._give, place)  # type: ignore[method-assign]

    def part(self) -> None:
        for module in self._modules:
            module.__dict__.pop("forward", None)
        self._input, self._parts = None, []

    def _give(self, place: int, states: torch.Tensor) -> torch.Tensor:
        # Every part is handed out once: the same tensor with new contents is a new input.
        if states is not self._input or self._parts[place] is None:
            self._input = states
            self._parts = list(torch.split(linear(states, self._weight, self._bias), self._sizes, dim=-1))
        part, self._parts[place] = self._parts[place], None
        assert part is not None
        return part


def _side_by_side(modules: Sequence[Linear], name: str) -> torch.Tensor:
    """One tensor of which the modules' own are views, in their order; laid out now if they are not yet."""
    own: list[Any] = [getattr(module, name).data for module in modules]
    rows = sum(len(part) for part in own)
    first = own[0]
    offsets = [first.storage_offset() + sum(part.numel() for part in own[:place]) for place in range(len(own))]
    if all(
        part.untyped_storage().data_ptr() == first.untyped_storage().data_ptr() and part.storage_offset() == offset
        for part, offset in zip(own, offsets, strict=True)
    ):
        return torch.as_strided(first, (rows, *first.shape[1:]), first.stride())
    joined = torch.cat(own)
    for module, part in zip(modules, torch.split(joined, [len(part) for part in own]), strict=True):
        setattr(module, name, Parameter(part, requires_grad=False))
    return joined
