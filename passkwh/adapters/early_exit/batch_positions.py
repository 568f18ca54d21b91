"""Where the rows of a left-padded batch stand: positions, rotations and masks, made once and sliced for every call."""

from __future__ import annotations

import torch

from passkwh.adapters.early_exit.families import ModelParts, Rotation


class BatchPositions:
    """Positions, rotations and masks of a batch, over the whole room that prompt and completion may take."""

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
        self._rotation = parts.rotate(example, self._positions if self._padded else self._positions[:1])

    def positions(self, start: int, end: int) -> torch.Tensor:
        """Positions of all rows' tokens ``start`` ... ``end`` - 1, [rows, tokens]."""
        return self._positions[:, start:end]

    def rotation(self, start: int, end: int, rows: torch.Tensor | None = None) -> Rotation | None:
        """Rotations of those positions, of all rows or some; None where the family has none."""
        if self._rotation is None:
            return None
        cosines, sines = (part[:, start:end] for part in self._rotation)
        if rows is None or not self._padded:
            return cosines, sines
        return cosines.index_select(0, rows), sines.index_select(0, rows)

    def mask(self, start: int, end: int, rows: torch.Tensor | None = None) -> torch.Tensor | None:
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
        later = torch.full((end - start, end), self._hidden, dtype=self._dtype, device=self._positions.device)
        later = later.triu(diagonal=start + 1)[None, None]
        return later if mask is None else torch.minimum(later, mask)

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these rows only."""
        self._positions = self._positions.index_select(0, rows)
        if self._padded:
            assert self._mask is not None
            self._mask = self._mask.index_select(0, rows)
            if self._rotation is not None:
                cosines, sines = self._rotation
                self._rotation = cosines.index_select(0, rows), sines.index_select(0, rows)
