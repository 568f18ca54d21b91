"""Source files as training reads them: one after another, packed into rows of tokens or one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from passkwh.errors import UsageError

EOL = "<EOL>"
"""Ends a line in CodeXGLUE's Python, and is in none of its Java."""
_LOOKED_AT = 20


@dataclass(frozen=True)
class TrainingCorpus:
    """Files of one language."""

    description: str
    language: str
    read: Callable[[], Iterator[str]]
    """Opens the data anew; each text is a file in CodeXGLUE's token form."""

    def check(self) -> None:
        """UsageError for data without a file, or whose files are plainly of another language."""
        first = list(islice(self.read(), _LOOKED_AT))
        if not first:
            raise UsageError(f"{self.description} has no files: give other --data")
        with_ends = sum(EOL in text for text in first)
        other = {"python": with_ends == 0, "java": 2 * with_ends > len(first)}.get(self.language, False)
        if other:
            signs = "no" if self.language == "python" else f"{with_ends} of {len(first)} files with"
            raise UsageError(
                f"{self.description} is not {self.language}: it has {signs} {EOL} marks, which end the lines of Python "
                "and only those; give --language or --data that fit each other"
            )


def token_files(corpus: TrainingCorpus, tokenizer: Any, max_tokens: int) -> Iterator[list[int]]:
    """The first ``max_tokens`` token ids of each file."""
    for text in corpus.read():
        yield tokenizer(text[: max_tokens * 16], truncation=True, max_length=max_tokens)["input_ids"]


def packed(corpus: TrainingCorpus, tokenizer: Any, length: int, limit_tokens: int | None = None) -> NDArray[np.int64]:
    """Files one after another, an end token between two, cut into rows of ``length`` tokens: [rows, length].

    A row may hold the end of one file and the beginning of the next, which it attends to; a rest that does not fill a
    row is dropped (GREEN-CODE, III-D: samples are split by length, and small ones collapsed together).

    Raises:
        UsageError: there is not one whole row.
    """
    end = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    tokens: list[int] = []
    for text in corpus.read():
        tokens += tokenizer(text)["input_ids"] + end
        if limit_tokens is not None and len(tokens) >= limit_tokens:
            tokens = tokens[:limit_tokens]
            break
    rows = len(tokens) // length
    if rows == 0:
        raise UsageError(
            f"{corpus.description} has {len(tokens)} tokens, less than one row of {length}: give more --data or a "
            "smaller --length"
        )
    return np.asarray(tokens[: rows * length], dtype=np.int64).reshape(rows, length)
