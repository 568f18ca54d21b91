"""Tokens of prompts, counted where a text can do no harm."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from passkwh.adapters.engines.base import Model, SupportsTokenOffsets
from passkwh.prompts import TextPrompt
from passkwh.serve.limits import Refused
from passkwh.serve.prompt_length import SHORT_CHARS, PromptLength
from tests.serve.conftest import Server


@pytest.fixture(scope="module")
def length(model: Model) -> Iterator[PromptLength]:
    made = PromptLength(model)
    yield made
    made.close()


@pytest.mark.parametrize("text", ["", "x", "x" * SHORT_CHARS, "x\n" * SHORT_CHARS, "1 + 1 = <end>" * SHORT_CHARS])
def test_it_is_what_the_model_reads(length: PromptLength, model: Model, text: str) -> None:
    assert isinstance(model, SupportsTokenOffsets)
    assert length.tokens(TextPrompt(text)) == len(model.token_ends(text))


def test_a_prompt_that_takes_too_long_is_refused_and_the_next_is_counted(model: Model) -> None:
    hasty = PromptLength(model, cpu_s=0.5)
    try:
        with pytest.raises(Refused, match=r"cannot be counted: the process ended with more than 0\.5 s of CPU time"):
            hasty.tokens(TextPrompt("x = 1\n" * 500_000))
        assert hasty.tokens(TextPrompt("x" * 5000)) == 5000
    finally:
        hasty.close()


def test_a_prompt_that_is_still_being_read_holds_up_no_other(server: Server) -> None:
    short, long = ({"model": "letters", "prompt": text, "max_tokens": 1} for text in ("x", "x" * 3 * SHORT_CHARS))
    assert server.complete(long).status_code == 400  # the model reads 4096 tokens: its reader runs now, too
    (reader,) = (p for p in psutil.Process(server.process.pid).children() if "prompt_length" in str(p.cmdline()))
    reader.suspend()
    with ThreadPoolExecutor(1) as pool:
        try:
            waiting = pool.submit(server.complete, long)
            assert [server.complete(short).status_code for _ in range(3)] == [200] * 3
            assert not waiting.done()
        finally:
            reader.resume()
        refused = waiting.result()
    assert (refused.status_code, f"{3 * SHORT_CHARS} tokens" in refused.text) == (400, True), refused.text


def test_what_waits_to_be_read_is_refused_when_the_server_ends(model: Model) -> None:
    length = PromptLength(model)
    long = TextPrompt("x" * 3 * SHORT_CHARS)
    assert length.tokens(long) == 3 * SHORT_CHARS
    reader = max(psutil.Process().children(), key=psutil.Process.create_time)
    reader.suspend()
    first, second = length.ahead(long), length.ahead(long)
    with ThreadPoolExecutor(1) as pool:
        closing = pool.submit(length.close)
        while length.ahead(long) is not None:
            time.sleep(0.01)
        reader.resume()
        closing.result()
    assert first is not None
    assert second is not None
    assert first.result() == 3 * SHORT_CHARS
    with pytest.raises(Refused, match="stopping"):
        second.result()
