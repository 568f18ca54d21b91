"""Keys and values of a batch, and what becomes of those that a token skipped by leaving early.

A later token that goes deeper attends to the keys and values that earlier ones left out. Nothing is computed before
one does (with a fixed exit: never). Then, for all skipped positions at once, they come from

propagated  the state with which the token left, as if the layers in between had changed nothing (the paper, and
            before it Schuster et al., 2022): two projections a layer;
deferred    the layers themselves: the skipped positions run through the layer together with the new token, so that
            keys and values are what the full model has. The layer's weights are read once for all of them, so that
            exactness is nearly free where reading weights is what takes time.

Positions that are behind at a layer are always the last ones before the new token, because whoever goes through a
layer takes all earlier positions along. So one number a layer and row tells all: how many positions are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from passkwh.adapters.early_exit.batch_positions import BatchPositions
from passkwh.adapters.early_exit.families import ModelParts
from passkwh.adapters.early_exit.fused import laid_out
from passkwh.adapters.early_exit.layout import Skipped


@dataclass(frozen=True)
class Entries:
    """Those tokens of a block of rows and positions that are meant, where not all are."""

    inside: torch.Tensor
    """[rows, tokens], bool."""
    row: torch.Tensor
    """Of each token meant, its row in the batch."""
    position: torch.Tensor
    """Of each token meant, its position."""


class KeyValues:
    """Keys and values of a batch, in buffers that are never copied to grow.

    The attention modules of transformers call ``update`` as they call a cache's; ``at`` says beforehand where.
    """

    def __init__(self, parts: ModelParts, rows: int, room: int) -> None:
        shape = (2, rows, parts.key_value_heads, room, parts.head_width)
        # Zeros: what a row has not written yet is hidden from it by its scores, which must be numbers for that.
        self._layers = [torch.zeros(shape, dtype=parts.dtype, device=parts.device) for _ in range(parts.depth)]
        self._pairs = [layer.unbind() for layer in self._layers]
        self.at(0, 0)

    def at(self, start: int, end: int, rows: torch.Tensor | None = None, entries: Entries | None = None) -> None:
        """The next tokens stand at ``start`` ... ``end`` - 1 in these rows (None: all); written are all or ``entries``.

        What is not written is there already.
        """
        self._start, self._end, self._rows, self._entries = start, end, rows, entries

    def write(self, keys: torch.Tensor, values: torch.Tensor, layer: int) -> None:
        """Take in keys and values [rows, heads, tokens, width]."""
        for held, new in zip(self._pairs[layer], (keys, values), strict=True):
            if self._entries is not None:
                held[self._entries.row, :, self._entries.position] = new.transpose(1, 2)[self._entries.inside]
            elif self._rows is None:
                held.narrow(2, self._start, self._end - self._start).copy_(new)
            else:
                held[self._rows, :, self._start : self._end] = new

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take in keys and values, and return all from the first position to the last of these, of the same rows."""
        self.write(keys, values, layer)
        held_keys, held_values = self._pairs[layer]
        all_keys, all_values = held_keys.narrow(2, 0, self._end), held_values.narrow(2, 0, self._end)
        if self._rows is None:
            return all_keys, all_values
        return all_keys.index_select(0, self._rows), all_values.index_select(0, self._rows)

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these rows only."""
        self._layers = [layer.index_select(1, rows) for layer in self._layers]
        self._pairs = [layer.unbind() for layer in self._layers]


@dataclass(frozen=True)
class ActiveRows:
    """The rows whose tokens go through a layer together."""

    place: int
    """Position of their new token."""
    rows: list[int]
    index: torch.Tensor | None
    """The rows as a tensor; None where they are all."""
    given: Sequence[dict[str, Any]]
    """What a layer of each kind of attention is given beside their states."""


class SkippedKV:
    """The skipped positions of a batch: how far each got, and how they catch up."""

    def __init__(
        self, parts: ModelParts, positions: BatchPositions, held: KeyValues, rows: int, skipped: Skipped
    ) -> None:
        self._parts = parts
        self._positions = positions
        self._held = held
        self._skipped = skipped
        self._first = positions.length
        shape = (rows, positions.room - positions.length, parts.hidden_size)
        self._states = torch.empty(shape, dtype=parts.dtype, device=parts.device)
        self._reached: npt.NDArray[np.int64] = np.full((parts.depth, rows), positions.length)

    def behind(self, place: int) -> list[int]:
        """Per layer, how many positions before ``place`` the row that is furthest behind lacks."""
        most: list[int] = (place - self._reached).max(axis=1).tolist()
        return most

    def left(self, place: int, rows: Sequence[int], states: torch.Tensor) -> None:
        """Tokens at ``place`` of these rows left early, with these states [rows, d]."""
        if len(rows) == len(self._states):
            self._states[:, place - self._first] = states
        else:
            self._states[list(rows), place - self._first] = states

    def ran(self, place: int, depths: Sequence[int]) -> None:
        """The token at ``place`` of every row ran through that many layers."""
        for row, depth in enumerate(depths):
            self._reached[:depth, row] = place + 1

    def through(self, layer: int, states: torch.Tensor, active: ActiveRows) -> torch.Tensor:
        """States [rows, 1, d] after a layer (from 0), in which the skipped positions of these rows catch up first."""
        module, place, index = self._parts.layers[layer], active.place, active.index
        kind = self._parts.kind_of[layer]
        reached = self._reached[layer, active.rows]
        start = int(reached.min())
        if start == place:
            return self._layer(module, states, active.given[kind])
        before = slice(start - self._first, place - self._first)
        skipped = self._states[:, before] if index is None else self._states[index, before]
        entries = None if (reached == start).all() else self._entries(reached, start, place + 1, active.rows)
        if self._skipped == "deferred":
            return self._run(module, torch.cat((skipped, states), dim=1), start, active, entries, kind)
        without_new = None if entries is None else self._entries(reached, start, place, active.rows)
        self._held.at(start, place, index, without_new)
        rotation = self._positions.rotation(kind, start, place, index)
        self._held.write(*self._parts.keys_values(module, skipped, rotation), layer)
        self._held.at(place, place + 1, index)
        return self._layer(module, states, active.given[kind])

    @staticmethod
    def _layer(module: Any, states: torch.Tensor, given: dict[str, Any]) -> torch.Tensor:
        out: torch.Tensor = module(states, **given)
        return out

    def _run(
        self,
        module: Any,
        block: torch.Tensor,
        start: int,
        active: ActiveRows,
        entries: Entries | None,
        kind: int,
    ) -> torch.Tensor:
        """Run skipped positions and the new one through a layer, and keep what became of the skipped ones.

        Rows with fewer skipped positions have others in the block that are done already: these are computed for
        nothing and neither written nor attended to by what counts.
        """
        place, index = active.place, active.index
        given = active.given[kind] | self._positions.given(start, place + 1, index)[kind]
        self._held.at(start, place + 1, index, entries)
        out = self._layer(module, block, given)
        self._held.at(place, place + 1, index)
        if entries is not None:
            inside = entries.inside.clone()
            inside[:, -1] = False  # the new token's state travels on; it is kept if it leaves
            old = entries.position < place
            self._states[entries.row[old], entries.position[old] - self._first] = out[inside]
        elif index is None:
            self._states[:, start - self._first : place - self._first] = out[:, :-1]
        else:
            self._states[index, start - self._first : place - self._first] = out[:, :-1]
        return laid_out(out[:, -1:])

    def _entries(self, reached: npt.NDArray[np.int64], start: int, end: int, rows: Sequence[int]) -> Entries:
        """The tokens from ``start`` to ``end`` - 1 that are not there yet."""
        inside = np.arange(start, end)[None] >= reached[:, None]
        row, token = np.nonzero(inside)
        device = self._states.device
        return Entries(
            torch.from_numpy(inside).to(device),
            torch.from_numpy(np.asarray(rows)[row]).to(device),
            torch.from_numpy(token + start).to(device),
        )

    def keep(self, rows: Sequence[int], index: torch.Tensor) -> None:
        """Go on with these rows only."""
        self._states = self._states.index_select(0, index)
        self._reached = self._reached[:, rows]
