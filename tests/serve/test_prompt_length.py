"""Tokens of prompts, counted where a text can do no harm."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from passkwh.adapters.engines.base import Model, SupportsTokenOffsets
from passkwh.serve.limits import Refused
from passkwh.serve.prompt_length import SHORT_CHARS, PromptLength


@pytest.fixture(scope="module")
def length(model: Model) -> Iterator[PromptLength]:
    made = PromptLength(model)
    yield made
    made.close()


@pytest.mark.parametrize("text", ["", "x", "x" * SHORT_CHARS, "x\n" * SHORT_CHARS, "1 + 1 = <end>" * SHORT_CHARS])
def test_it_is_what_the_model_reads(length: PromptLength, model: Model, text: str) -> None:
    assert isinstance(model, SupportsTokenOffsets)
    assert length.tokens(text) == len(model.token_ends(text))


def test_a_prompt_that_takes_too_long_is_refused_and_the_next_is_counted(model: Model) -> None:
    hasty = PromptLength(model, cpu_s=0.5)
    try:
        with pytest.raises(Refused, match=r"cannot be counted: the process ended with more than 0\.5 s of CPU time"):
            hasty.tokens("x = 1\n" * 500_000)
        assert hasty.tokens("x" * 5000) == 5000
    finally:
        hasty.close()
