"""The decoding loop: a prompt through all layers, then token after token, each leaving where the rule says so.

The decoder layers, norms and heads are transformers' own modules, called one by one. What ``generate`` does around
them a step is left out, keys and values are written into buffers (``KeyValues``), and linear maps of one input run as
one (``Fused``), so that at full depth the loop gives the same tokens in less time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from passkwh.adapters.early_exit.attention import decoding
from passkwh.adapters.early_exit.batch_positions import BatchPositions
from passkwh.adapters.early_exit.cache import ActiveRows, KeyValues, SkippedKV
from passkwh.adapters.early_exit.families import ModelParts
from passkwh.adapters.early_exit.fused import Fused
from passkwh.adapters.early_exit.heads import ExitHeads
from passkwh.adapters.early_exit.layout import Skipped
from passkwh.adapters.early_exit.rules.base import Rule

Criterion = Callable[[torch.Tensor, Any], torch.Tensor]
"""As transformers' stopping criteria: tokens so far [rows, length] and None -> which rows stop, [rows]."""
Processor = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""As transformers' logits processors: tokens so far [rows, length] and scores -> scores, both [rows, vocabulary]."""


@dataclass(frozen=True)
class Ending:
    """What ends rows of a batch."""

    steps: int
    """Most tokens a row may get."""
    end_tokens: Sequence[int]
    pad_token: int
    """Stands in rows that have ended while others go on."""
    criteria: Sequence[Criterion] = ()


class ExitDecoder:
    """Draws completions from one model, whose tokens may leave early by one rule."""

    def __init__(self, parts: ModelParts, heads: ExitHeads, rule: Rule, skipped: Skipped) -> None:
        self.parts = parts
        self.heads = heads
        self.rule = rule
        self.skipped = skipped
        self._fused = Fused(parts)

    @torch.inference_mode()
    def draw(
        self, ids: torch.Tensor, attention_mask: torch.Tensor, ending: Ending, processors: Sequence[Processor] = ()
    ) -> tuple[torch.Tensor, list[list[int]]]:
        """Continue a left-padded batch: ids and mask [rows, length] -> tokens [rows, new], and the exits of each row.

        The most likely token is taken, after ``processors``. An exit is the number of layers that a token ran through
        (for the oracle: that it would have needed). A row's first token comes from the prompt's pass through all
        layers. After a row's end its tokens are ``pad_token`` and it has no exits.
        """
        with decoding(self.parts.config), self._fused.running():
            return self._draw(ids, attention_mask, ending, processors)

    def _draw(
        self, ids: torch.Tensor, attention_mask: torch.Tensor, ending: Ending, processors: Sequence[Processor]
    ) -> tuple[torch.Tensor, list[list[int]]]:
        rows, length = ids.shape
        tokens = torch.full((rows, length + ending.steps), ending.pad_token, dtype=ids.dtype, device=ids.device)
        tokens[:, :length] = ids
        batch = _Batch(self, attention_mask, length + ending.steps)
        exits: list[list[int]] = [[] for _ in range(rows)]
        going = [True] * rows
        logits, ran = batch.prefill(ids)
        for place in range(length, length + ending.steps):
            new = choose(logits, batch.rows, tokens[:, :place], processors)
            for at, (row, token) in enumerate(zip(batch.rows, new.tolist(), strict=True)):
                if going[row]:
                    exits[row].append(ran[at])
                    going[row] = token not in ending.end_tokens
                else:
                    new[at] = ending.pad_token
            if len(new) == rows:
                tokens[:, place] = new
            else:
                tokens[batch.rows, place] = new
            for criterion in ending.criteria:
                stopped = criterion(tokens[:, : place + 1], None).tolist()
                going = [on and not stop for on, stop in zip(going, stopped, strict=True)]
            if not any(going) or place + 1 == tokens.shape[1]:
                break
            new = batch.drop_ended(going, new)
            logits, ran = batch.step(new[:, None], place, going)
        return tokens[:, length : place + 1], exits


def choose(
    logits: torch.Tensor, rows: Sequence[int], tokens: torch.Tensor, processors: Sequence[Processor]
) -> torch.Tensor:
    """The next token of ``rows`` of a batch from their logits [len(rows), vocabulary], [len(rows)].

    Processors see all rows of the batch: ``tokens`` [all rows, length].
    """
    scores = logits.float()
    if processors:
        if len(rows) < len(tokens):
            whole = scores.new_zeros((len(tokens), scores.shape[-1]))
            whole[list(rows)] = scores
            scores = whole
        for processor in processors:
            scores = processor(tokens, scores)
        scores = scores[list(rows)]
    return scores.argmax(dim=-1)


