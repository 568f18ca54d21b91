"""Logits processors and stopping criteria for ``generate``: a seed a row, stop strings, the first token's moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import LogitsProcessor, StoppingCriteria

from passkwh.adapters.engines.base import Watch
from passkwh.adapters.engines.phases import Decode, ThinkingPhases, reach

_NUCLEUS_REACH = 512
"""Tokens among which a nucleus is looked for before the whole vocabulary is sorted."""


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished all that it was given; a CPU always has."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


class SeededSampling(LogitsProcessor):  # type: ignore[misc]
    """Samples each row with its own seed, so that a row's tokens do not depend on who shares its batch.

    ``generate`` draws all rows from one random stream. Here every row has a stream of one uniform number a step, drawn
    ahead on the CPU (the same on every device); the token is where that number falls in the row's distribution
    (inverse CDF, in float64). All other tokens are then ruled out, and ``generate`` decodes greedily.
    """

    def __init__(
        self, seeds: Sequence[int], steps: int, temperature: float, top_p: float, device: torch.device
    ) -> None:
        rows = [torch.rand(steps, dtype=torch.float64, generator=torch.Generator().manual_seed(s)) for s in seeds]
        self._uniform = torch.stack(rows).to(device if device.type != "mps" else "cpu")
        self._temperature = temperature
        self._top_p = top_p
        self._step = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        probabilities = torch.softmax(scores.to(self._uniform.device, torch.float64) / self._temperature, dim=-1)
        if self._top_p < 1:
            least = _least_of_nucleus(probabilities, self._top_p)
            probabilities = probabilities.masked_fill(probabilities < least, 0.0)
        mass = probabilities.cumsum(dim=-1)
        target = self._uniform[:, self._step, None] * mass[:, -1:]
        chosen = torch.searchsorted(mass, target, right=True).clamp(max=mass.shape[-1] - 1)
        self._step += 1
        return torch.full_like(scores, float("-inf")).scatter(1, chosen.to(scores.device), 0.0)


def _least_of_nucleus(probabilities: torch.Tensor, top_p: float) -> torch.Tensor:
    """Per row, the probability of the last token of the nucleus: the fewest most likely ones that reach ``top_p``.

    (rows, vocabulary) -> (rows, 1). A threshold takes in all tokens that tie with the last one, so that no order of
    equals, which 16-bit scores have many of, decides. Sorting the whole vocabulary would cost as much as a tenth of a
    small model's step: nearly every nucleus lies within the first few hundred tokens, and only other rows are sorted.
    """
    reach = min(_NUCLEUS_REACH, probabilities.shape[-1])
    least = _cut(probabilities.topk(reach, dim=-1).values, top_p)
    wide = (probabilities * (probabilities >= least)).sum(dim=-1) < top_p
    if bool(wide.any()):
        least[wide] = _cut(probabilities[wide].sort(dim=-1, descending=True).values, top_p)
    return least


def _cut(descending: torch.Tensor, top_p: float) -> torch.Tensor:
    """Per row of sorted probabilities, the last one before which less than ``top_p`` has come together."""
    before = descending.cumsum(dim=-1) - descending
    return descending.gather(1, (before < top_p).sum(dim=-1, keepdim=True) - 1)


class FirstToken(StoppingCriteria):  # type: ignore[misc]
    """Stops nothing; notes the monotonic time at which the device had the batch's first token."""

    def __init__(self) -> None:
        self.ns: int | None = None

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        if self.ns is None:
            synchronize(input_ids.device)
            self.ns = time.monotonic_ns()
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)


class StopStrings(StoppingCriteria):  # type: ignore[misc]
    """Ends a row when its answer contains one of the strings; ``length`` is where each row was ended, or None.

    Special tokens count as what they are called, as they do for transformers' own stop strings. In a thinking phase
    (``phases``) nothing is looked for; the newlines between thought and answer belong to neither.
    """

    def __init__(
        self, decode: Decode, stop: Sequence[str], prompt_length: int, rows: int, phases: ThinkingPhases | None = None
    ) -> None:
        self._decode = decode
        self._stop = stop
        self._prompt_length = prompt_length
        self._phases = phases
        self._reach = reach(stop)
        self.length: list[int | None] = [None] * rows

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        tokens = input_ids.shape[1] - self._prompt_length
        tails = input_ids[:, -min(self._reach, tokens) :].tolist()
        for row, tail in enumerate(tails):
            if self.length[row] is None and any(stop in self._answer(row, tail, tokens) for stop in self._stop):
                self.length[row] = tokens
        return torch.tensor([length is not None for length in self.length], device=input_ids.device)

    def _answer(self, row: int, tail: list[int], tokens: int) -> str:
        """What the last tokens hold of the row's answer."""
        phases = self._phases.rows[row] if self._phases else None
        if phases is None or not phases.ended:
            return "" if phases and phases.is_open else self._decode(tail)
        new = tokens - phases.ended
        if phases.is_open or not new:
            return ""
        text = self._decode(tail[-new:])
        return text.lstrip("\n") if new <= len(tail) else text


class Watched(StoppingCriteria):  # type: ignore[misc]
    """Shows a batch to its watcher after every token; ``length`` is where the watcher ended each row, or None."""

    def __init__(self, watch: Watch, decode: Callable[[int, list[int]], str], prompt_length: int, rows: int) -> None:
        self._watch = watch
        self._decode = decode
        self._prompt_length = prompt_length
        self.length: list[int | None] = [None] * rows

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        tokens = input_ids.shape[1] - self._prompt_length
        ended = self._watch(lambda row: self._decode(row, input_ids[row, self._prompt_length :].tolist()))
        for row, end in enumerate(ended):
            if end and self.length[row] is None:
                self.length[row] = tokens
        return torch.tensor([length is not None for length in self.length], device=input_ids.device)
