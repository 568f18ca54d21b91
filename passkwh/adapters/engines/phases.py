"""Thinking phases while tokens are generated: which row is in one, when it ended, and ending it at a budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import LogitsProcessor, StoppingCriteria

from passkwh.adapters.thinking import Markers
from passkwh.records import Reasoning

Decode = Callable[[Sequence[int]], str]
"""Tokens -> text, special tokens included."""


_LINE_BEFORE = 32
"""Tokens before a marker that show whether a line begins with it."""


def reach(texts: Sequence[str]) -> int:
    """So many last tokens hold any of ``texts`` whole: a token is at least one byte, and a character may be cut."""
    return max((len(text.encode()) for text in texts), default=0) + 4


@dataclass
class RowPhases:
    """One row's thinking, as far as its tokens have been read."""

    is_open: bool
    """It is thinking."""
    thought: bool
    """It has thought, or a phase of it is open."""
    read: int = 0
    """Tokens up to the last marker that was read."""
    ended: int = 0
    """Tokens up to the end of the last phase that ended; the answer begins there."""
    end_ns: int | None = None
    ended_by: Literal["model", "budget"] | None = None


class ThinkingPhases(StoppingCriteria):  # type: ignore[misc]
    """Follows the thinking phases of every row of a batch and stops nothing.

    ``opened`` says of each row whether its prompt opened a phase. Markers are looked for in the text of the last
    tokens, so it does not matter how a tokenizer splits them or whether it takes them for special tokens.
    """

    def __init__(
        self,
        markers: Markers,
        decode: Decode,
        opened: Sequence[bool],
        end_tokens: Sequence[int],
        prompt_length: int,
    ) -> None:
        self.markers = markers
        self.rows = [RowPhases(is_open, is_open) for is_open in opened]
        self._decode = decode
        self._end_tokens = end_tokens
        self._prompt_length = prompt_length
        self._reach = reach((markers.start, markers.end)) + _LINE_BEFORE

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        count = input_ids.shape[1] - self._prompt_length
        tails = input_ids[:, -min(self._reach, count) :].tolist()
        now_ns = time.monotonic_ns()
        for row, tail in zip(self.rows, tails, strict=True):
            self._read(row, tail, count, now_ns)
        return torch.zeros(len(self.rows), dtype=torch.bool, device=input_ids.device)

    def _read(self, row: RowPhases, tail: list[int], count: int, now_ns: int) -> None:
        text = self._decode(tail[-min(len(tail), count - row.read) :])
        is_header = self.markers.is_harmony and not row.thought  # an answer without thinking has a header, too
        if (row.is_open or is_header) and self.markers.end in text:
            row.is_open, row.read, row.ended = False, count, count
            if not is_header:
                row.end_ns, row.ended_by = now_ns, row.ended_by or "model"
        elif not row.is_open and self._is_opened(text, tail[-min(len(tail), count - row.read) : -1]):
            row.is_open, row.thought, row.read = True, True, count
            row.end_ns = row.ended_by = None

    def _is_opened(self, text: str, before: Sequence[int]) -> bool:
        """A start marker is whole with the last token of ``text``, but not yet ``before`` it.

        One that was passed over stood within its line, which may lie before this text by now.
        """
        starts = self.markers.starts(text)
        return bool(starts) and starts[-1] + len(self.markers.start) > len(self._decode(before))

    def take_apart(
        self, number: int, tokens: Sequence[int], decode_answer: Callable[[Sequence[int], int | None], str]
    ) -> tuple[str, Reasoning | None]:
        """A row's answer, and what it thought before it; ``tokens`` up to and including what ended the row.

        ``decode_answer`` takes the answer's tokens and the token before them (None: the prompt's last).
        """
        row = self.rows[number]
        if row.is_open:
            seen = tokens[:-1] if tokens and tokens[-1] in self._end_tokens else tokens
            thought = self.markers.thought(self._decode(seen))
            return "", Reasoning(text=thought, tokens=len(tokens), ended_by=None)
        if not row.ended:
            return decode_answer(tokens, None), None
        before, _, after = self._decode(tokens[: row.ended]).rpartition(self.markers.end)
        answer = (after + decode_answer(tokens[row.ended :], tokens[row.ended - 1])).lstrip("\n")
        if not row.thought:
            return answer, None
        thought = self.markers.thought(before)
        return answer, Reasoning(text=thought, tokens=row.ended, end_ns=row.end_ns, ended_by=row.ended_by)


class ThinkingBudget(LogitsProcessor):  # type: ignore[misc]
    """Ends the thinking of rows that have spent ``budget`` tokens on it, by inserting the tokens of ``closing``."""

    def __init__(self, phases: ThinkingPhases, budget: int, closing: Sequence[int], prompt_length: int) -> None:
        self._phases = phases
        self._budget = budget
        self._closing = closing
        self._prompt_length = prompt_length
        self._inserted: list[int | None] = [None] * len(phases.rows)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        spent = input_ids.shape[1] - self._prompt_length
        for number, row in enumerate(self._phases.rows):
            inserted = self._inserted[number]
            if inserted is None and row.is_open and spent >= self._budget:
                inserted, row.ended_by = 0, "budget"
            if inserted is not None and inserted < len(self._closing):
                scores[number] = float("-inf")
                scores[number, self._closing[inserted]] = 0.0
                inserted += 1
            self._inserted[number] = inserted
        return scores
