"""Files that are the same as others, or nearly: what a model is trained on must not stand in what it is tested on."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable

SHINGLE = 5
"""Tokens of a shingle."""
NEAR = 0.5
"""Two files are near-duplicates from this Jaccard similarity of their sets of shingles on. Deduplicated corpora of code
use 0.7 to 0.8 (Allamanis, 2019, "The adverse effects of code duplication"): this drops more."""
_LITERAL = re.compile(r"<(STR|NUM|CHAR)_LIT:\S*>")


class Near:
    """Finds which of some files another file nearly is, by an index of their shingles."""

    def __init__(self, texts: Iterable[tuple[str, str]]) -> None:
        """``texts``: name and text in CodeXGLUE's token form of each file."""
        self._names: list[str] = []
        self._sizes: list[int] = []
        self._holders: dict[int, list[int]] = defaultdict(list)
        for name, text in texts:
            shingles = _shingles(text)
            for shingle in shingles:
                self._holders[shingle].append(len(self._names))
            self._names.append(name)
            self._sizes.append(len(shingles))

    def like(self, text: str) -> tuple[str, float] | None:
        """Name of the file that is most like this one, and their similarity; None where none is nearly the same."""
        shingles = _shingles(text)
        shared = Counter(at for shingle in shingles for at in self._holders.get(shingle, ()))
        best = max(
            ((count / (len(shingles) + self._sizes[at] - count), at) for at, count in shared.items()), default=(0.0, 0)
        )
        return (self._names[best[1]], best[0]) if best[0] >= NEAR else None


def _shingles(text: str) -> frozenset[int]:
    """Every run of ``SHINGLE`` tokens, literals without their values, which depend on the corpus they were kept for."""
    tokens = _LITERAL.sub(r"<\1_LIT>", text).split()
    runs = range(max(1, len(tokens) - SHINGLE + 1))
    return frozenset(hash(tuple(tokens[begin : begin + SHINGLE])) for begin in runs)
