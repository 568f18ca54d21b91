"""What is looked up is what followed the same tokens, where most of them are the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from passkwh.adapters.early_exit.drafts.lookup import LONGEST, continuation


@pytest.mark.parametrize(
    ("text", "count", "match", "expected"),
    [
        ([5, 6, 7, 8, 5, 6], 3, 2, [7, 8, 5]),
        ([5, 6, 7, 8, 5, 6], 1, 2, [7]),
        ([5, 6, 7, 8, 5, 6], 3, 3, []),
        ([1, 6, 7, 2, 6, 8, 1, 6], 2, 1, [7, 2]),  # the longer match, not the later one
        ([2, 6, 7, 2, 6, 8, 2, 6], 2, 1, [8, 2]),  # of equals the later one
        ([9, 9, 9], 4, 2, [9, 9, 9, 9]),  # it goes on repeating itself
        ([1, 2, 3], 4, 1, []),
        ([1], 4, 1, []),
        ([5, 6, 5], 0, 1, []),
    ],
)
def test_examples(text: list[int], count: int, match: int, expected: list[int]) -> None:
    assert continuation(np.array(text), count, match) == expected


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(0, 9), st.integers(1, 4))
def test_every_draft_follows_the_longest_match_there_is(text: list[int], count: int, match: int) -> None:
    def matched(end: int) -> int:
        """Tokens before ``end`` that are the text's last ones."""
        return next((n for n in range(LONGEST) if end - n < 1 or text[end - n - 1] != text[-n - 1]), LONGEST)

    best = max((matched(end) for end in range(1, len(text))), default=0)
    draft = continuation(np.array(text), count, match)
    assert len(draft) == (count if best >= match else 0)
    if draft:
        whole = text + draft
        starts = [end for end in range(1, len(text)) if matched(end) == best]
        assert all(token == whole[starts[-1] + place] for place, token in enumerate(draft))
