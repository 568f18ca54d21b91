"""Where the rows of a left-padded batch stand: positions, rotations and masks, made once and sliced for every call."""

from __future__ import annotations

from typing import Any

import torch

from passkwh.adapters.early_exit.families import ModelParts, Rotation


class BatchPositions:
    """Positions, rotations and masks of a batch, over the whole room that prompt and completion may take.

    What layers are given is a list with an entry for each of the model's kinds of attention.
    """

    def __init__(self, parts: ModelParts, attention_mask: torch.Tensor, room: int) -> None:
        """``attention_mask`` [rows, prompt length]: 0 for padding, which stands on the left."""
        rows, self.length = attention_mask.shape
        self.room = room
        self._dtype = parts.dtype
        self._hidden = torch.finfo(parts.dtype).min
        padding = self.length - attention_mask.sum(dim=1, keepdim=True)
        places = torch.arange(room, device=attention_mask.device)
        # Rows without padding share positions and rotations, and nothing is hidden from them.
        self._padded = bool(padding.any())
        self._positions = (places - padding).clamp(min=0) if self._padded else places.expand(rows, room)
        self._mask = None
        if self._padded:
            padded = (places < padding)[:, None, None]
            self._mask = torch.zeros(padded.shape, dtype=self._dtype, device=padded.device)
            self._mask.masked_fill_(padded, self._hidden)
        example = torch.empty(0, dtype=self._dtype, device=places.device)
        positions = self._positions if self._padded else self._positions[:1]
        self._rotations = [kind.rotate(example, positions) for kind in parts.kinds]
        self._windows = [kind.window for kind in parts.kinds]

    def positions(self, start: int, end: int) -> torch.Tensor:
        """Positions of all rows' tokens ``start`` ... ``end`` - 1, [rows, tokens]."""
        return self._positions[:, start:end]

    def positions_at(self, rows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Positions of these rows' tokens at places [rows, tokens], which may be others in each row."""
        return self._positions[rows[:, None], places]

    def rotation(self, kind: int, start: int, end: int, rows: torch.Tensor | None = None) -> Rotation | None:
        """Rotations of those positions, of all rows or some; None where the kind has none."""
        rotations = self._rotations[kind]
        if rotations is None:
            return None
        cosines, sines = (part[:, start:end] for part in rotations)
        if rows is None or not self._padded:
            return cosines, sines
        return cosines.index_select(0, rows), sines.index_select(0, rows)

    def given(self, start: int, end: int, rows: torch.Tensor | None = None) -> list[dict[str, Any]]:
        """What layers of each kind are given beside states for tokens ``start`` ... ``end`` - 1 of all rows or some."""
        plain = self._plain_mask(start, end, rows)
        masks = [self._windowed(plain, window, start, end) for window in self._windows]
        return [_arguments(mask, self.rotation(kind, start, end, rows)) for kind, mask in enumerate(masks)]

    def given_at(self, places: torch.Tensor, end: int, rows: torch.Tensor) -> list[dict[str, Any]]:
        """The same for tokens that stand at other places in each row: ``places`` [rows, tokens], all before ``end``."""
        keys = torch.arange(end, device=places.device)
        distance = places[:, :, None] - keys
        hidden = distance < 0
        if self._mask is not None:
            hidden |= self._mask[rows, 0, :, :end] < 0
        given = []
        for window, rotations in zip(self._windows, self._rotations, strict=True):
            unseen = hidden if window is None else hidden | (distance >= window)
            mask = torch.zeros(unseen.shape, dtype=self._dtype, device=places.device)
            mask.masked_fill_(unseen, self._hidden)
            of = rows[:, None] if self._padded else torch.zeros_like(rows)[:, None]
            rotation = None if rotations is None else (rotations[0][of, places], rotations[1][of, places])
            given.append(_arguments(mask[:, None], rotation))
        return given

    def _plain_mask(self, start: int, end: int, rows: torch.Tensor | None) -> torch.Tensor | None:
        """What tokens ``start`` ... ``end`` - 1 may not attend to, as numbers to add to scores.

        [rows or 1, 1, tokens, end]. None where nothing is hidden, or nothing but what comes later in a whole prompt:
        attention is causal by itself then.
        """
        mask = self._mask
        if mask is not None:
            mask = mask[:, :, :, :end]
            mask = mask if rows is None else mask.index_select(0, rows)
        if end - start == 1 or (start == 0 and mask is None):
            return mask
        return self._with(mask, self._bounded(start, end).triu(diagonal=start + 1))

    def _windowed(self, mask: torch.Tensor | None, window: int | None, start: int, end: int) -> torch.Tensor | None:
        """The mask for layers that look back so far only."""
        if window is None or end <= window:
            return mask
        if mask is None and end - start > 1:
            mask = self._bounded(start, end).triu(diagonal=start + 1)[None, None]
        return self._with(mask, self._bounded(start, end).tril(diagonal=start - window))

    def _bounded(self, start: int, end: int) -> torch.Tensor:
        return torch.full((end - start, end), self._hidden, dtype=self._dtype, device=self._positions.device)

    @staticmethod
    def _with(mask: torch.Tensor | None, more: torch.Tensor) -> torch.Tensor:
        return more[None, None] if mask is None else torch.minimum(more[None, None], mask)

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these rows only."""
        self._positions = self._positions.index_select(0, rows)
        if self._padded:
            assert self._mask is not None
            self._mask = self._mask.index_select(0, rows)
            self._rotations = [
                None if pair is None else (pair[0].index_select(0, rows), pair[1].index_select(0, rows))
                for pair in self._rotations
            ]


def _arguments(mask: torch.Tensor | None, rotation: Rotation | None) -> dict[str, Any]:
    given: dict[str, Any] = {"attention_mask": mask}
    return given if rotation is None else given | {"position_embeddings": rotation}
