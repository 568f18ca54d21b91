"""Token-level accuracy by teacher forcing (CodeXGLUE, token-level completion): one forward pass a file.

A model reads a file and says of each of its tokens whether it would have written it (``SupportsTeacherForcing``).
A word of the file, which is a token of CodeXGLUE's, counts as predicted where all its model tokens were. ``<EOL>`` is
not counted, nor is a word that the file begins with, which nothing stands before.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from passkwh.benchmarks.base import Score
from passkwh.benchmarks.completion.cut import WORD, TokenEnds
from passkwh.benchmarks.completion.data import EOL
from passkwh.prompts import FORCED_HIT, FORCED_MISS


def count_words(text: str, ends: Sequence[int], answers: str) -> tuple[int, int]:
    """Words of a text that were predicted, and words that count.

    Args:
        ends: end offset of each model token of ``text``.
        answers: one character a model token: hit, miss, or another where the model predicts nothing.

    Raises:
        ValueError: there are not as many answers as tokens.
    """
    if len(ends) != len(answers):
        raise ValueError(f"{len(answers)} answers for {len(ends)} tokens")
    hits = counted = place = 0
    for word in WORD.finditer(text):
        while place < len(ends) and ends[place] <= word.start():
            place += 1
        first = place
        while place < len(ends) and ends[place] < word.end():
            place += 1
        own = answers[first : place + 1]
        if word[0] == EOL or not own or not set(own) <= {FORCED_HIT, FORCED_MISS}:
            continue
        counted += 1
        hits += FORCED_MISS not in own
    return hits, counted


def score_forced(answers: Sequence[tuple[str, str, str]], token_ends: TokenEnds) -> Iterator[Score]:
    """Score (key, text, answers) of each file: cheap enough to be done here, one after the other."""
    for key, text, answered in answers:
        start_ns, start_cpu_s = time.monotonic_ns(), time.process_time()
        hits, counted = count_words(text, token_ends(text), answered)
        scores = {"words": float(counted), "words_predicted": float(hits)}
        if counted:
            scores["token_accuracy"] = hits / counted
        cpu_s = time.process_time() - start_cpu_s
        yield Score(key, start_ns, time.monotonic_ns(), cpu_s, scores=scores)


def corpus_accuracy(scores: Sequence[dict[str, float]]) -> dict[str, float]:
    """Accuracy over all words of all files, as CodeXGLUE reports it."""
    counted = sum(entry["words"] for entry in scores)
    hits = sum(entry["words_predicted"] for entry in scores)
    return {"words": counted} | ({"token_accuracy": hits / counted} if counted else {})
