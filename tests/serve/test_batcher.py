"""The batcher with a real model: what it sends is certain, rows end when they should, errors stay with theirs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passkwh.adapters.engines.base import Completion, Decoding, Model
from passkwh.prompts import Prompt, TextPrompt
from passkwh.serve.batcher import Batcher, Event, Finished, Row, RowEnergy, certain_text, cut_at_stop
from passkwh.serve.exit_choices import ExitChoices
from passkwh.serve.limits import Limits, Refused
from passkwh.units import s_to_ns

TEXT = st.text(alphabet="ab\n\ufffd", max_size=12)
STOPS = st.lists(st.text(alphabet="ab\n", min_size=1, max_size=3), max_size=3)


@given(TEXT, TEXT, STOPS)
def test_what_was_sent_stays_true(begun: str, more: str, stop: list[str]) -> None:
    begun = begun.rstrip("\ufffd")  # a cut character is what the last one may be, and later is another
    sent = certain_text(begun, stop)
    assert cut_at_stop(begun + more, stop).startswith(sent)
    assert certain_text(begun + "\ufffd", stop) in (sent, cut_at_stop(begun + "\ufffd", stop))


@given(TEXT, STOPS)
def test_a_text_is_cut_at_its_first_stop(text: str, stop: list[str]) -> None:
    whole = cut_at_stop(text, stop)
    assert text.startswith(whole)
    assert not any(mark in whole for mark in stop)
    assert whole == text or any(text[len(whole) :].startswith(mark) for mark in stop)


class Collected:
    """Rows of one batcher and what they were sent."""

    def __init__(self, model: Model, limits: Limits) -> None:
        self.batches: list[Sequence[tuple[int, int]]] = []
        self.limits = limits
        self.batcher = Batcher(model, ExitChoices(None), limits, time.monotonic_ns, self._attribute)
        self.batcher.start()

    def _attribute(self, start_ns: int, end_ns: int, tokens: Sequence[tuple[int, int]]) -> Future[list[RowEnergy]]:
        self.batches.append(tokens)
        return Future()

    def row(self, prompt: str, tokens: int = 12, timeout_s: float = 60, **more: Any) -> tuple[Row, list[Event]]:
        sent: list[Event] = []
        deadline_ns = time.monotonic_ns() + s_to_ns(timeout_s)
        return Row(TextPrompt(prompt), Decoding(tokens), 0, None, deadline_ns, sent.append, **more), sent

    def wait(self, *events: list[Event]) -> None:
        end_s = time.monotonic() + 60
        while not all(sent and not isinstance(sent[-1], str) for sent in events):
            assert time.monotonic() < end_s
            time.sleep(0.01)


def text_of(sent: list[Event]) -> str:
    assert isinstance(sent[-1], Finished), sent
    return sent[-1].text


PROMPTS = [f"def f{number}(x):\n    return " for number in range(6)]


def test_rows_that_are_drawn_alike_share_a_batch(model: Model, direct: Callable[..., str]) -> None:
    batched = Collected(model, Limits(batch_size=4))
    long, sent_long = batched.row("x = 1\n" * 40, 200)  # keeps the batcher busy until all others wait
    rows = [batched.row(prompt) for prompt in PROMPTS]
    other, sent_other = batched.row(PROMPTS[0], 5)
    batched.batcher.submit([long, *(row for row, _ in rows), other])
    batched.wait(sent_long, sent_other, *(sent for _, sent in rows))
    batched.batcher.stop()
    assert [len(tokens) for tokens in batched.batches] == [1, 4, 2, 1]
    assert [text_of(sent) for _, sent in rows] == [direct(prompt) for prompt in PROMPTS]
    assert text_of(sent_other) == direct(PROMPTS[0], 5)


def test_a_row_nobody_waits_for_ends_in_the_middle(model: Model) -> None:
    collected = Collected(model, Limits())
    begun = threading.Event()
    row, sent = collected.row("x = 1", 3000, streams=True)
    row.send = lambda event: (sent.append(event), begun.set())[0]
    collected.batcher.submit([row])
    assert begun.wait(60)
    row.cancelled = True
    after, sent_after = collected.row("x = 1", 2)
    collected.batcher.submit([after])
    collected.wait(sent_after)
    collected.batcher.stop()
    assert all(isinstance(event, str) for event in sent)
    (prompt_tokens, made), _ = (tokens[0] for tokens in collected.batches)
    assert (prompt_tokens, 0 < made < 3000) == (5, True)


def test_time_that_is_up(model: Model) -> None:
    collected = Collected(model, Limits(timeout_s=0.2))
    running, sent_running = collected.row("x = 1", 4000, timeout_s=0.2)
    waiting, sent_waiting = collected.row("x = 1", 3, timeout_s=0.0)
    collected.batcher.submit([running, waiting])
    collected.wait(sent_running, sent_waiting)
    collected.batcher.stop()
    for sent in (sent_running, sent_waiting):
        (refused,) = sent
        assert isinstance(refused, Refused)
        assert (refused.status, refused.reason) == (504, "timeout")


def test_stopping_refuses_what_waits_and_what_comes(model: Model) -> None:
    collected = Collected(model, Limits())
    rows = [collected.row("x = 1", 4000) for _ in range(3)]
    collected.batcher.submit([row for row, _ in rows])
    collected.batcher.stop()
    reasons = [sent[-1].reason for _, sent in rows if isinstance(sent[-1], Refused)]
    assert reasons == ["stopping"] * 3
    with pytest.raises(Refused, match="stopping"):
        collected.batcher.submit([rows[0][0]])


class Breaks:
    """A real model whose device fails at one prompt."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.info = model.info
        self.render = model.render
        self.close = model.close

    def generate(self, prompts: Sequence[Prompt], decoding: Decoding, seeds: Sequence[int]) -> list[Completion]:
        if TextPrompt("break") in prompts:
            raise RuntimeError("device lost\nwith details")
        return self._model.generate(prompts, decoding, seeds)


def test_a_failure_reaches_its_sender_and_nobody_else(
    model: Model, direct: Callable[..., str], capfd: pytest.CaptureFixture[str]
) -> None:
    collected = Collected(Breaks(model), Limits())
    broken, sent_broken = collected.row("break")
    fine, sent_fine = collected.row(PROMPTS[0])
    collected.batcher.submit([broken, fine])
    collected.wait(sent_broken, sent_fine)
    collected.batcher.stop()
    (refused,) = sent_broken
    assert isinstance(refused, Refused)
    assert (refused.status, refused.message) == (500, "generating failed: RuntimeError: device lost with details")
    assert text_of(sent_fine) == direct(PROMPTS[0])
    assert capfd.readouterr().err.strip().count("\n") == 0


def test_a_prompt_that_is_too_long_does_not_spoil_its_batch(model: Model, direct: Callable[..., str]) -> None:
    collected = Collected(model, Limits(batch_size=8))
    busy, sent_busy = collected.row("x = 1\n" * 40, 200)
    rows = [collected.row(prompt) for prompt in (PROMPTS[0], "x" * 4096, PROMPTS[1])]
    collected.batcher.submit([busy, *(row for row, _ in rows)])
    collected.wait(sent_busy, *(sent for _, sent in rows))
    collected.batcher.stop()
    too_long = rows[1][1][0]
    assert isinstance(too_long, Refused)
    assert (too_long.status, "4096" in too_long.message) == (400, True)
    assert [text_of(rows[0][1]), text_of(rows[2][1])] == [direct(PROMPTS[0]), direct(PROMPTS[1])]
