"""A batch on its way through the model, each row at a place of its own: any layers, any stretch of positions.

Where a draft ends differs from row to row, and so does where its check goes on. Of each row and layer one number is
kept: how many positions have been there. Whoever goes through a layer takes along all positions of the row that have
not, so that a check goes on from the states that its draft left, whichever exits they left at.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from passkwh.adapters.early_exit.batch_positions import BatchPositions
from passkwh.adapters.early_exit.cache import Entries, KeyValues
from passkwh.adapters.early_exit.families import ModelParts

Ints = npt.NDArray[np.int64]


class Walk:
    """States, keys and values of a batch. Positions are places in the batch's padded rows, counted from 0."""

    def __init__(self, parts: ModelParts, attention_mask: torch.Tensor, tokens: torch.Tensor) -> None:
        """``attention_mask`` [rows, prompt length]; ``tokens`` [rows, room], of which those that are embedded are read.

        The room is the length of the prompt and of the longest completion.
        """
        rows, self._length = attention_mask.shape
        room = tokens.shape[1]
        self._parts = parts
        self._tokens = tokens
        self._positions = BatchPositions(parts, attention_mask, room)
        self._held = KeyValues(parts, rows, room)
        self._count = rows
        shape = (rows, room - self._length, parts.hidden_size)
        self._states = torch.empty(shape, dtype=parts.dtype, device=parts.device)
        """Of completions only: the state of each position after the deepest layer that it has been through."""
        self._reached: Ints = np.full((parts.depth, rows), self._length)

    def prefill(self) -> torch.Tensor:
        """The prompts through all layers: raw states of their last positions, [rows, d]."""
        end = self._length
        states = self._parts.embed(self._tokens[:, :end], self._positions.positions(0, end))
        self._held.at(0, end)
        states = self._through(range(self._parts.depth), states, self._positions.given(0, end))
        return states[:, -1]

    def write(self, row: int, start: int, tokens: Sequence[int]) -> None:
        """Tokens of a row from ``start`` on."""
        self._tokens[row, start : start + len(tokens)] = torch.tensor(tokens, device=self._tokens.device)

    def advance(self, rows: Sequence[int], ends: Sequence[int], first: int, last: int) -> None:
        """Take positions before ``ends`` of these rows through those of layers ``first`` ... ``last`` - 1 they lack.

        They must have been through the layers before ``first``.
        """
        index, until = np.asarray(rows), np.asarray(ends)
        layer = first
        while layer < last:
            reached = self._reached[layer, index]
            same = layer + 1
            while same < last and (self._reached[same, index] == reached).all():
                same += 1
            lacking = reached < until
            if lacking.any():
                self._stretch(range(layer, same), index[lacking], reached[lacking], until[lacking])
                self._reached[layer:same, index] = np.maximum(reached, until)
            layer = same

    def states(self, rows: Sequence[int], starts: Sequence[int], ends: Sequence[int]) -> torch.Tensor:
        """Raw states of these rows' positions ``starts`` ... ``ends`` - 1, one row after the other: [positions, d]."""
        parts = [
            self._states[row, start - self._length : end - self._length]
            for row, start, end in zip(rows, starts, ends, strict=True)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def cut(self, row: int, end: int) -> None:
        """Forget what stands at ``end`` and after it: another token stands there now."""
        np.minimum(self._reached[:, row], end, out=self._reached[:, row])

    # ------------------------------------------------------------ parts

    def _stretch(self, layers: range, rows: Ints, starts: Ints, ends: Ints) -> None:
        if (starts == starts[0]).all() and (ends == ends[0]).all():
            self._even(layers, rows, int(starts[0]), int(ends[0]))
        else:
            self._uneven(layers, rows, starts, ends)

    def _even(self, layers: range, rows: Ints, start: int, end: int) -> None:
        """Positions that are the same in all of these rows."""
        index = self._index(rows)
        before = slice(start - self._length, end - self._length)
        if layers[0] == 0:
            tokens, places = self._tokens[:, start:end], self._positions.positions(start, end)
            states = self._parts.embed(
                tokens if index is None else tokens[index], places if index is None else places[index]
            )
        else:
            states = self._states[:, before] if index is None else self._states[index, before]
        self._held.at(start, end, index)
        states = self._through(layers, states, self._positions.given(start, end, index))
        if index is None:
            self._states[:, before] = states
        else:
            self._states[index, before] = states

    def _index(self, rows: Ints) -> torch.Tensor | None:
        """Rows as a tensor; None where they are all, in their order."""
        if np.array_equal(rows, np.arange(self._count)):
            return None
        return torch.from_numpy(rows).to(self._parts.device)

    def _uneven(self, layers: range, rows: Ints, starts: Ints, ends: Ints) -> None:
        """A block as wide as the longest stretch; what others have too much is computed for nothing and not kept."""
        device = self._parts.device
        index = torch.from_numpy(rows).to(device)
        offsets = np.arange(int((ends - starts).max()))
        stretch = starts[:, None] + offsets
        inside = stretch < ends[:, None]
        row, token = np.nonzero(inside)
        entries = Entries(
            torch.from_numpy(inside).to(device),
            torch.from_numpy(rows[row]).to(device),
            torch.from_numpy(stretch[row, token]).to(device),
        )
        places = torch.from_numpy(np.minimum(stretch, ends[:, None] - 1)).to(device)
        if layers[0] == 0:
            states = self._parts.embed(
                self._tokens[index[:, None], places], self._positions.positions_at(index, places)
            )
        else:
            states = self._states[index[:, None], places - self._length]
        last = int(ends.max())
        self._held.at(int(starts.min()), last, self._index(rows), entries)
        states = self._through(layers, states, self._positions.given_at(places, last, index))
        self._states[entries.row, entries.position - self._length] = states[entries.inside]

    def _through(self, layers: range, states: torch.Tensor, given: Sequence[dict[str, object]]) -> torch.Tensor:
        modules, kinds = self._parts.layers, self._parts.kind_of
        for layer in layers:
            states = modules[layer](states, past_key_values=self._held, **given[kinds[layer]])
        return states