class _Batch:
    """A batch in the middle of its decoding."""

    def __init__(self, decoder: ExitDecoder, attention_mask: torch.Tensor, room: int) -> None:
        self.rows = list(range(len(attention_mask)))
        """Which of the batch's rows are still computed."""
        self._parts, self._heads, self._rule = decoder.parts, decoder.heads, decoder.rule
        self._positions = BatchPositions(decoder.parts, attention_mask, room)
        self._held = KeyValues(decoder.parts, len(self.rows), room)
        self._skipped_kv = SkippedKV(decoder.parts, self._positions, self._held, len(self.rows), decoder.skipped)

    def prefill(self, ids: torch.Tensor) -> tuple[torch.Tensor, list[int]]:
        """The prompt through all layers: logits of the last position [rows, vocabulary], and how deep each row ran."""
        length, depth = ids.shape[1], self._parts.depth
        states = self._parts.embed(ids, self._positions.positions(0, length))
        self._held.at(0, length)
        given = self._given(0, length)
        for layer, kind in zip(self._parts.layers, self._parts.kind_of, strict=True):
            states = layer(states, **given[kind])
        return self._heads.logits(depth, states[:, -1]), [depth] * len(self.rows)

    def step(self, new: torch.Tensor, place: int, going: Sequence[bool]) -> tuple[torch.Tensor, list[int]]:
        """New tokens [rows, 1] at ``place`` through as many layers as the rule has them: logits, and how deep each ran.

        ``going`` tells, by the batch's row, which have not ended: the others leave at the first chance.
        """
        parts, rule, skipped_kv = self._parts, self._rule, self._skipped_kv
        count = len(self.rows)
        ended = {at for at, row in enumerate(self.rows) if not (going[row] or rule.hindsight)}
        states = parts.embed(new, self._positions.positions(place, place + 1))
        behind = skipped_kv.behind(place)
        self._held.at(place, place + 1)
        active = ActiveRows(place, list(range(count)), None, self._given(place, place + 1))
        exit_logits = _ExitLogits(self._heads, count)
        ran = [parts.depth] * count
        for number, layer in enumerate(parts.layers, start=1):
            if behind[number - 1]:
                states = skipped_kv.through(number - 1, states, active)
            else:
                states = layer(states, **active.given[parts.kind_of[number - 1]])
            if number not in rule.exits:
                continue
            decision = rule.leave(number, states[:, 0], self._heads)
            leave = decision.leave
            if ended:
                leave = [gone or row in ended for gone, row in zip(leave, active.rows, strict=True)]
            if True not in leave:
                continue
            rows = [row for row, gone in zip(active.rows, leave, strict=True) if gone]
            for row in rows:
                ran[row] = number
            if all(leave):
                skipped_kv.left(place, rows, states[:, 0])
                exit_logits.take(rows, number, states[:, 0], decision.logits)
                active = ActiveRows(place, [], None, ())
                break
            gone = torch.tensor(leave, device=states.device)
            skipped_kv.left(place, rows, states[gone, 0])
            exit_logits.take(rows, number, states[gone, 0], None if decision.logits is None else decision.logits[gone])
            states = states[~gone]
            active = self._only(place, [r for r, g in zip(active.rows, leave, strict=True) if not g])
        if active.rows:
            exit_logits.take(active.rows, parts.depth, states[:, 0], None)
        skipped_kv.ran(place, ran)
        logits = exit_logits.logits()
        return logits, rule.required_layers(logits) or ran

    def drop_ended(self, going: Sequence[bool], new: torch.Tensor) -> torch.Tensor:
        """Stop computing rows that have ended once they are half of all, and return the others' new tokens.

        Going on without them means copying the others' keys and values, so it is not done for every single one.
        """
        kept = [at for at, row in enumerate(self.rows) if going[row]]
        if 2 * len(kept) > len(self.rows):
            return new
        index = torch.tensor(kept, device=new.device)
        self.rows = [self.rows[at] for at in kept]
        self._positions.keep(index)
        self._held.keep(index)
        self._skipped_kv.keep(kept, index)
        return new[index]

    def _given(self, start: int, end: int, index: torch.Tensor | None = None) -> list[dict[str, Any]]:
        """What layers of each kind of attention are given beside states."""
        held = {"past_key_values": self._held}
        return [held | given for given in self._positions.given(start, end, index)]

    def _only(self, place: int, rows: list[int]) -> ActiveRows:
        index = torch.tensor(rows, device=self._parts.device)
        self._held.at(place, place + 1, index)
        return ActiveRows(place, rows, index, self._given(place, place + 1, index))


class _ExitLogits:
    """What the tokens of a step say, each from where it left; the LM head runs once for all of them."""

    def __init__(self, heads: ExitHeads, count: int) -> None:
        self._heads = heads
        self._count = count
        self._rows: list[int] = []
        self._parts: list[torch.Tensor] = []
        self._silent_rows: list[int] = []
        self._finals: list[torch.Tensor] = []

    def take(self, rows: list[int], layer: int, states: torch.Tensor, logits: torch.Tensor | None) -> None:
        """Tokens of these rows left after ``layer`` layers, with raw states [rows, d] and perhaps logits already."""
        if logits is None:
            self._silent_rows += rows
            self._finals.append(self._heads.state_to_final(layer, states))
        else:
            self._rows += rows
            self._parts.append(logits)

    def logits(self) -> torch.Tensor:
        """[count, vocabulary], in the order of rows."""
        if self._finals:
            finals = self._finals[0] if len(self._finals) == 1 else torch.cat(self._finals)
            self._rows += self._silent_rows
            self._parts.append(self._heads.lm_head(finals))
        whole = self._parts[0] if len(self._parts) == 1 else torch.cat(self._parts)
        if self._rows == list(range(self._count)):
            return whole
        order = torch.empty(self._count, dtype=torch.long, device=whole.device)
        order[torch.tensor(self._rows, device=whole.device)] = torch.arange(self._count, device=whole.device)
        return whole[order]
