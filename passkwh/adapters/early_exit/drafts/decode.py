"""Decoding with drafts: the whole model checks several tokens in one pass, and writes what it would have written alone.

What is drafted is one token and no distribution, so a check accepts it where the model, after processors, chooses the
same. For greedy decoding that gives the greedy tokens. For sampling it is speculative sampling (Leviathan et al., 2023)
with a draft that is certain: accepted with the model's own probability of it, and otherwise replaced by a draw from the
model without it. As every token is drawn with the row's own number for its place, a seed gives the very text that it
gives without drafts, whatever drafts (drafter-invariant decoding, Daliri et al., 2024).

Processors and criteria are written for batches whose rows stand side by side. So tokens become final column by column,
as in the loop without drafts, while rows run ahead of it: with greedy decoding freely, with processors up to the end of
their check.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from passkwh.adapters.early_exit.attention import decoding
from passkwh.adapters.early_exit.decode import Ending, Processor, choose
from passkwh.adapters.early_exit.drafts.base import Drafter, Frontier
from passkwh.adapters.early_exit.drafts.walk import Walk
from passkwh.adapters.early_exit.families import ModelParts
from passkwh.adapters.early_exit.fused import Fused
from passkwh.adapters.early_exit.heads import ExitHeads


@dataclass
class DraftCounts:
    """What became of one row's drafts, a number for each pass of the whole model that checked it."""

    drafted: list[int] = field(default_factory=list)
    accepted: list[int] = field(default_factory=list)


class DraftDecoder:
    """Draws completions from one model, with one drafter."""

    def __init__(self, parts: ModelParts, heads: ExitHeads, drafter: Drafter) -> None:
        self.parts = parts
        self.heads = heads
        self.drafter = drafter
        self._fused = Fused(parts)

    @torch.inference_mode()
    def draw(
        self, ids: torch.Tensor, attention_mask: torch.Tensor, ending: Ending, processors: Sequence[Processor] = ()
    ) -> tuple[torch.Tensor, list[DraftCounts]]:
        """Continue a left-padded batch: ids and mask [rows, length] -> tokens [rows, new], and each row's counts.

        The tokens are those of ``ExitDecoder`` at full depth. After a row's end they are ``pad_token``.
        """
        with decoding(self.parts.config), self._fused.running():
            return _Drawing(self, ids, attention_mask, ending, processors).run()


class _Row:
    """One row: what it has in the columns that are final, and beyond."""

    def __init__(self, known: int) -> None:
        self.known = known
        """Where its tokens end, final ones and those that are expected to become so."""
        self.choices: deque[int] = deque()
        """Greedy: the model's own tokens, from the first column on that is not final."""
        self.logits: deque[torch.Tensor] = deque()
        """With processors: the model's logits for those columns."""
        self.going = True
        self.complete = False
        """Its choices end with an end token: there is nothing to run ahead for."""
        self.counts = DraftCounts()

    @property
    def is_ready(self) -> bool:
        """Its token in the next column can be told."""
        return bool(self.choices or self.logits)


