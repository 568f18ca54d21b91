"""The paper's environment: the model itself, which reads the whole prefix anew for every token.

It has no cache and generates its own tokens: what it appends is the last layer's choice. Behind the same interface as
recordings, for comparison; a step costs a forward pass.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from passkwh.adapters.early_exit.training.data import Corpus, token_files
from passkwh.adapters.early_exit.training.environment import STATE_LIMIT, TokenStates, start_of
from passkwh.adapters.early_exit.training.model import Student
from passkwh.adapters.early_exit.training.recording import CONTEXT, EPISODE_TOKENS, MAX_TOKENS, window
from passkwh.adapters.early_exit.training.states import StateReader
from passkwh.errors import UsageError


class Online:
    """Episodes that a model lives through."""

    def __init__(
        self,
        student: Student,
        corpus: Corpus,
        max_tokens: int = MAX_TOKENS,
        context: tuple[float, float] = CONTEXT,
        episode_tokens: int = EPISODE_TOKENS,
        limit_files: int | None = None,
    ) -> None:
        self._student, self._context, self._count = student, context, episode_tokens
        self._reader = StateReader(student.model, student.card.exits)
        self._files: list[list[int]] = []
        for row in token_files(corpus, student.tokenizer, max_tokens):
            if limit_files is not None and len(self._files) == limit_files:
                break
            if window(len(row), context, episode_tokens):
                self._files.append(row)
        if not self._files:
            raise UsageError(f"{corpus.description} has no file as long as an episode: give other --data")

    @property
    def exits(self) -> tuple[int, ...]:
        """Layers that a token may leave after."""
        return self._student.card.exits

    @property
    def width(self) -> int:
        """Of a state."""
        return self._student.card.base.hidden_size

    def draw(self, rng: np.random.Generator) -> OnlineWalk:
        """A file at random, and a random share of it as context."""
        file = self._files[int(rng.integers(len(self._files)))]
        return OnlineWalk(
            self._tokens(file[: start_of(len(file), self._context, float(rng.random())) + 1]), self._count
        )

    def _tokens(self, prefix: list[int]) -> Iterator[TokenStates]:
        student, prefix = self._student, list(prefix)
        while True:
            with torch.inference_mode():
                states = [state[0, -1] for state in self._reader(torch.tensor([prefix], device=student.device))]
                said = [
                    int(student.heads.logits(layer, state).argmax())
                    for layer, state in zip(self.exits, states, strict=True)
                ]
            kept = torch.stack(states).float().clamp(-STATE_LIMIT, STATE_LIMIT).cpu().numpy()
            yield TokenStates(kept, np.asarray(said, np.int32))
            prefix.append(said[-1])


class OnlineWalk:
    """Tokens as the model writes them, one forward pass each."""

    def __init__(self, tokens: Iterator[TokenStates], count: int) -> None:
        self._tokens, self._count = tokens, count
        self._place = -1

    def __len__(self) -> int:
        return self._count

    def token(self, place: int) -> TokenStates:
        """The token at a place; those before it have been written when it is asked for."""
        while self._place < place:
            self._place += 1
            self._now = next(self._tokens)
        return self._now
