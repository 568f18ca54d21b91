"""The engine with a real model: what it tells is certain, rows end when they should, errors stay with theirs."""

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
from passkwh.serve.engine import Engine, Event, Finished, Row, RowEnergy, cut, settled
from passkwh.serve.limits import Limits, Refused
from passkwh.serve.rules import Rules
from passkwh.units import s_to_ns

TEXT = st.text(alphabet="ab\n\ufffd", max_size=12)
STOPS = st.lists(st.text(alphabet="ab\n", min_size=1, max_size=3), max_size=3)


@given(TEXT, TEXT, STOPS)
def test_what_was_told_stays_true(begun: str, more: str, stop: list[str]) -> None:
    begun = begun.rstrip("\ufffd")  # a cut character is what the last one may be, and later is another
    told = settled(begun, stop)
    assert cut(begun + more, stop).startswith(told)
    assert settled(begun + "\ufffd", stop) in (told, cut(begun + "\ufffd", stop))


@given(TEXT, STOPS)
def test_a_text_is_cut_at_its_first_stop(text: str, stop: list[str]) -> None:
    whole = cut(text, stop)
    assert text.startswith(whole)
    assert not any(mark in whole for mark in stop)
    assert whole == text or any(text[len(whole) :].startswith(mark) for mark in stop)


class Collected:
    """Rows of one engine and what they were told."""

    def __init__(self, adapter: Model, limits: Limits) -> None:
        self.batches: list[Sequence[tuple[int, int]]] = []
        self.limits = limits
        self.engine = Engine(adapter, Rules(None), limits, time.monotonic_ns, self._book)
        self.engine.start()

    def _book(self, start_ns: int, end_ns: int, tokens: Sequence[tuple[int, int]]) -> Future[list[RowEnergy]]:
        self.batches.append(tokens)
        return Future()

    def row(self, prompt: str, tokens: int = 12, timeout_s: float = 60, **more: Any) -> tuple[Row, list[Event]]:
        told: list[Event] = []
        deadline_ns = time.monotonic_ns() + s_to_ns(timeout_s)
        return Row(prompt, Decoding(tokens), 0, None, deadline_ns, told.append, **more), told

    def wait(self, *events: list[Event]) -> None:
        end_s = time.monotonic() + 60
        while not all(told and not isinstance(told[-1], str) for told in events):
            assert time.monotonic() < end_s
            time.sleep(0.01)


def text_of(told: list[Event]) -> str:
    assert isinstance(told[-1], Finished), told
    return told[-1].text


PROMPTS = [f"def f{number}(x):\n    return " for number in range(6)]


def test_rows_that_are_drawn_alike_share_a_batch(model: Model, direct: Callable[..., str]) -> None:
    batched = Collected(model, Limits(batch_size=4))
    long, told_long = batched.row("x = 1\n" * 40, 200)  # keeps the engine busy until all others wait
    rows = [batched.row(prompt) for prompt in PROMPTS]
    other, told_other = batched.row(PROMPTS[0], 5)
    batched.engine.submit([long, *(row for row, _ in rows), other])
    batched.wait(told_long, told_other, *(told for _, told in rows))
    batched.engine.stop()
    assert [len(tokens) for tokens in batched.batches] == [1, 4, 2, 1]
    assert [text_of(told) for _, told in rows] == [direct(prompt) for prompt in PROMPTS]
    assert text_of(told_other) == direct(PROMPTS[0], 5)


def test_a_row_nobody_waits_for_ends_in_the_middle(model: Model) -> None:
    collected = Collected(model, Limits())
    begun = threading.Event()
    row, told = collected.row("x = 1", 3000, streams=True)
    row.tell = lambda event: (told.append(event), begun.set())[0]
    collected.engine.submit([row])
    assert begun.wait(60)
    row.cancelled = True
    after, told_after = collected.row("x = 1", 2)
    collected.engine.submit([after])
    collected.wait(told_after)
    collected.engine.stop()
    assert all(isinstance(event, str) for event in told)
    (prompt_tokens, made), _ = (tokens[0] for tokens in collected.batches)
    assert (prompt_tokens, 0 < made < 3000) == (5, True)


def test_time_that_is_up(model: Model) -> None:
    collected = Collected(model, Limits(timeout_s=0.2))
    running, told_running = collected.row("x = 1", 4000, timeout_s=0.2)
    waiting, told_waiting = collected.row("x = 1", 3, timeout_s=0.0)
    collected.engine.submit([running, waiting])
    collected.wait(told_running, told_waiting)
    collected.engine.stop()
    for told in (told_running, told_waiting):
        (refused,) = told
        assert isinstance(refused, Refused)
        assert (refused.status, refused.reason) == (504, "timeout")


def test_stopping_refuses_what_waits_and_what_comes(model: Model) -> None:
    collected = Collected(model, Limits())
    rows = [collected.row("x = 1", 4000) for _ in range(3)]
    collected.engine.submit([row for row, _ in rows])
    collected.engine.stop()
    reasons = [told[-1].reason for _, told in rows if isinstance(told[-1], Refused)]
    assert reasons == ["stopping"] * 3
    with pytest.raises(Refused, match="stopping"):
        collected.engine.submit([rows[0][0]])


class Breaks:
    """A real adapter whose device fails at one prompt."""

    def __init__(self, adapter: Model) -> None:
        self._adapter = adapter
        self.info = adapter.info
        self.render = adapter.render
        self.close = adapter.close

    def generate(self, prompts: Sequence[str], decoding: Decoding, seeds: Sequence[int]) -> list[Completion]:
        if "break" in prompts:
            raise RuntimeError("device lost\nwith details")
        return self._adapter.generate(prompts, decoding, seeds)


def test_a_failure_reaches_its_sender_and_nobody_else(
    model: Model, direct: Callable[..., str], capfd: pytest.CaptureFixture[str]
) -> None:
    collected = Collected(Breaks(model), Limits())
    broken, told_broken = collected.row("break")
    fine, told_fine = collected.row(PROMPTS[0])
    collected.engine.submit([broken, fine])
    collected.wait(told_broken, told_fine)
    collected.engine.stop()
    (refused,) = told_broken
    assert isinstance(refused, Refused)
    assert (refused.status, refused.message) == (500, "generating failed: RuntimeError: device lost with details")
    assert text_of(told_fine) == direct(PROMPTS[0])
    assert capfd.readouterr().err.strip().count("\n") == 0


def test_a_prompt_that_is_too_long_does_not_spoil_its_batch(model: Model, direct: Callable[..., str]) -> None:
    collected = Collected(model, Limits(batch_size=8))
    busy, told_busy = collected.row("x = 1\n" * 40, 200)
    rows = [collected.row(prompt) for prompt in (PROMPTS[0], "x" * 4096, PROMPTS[1])]
    collected.engine.submit([busy, *(row for row, _ in rows)])
    collected.wait(told_busy, *(told for _, told in rows))
    collected.engine.stop()
    too_long = rows[1][1][0]
    assert isinstance(too_long, Refused)
    assert (too_long.status, "4096" in too_long.message) == (400, True)
    assert [text_of(rows[0][1]), text_of(rows[2][1])] == [direct(PROMPTS[0]), direct(PROMPTS[1])]
