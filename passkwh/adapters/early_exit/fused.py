"""Linear maps as they run fastest for the few tokens of a step.

Maps that read the same input run as one: queries, keys and values of a layer; gate and up of its MLP. For a single new
token such a map is so small that calling it costs as much as computing it. The weights are laid side by side once, and
the modules' own weights become views of that, so it takes no more memory and nothing else notices.
Within ``running`` the first module of a group that is called computes for all, and the others hand out their part.

For two to eight tokens in float32 a CPU's product of ``states @ weight.T`` first lays the weights out anew, which takes
longer than computing with them; ``weight @ states.T`` does not (an EPYC core, SmolLM2's head: 11 ms instead of 21 for
four tokens, and 8 for one). A check of drafts, and a step of a small batch, are such products.
An LM head in 16 bits on a CPU that only emulates them (that of a quantized model) is laid out once in float32 for such
products, which then take 11 ms instead of 24 for four tokens.

Each output is the same sum over the same numbers as before. The order of a sum over several tokens' numbers may depend
on the product's size, though, and in 16 bits on a CPU another order rounds to other numbers than ``generate`` has:
there only maps of a single token run as one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch.nn import Linear, Parameter
from torch.nn.functional import linear

from passkwh.adapters.device import cpu_has_bfloat16
from passkwh.adapters.early_exit.attention import rounds_by_order
from passkwh.adapters.early_exit.families import ModelParts

MOST_FEW = 8
"""Tokens up to which the second order of the product is the faster one."""


class Fused:
    """A model's dense linear maps: groups that can run as one, and single ones (quantized maps stay as they are)."""

    def __init__(self, parts: ModelParts) -> None:
        groups = [group for layer in parts.layers for group in parts.siblings(layer)]
        fused = [group for group in groups if _alike(group)]
        self._groups = [_Group(group) for group in fused]
        of_groups = {id(module) for group in fused for module in group}
        maps = [module for layer in parts.layers for module in layer.modules()] + [parts.head]
        self._single = [module for module in maps if type(module) is Linear and id(module) not in of_groups]
        self._wide_head = _wide(parts.head) if self._single and self._single[-1] is parts.head else None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Within the block the modules work together."""
        try:
            for group in self._groups:
                group.join()
            for module in self._single:
                module.forward = partial(_alone, module)  # type: ignore[method-assign]
            if self._wide_head is not None:
                head = self._single[-1]
                head.forward = partial(_in_float32, head, self._wide_head)  # type: ignore[method-assign]
            yield
        finally:
            for group in self._groups:
                group.part()
            for module in self._single:
                module.__dict__.pop("forward", None)


def laid_out(states: torch.Tensor) -> torch.Tensor:
    """The same states, in memory as if they had been made by themselves.

    The slice of one position of several keeps the whole's strides, and torch's product of such a slice in 16 bits on a
    CPU takes several times as long (an exit's map of 576 x 576 on two Xeon cores: 0.7 ms instead of 0.15), for the same
    numbers. ``contiguous()`` does not help: a slice of one position is contiguous.
    """
    return states.clone(memory_format=torch.contiguous_format)


def few_tokens(states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """States [..., d] -> [..., out], as ``torch.nn.functional.linear`` has it."""
    count = states.numel() // states.shape[-1]
    if not 1 < count <= MOST_FEW or states.dtype != torch.float32 or states.device.type != "cpu":
        return linear(states, weight, bias)
    columns = states.reshape(count, -1).T
    out = torch.mm(weight, columns) if bias is None else torch.addmm(bias[:, None], weight, columns)
    return out.T.contiguous().view(*states.shape[:-1], -1)


def _alone(module: Linear, states: torch.Tensor) -> torch.Tensor:
    return few_tokens(states, module.weight, module.bias)


def _wide(head: Linear) -> torch.Tensor | None:
    """The weights in float32, where the CPU multiplies fewer bits more slowly than those."""
    emulated = head.weight.dtype in (torch.bfloat16, torch.float16) and head.weight.device.type == "cpu"
    return head.weight.detach().float() if emulated and not cpu_has_bfloat16() else None


def _in_float32(module: Linear, weight: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    if states.numel() == states.shape[-1]:  # one token waits for memory, and reads half as much of the original
        return linear(states, module.weight, module.bias)
    bias = None if module.bias is None else module.bias.float()
    return few_tokens(states.float(), weight, bias).to(states.dtype)


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
        if rounds_by_order(states) and states.numel() > states.shape[-1]:
            module = self._modules[place]
            return linear(states, module.weight, module.bias)
        # Every part is handed out once: the same tensor with new contents is a new input.
        if states is not self._input or self._parts[place] is None:
            self._input = states
            self._parts = list(torch.split(few_tokens(states, self._weight, self._bias), self._sizes, dim=-1))
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