class _Drawing:
    """A batch in the middle of its decoding."""

    def __init__(
        self,
        decoder: DraftDecoder,
        ids: torch.Tensor,
        attention_mask: torch.Tensor,
        ending: Ending,
        processors: Sequence[Processor],
    ) -> None:
        count, self._length = ids.shape
        self._decoder, self._ending, self._processors = decoder, ending, processors
        self._end = self._length + ending.steps
        self._tokens = torch.full((count, self._end), ending.pad_token, dtype=ids.dtype, device=ids.device)
        self._tokens[:, : self._length] = ids
        self._padding = (self._length - attention_mask.sum(dim=1)).tolist()
        self._walk = Walk(decoder.parts, attention_mask, self._tokens)
        self._rows = [_Row(self._length) for _ in range(count)]
        self._final = self._length
        """The column that becomes final next."""

    def run(self) -> tuple[torch.Tensor, list[DraftCounts]]:
        logits = self._decoder.heads.logits(self._decoder.parts.depth, self._walk.prefill())
        self._take(range(len(self._rows)), [[]] * len(self._rows), logits)
        while True:
            while self._final < self._end and all(row.is_ready for row in self._rows if row.going):
                self._finish_column()
                if not any(row.going for row in self._rows):
                    return self._result()
            if self._final == self._end:
                return self._result()
            self._check()

    def _result(self) -> tuple[torch.Tensor, list[DraftCounts]]:
        return self._tokens[:, self._length : self._final], [row.counts for row in self._rows]

    # ------------------------------------------------------------ the whole model

    def _check(self) -> None:
        """Draft for the rows that need a token, or may run ahead, and put the drafts through the whole model."""
        decoder = self._decoder
        rows = [number for number, row in enumerate(self._rows) if row.going and self._may_go_on(row)]
        known = [self._rows[number].known for number in rows]
        text = self._tokens.cpu().numpy()
        frontier = Frontier(
            rows=rows,
            texts=[text[row, self._padding[row] : end] for row, end in zip(rows, known, strict=True)],
            ends=known,
            most=[self._end - end - 1 for end in known],
            end_tokens=self._ending.end_tokens,
            walk=self._walk,
            heads=decoder.heads,
        )
        drafts = decoder.drafter.draft(frontier)
        for row, start, draft in zip(rows, known, drafts, strict=True):
            self._walk.write(row, start, draft)
        ends = [end + len(draft) for end, draft in zip(known, drafts, strict=True)]
        depth = decoder.parts.depth
        self._walk.advance(rows, ends, 0, depth)
        states = self._walk.states(rows, [end - 1 for end in known], ends)
        for row, draft in zip(rows, drafts, strict=True):
            self._rows[row].counts.drafted.append(len(draft))
            self._rows[row].counts.accepted.append(0)
        self._take(rows, drafts, decoder.heads.logits(depth, states))

    def _may_go_on(self, row: _Row) -> bool:
        if not row.is_ready:
            return True
        return not self._processors and not row.complete and row.known < self._end

    def _take(self, rows: Sequence[int], drafts: Sequence[Sequence[int]], logits: torch.Tensor) -> None:
        """Take in the logits after each row's last token and after each drafted one, [positions, vocabulary]."""
        if self._processors:
            for number, draft, own in zip(
                rows, drafts, torch.split(logits, [len(draft) + 1 for draft in drafts]), strict=True
            ):
                row = self._rows[number]
                row.logits.extend(own)
                row.known += len(draft)
            return
        choices = iter(logits.argmax(dim=-1).tolist())
        for number, draft in zip(rows, drafts, strict=True):
            row = self._rows[number]
            tokens = [next(choices) for _ in range(len(draft) + 1)]
            accepted = next((at for at, token in enumerate(draft) if token != tokens[at]), len(draft))
            tokens = tokens[: accepted + 1]
            if (
                end := next((at for at, token in enumerate(tokens) if token in self._ending.end_tokens), None)
            ) is not None:
                tokens, row.complete = tokens[: end + 1], True
            self._walk.write(number, row.known, tokens)
            self._walk.cut(number, row.known + accepted)
            row.choices.extend(tokens)
            row.known += len(tokens)
            if draft:
                row.counts.accepted[-1] = accepted

    # ------------------------------------------------------------ columns

    def _finish_column(self) -> None:
        """Choose every row's token of the next column, and let criteria see it."""
        column, pad = self._final, self._ending.pad_token
        for number, (row, token) in enumerate(zip(self._rows, self._chosen(), strict=True)):
            if not row.going:
                continue
            expected = int(self._tokens[number, column]) if column < row.known else None
            if self._processors and expected == token:
                row.counts.accepted[-1] += 1
            elif expected != token:
                self._walk.cut(number, column)
                row.logits.clear()
                row.known = column + 1
                self._walk.write(number, column, [token])
            row.going = token not in self._ending.end_tokens
        self._final += 1
        # What stands beyond is nobody's business yet.
        seen = self._tokens[:, : self._final]
        for criterion in self._ending.criteria:
            for row, stop in zip(self._rows, criterion(seen, None).tolist(), strict=True):
                row.going = row.going and not stop
        for number, row in enumerate(self._rows):
            if not row.going and row.known > self._final - 1:
                self._tokens[number, self._final :] = pad
                row.known = self._final - 1

    def _chosen(self) -> list[int]:
        """The token of every row in the next column; of rows that have ended, any."""
        if not self._processors:
            return [row.choices.popleft() if row.going else 0 for row in self._rows]
        going = [number for number, row in enumerate(self._rows) if row.going]
        logits = torch.stack([self._rows[number].logits.popleft() for number in going])
        chosen = choose(logits, going, self._tokens[:, : self._final], self._processors).tolist()
        tokens = dict(zip(going, chosen, strict=True))
        return [tokens.get(number, 0) for number in range(len(self._rows))]
