"""The batcher: a bounded queue of rows, and one thread that owns the model and generates them.

A row is one completion of one prompt. Rows that wait and are drawn in the same way may share a batch. A row ends when
it is complete, when its time is up or when nobody waits for it any more; where the model can be watched, the latter
two end it in the middle of a batch, and its text is sent as it comes.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from passkwh.adapters.engines.base import Completion, Decoding, Model, TextSoFar, Watchable
from passkwh.clean import one_line
from passkwh.errors import UsageError
from passkwh.prompts import Prompt
from passkwh.records import Energy, FinishReason
from passkwh.serve.exit_choices import ExitChoices
from passkwh.serve.limits import RETRY_AFTER_S, Limits, Refused, stopping
from passkwh.serve.prompt_length import PromptLength
from passkwh.units import ns_to_s

if TYPE_CHECKING:
    from passkwh.adapters.early_exit.request import ExitRequest

RowEnergy = dict[str, Energy]
"""One row's share of its batch, by channel."""
Attribute = Callable[[int, int, Sequence[tuple[int, int]]], "Future[list[RowEnergy]]"]
"""Start and end (monotonic ns) of a batch, (prompt, completion) tokens of each row -> their energy, once known."""


@dataclass(frozen=True)
class Finished:
    """A row that is complete."""

    prompt_index: int
    completion: Completion
    text: str
    """The completion up to the first stop string."""
    finish_reason: FinishReason
    start_ns: int
    """When its batch began to be generated."""
    end_ns: int
    queued_s: float
    batch_size: int
    energy: Future[list[RowEnergy]]
    place: int
    """The row's place in its batch."""


Event = str | Finished | Refused
"""A piece of text as it came; the end; why there is none."""


@dataclass
class Row:
    """One completion that somebody waits for."""

    prompt: Prompt
    decoding: Decoding
    seed: int
    rule: ExitRequest | None
    deadline_ns: int
    send: Callable[[Event], None]
    """Called by the batcher's thread; must not block."""
    stop: tuple[str, ...] | None = None
    """What ends the text that is sent, where that is another than the model writes; ``decoding``'s where None."""
    written: Callable[[str, bool], str] | None = None
    """The text that is sent for what the model wrote, and whether nothing follows; None: as it is."""
    streams: bool = False
    prompt_index: int = 0
    prompt_tokens: int | None = None
    """Where they were counted before it was queued, as those of long prompts are."""
    arrived_ns: int = field(default_factory=time.monotonic_ns)
    cancelled: bool = False
    """Nobody waits any more. Set by any thread."""
    _sent: int = 0

    def is_expired(self) -> bool:
        """Nothing that could still come would reach anybody."""
        return self.cancelled or time.monotonic_ns() > self.deadline_ns

    @property
    def stops(self) -> tuple[str, ...]:
        """What ends the text that is sent."""
        return self.decoding.stop if self.stop is None else self.stop

    def text_of(self, text: str, *, complete: bool) -> str:
        """What is sent for a text of the model, before it is cut at a stop."""
        return text if self.written is None else self.written(text, complete)

    def send_text(self, text: str) -> None:
        """Send what of ``text`` is certain and new."""
        certain = certain_text(self.text_of(text, complete=False), self.stops)
        if len(certain) > self._sent:
            self.send(certain[self._sent :])
            self._sent = len(certain)

    def finish(self, finished: Finished) -> None:
        """Send the rest of the text, if it streams, and the end."""
        if self.streams and len(finished.text) > self._sent:
            self.send(finished.text[self._sent :])
        self.send(finished)


def cut_at_stop(text: str, stop: Sequence[str]) -> str:
    """``text`` up to the first stop string."""
    return text[: min((place for place in map(text.find, stop) if place >= 0), default=len(text))]


def certain_text(text: str, stop: Sequence[str]) -> str:
    """The beginning of ``text`` that will not change any more, whatever comes next.

    What may be the beginning of a stop string waits, and so does a last character of which only some bytes are there
    (decoders write U+FFFD for it).
    """
    whole = cut_at_stop(text, stop)
    if len(whole) < len(text):
        return whole
    whole = whole.rstrip("\ufffd")
    held = (len(start) for mark in stop for start in _beginnings(mark) if whole.endswith(start))
    return whole[: len(whole) - max(held, default=0)]


def _beginnings(mark: str) -> list[str]:
    return [mark[:length] for length in range(1, len(mark))]


class Batcher:
    """Owns the model from ``start`` to ``stop``; ``submit`` may be called by any thread."""

    def __init__(
        self, model: Model, exit_choices: ExitChoices, limits: Limits, mark: Callable[[], int], attribute: Attribute
    ) -> None:
        self._model = model
        self.prompt_length = PromptLength(model)
        self._exit_choices = exit_choices
        self._limits = limits
        self._mark = mark
        self._attribute = attribute
        self._waiting: deque[Row] = deque()
        self._change = threading.Condition()
        self._stopping = False
        self._running = 0
        self._thread = threading.Thread(target=self._work, name="passkwh-batcher", daemon=True)

    def start(self) -> None:
        """Begin to generate."""
        self._thread.start()

    def stop(self) -> None:
        """Refuse what waits, end what is being generated where that is possible, and return when nothing runs."""
        with self._change:
            self._stopping = True
            left, self._waiting = self._waiting, deque()
            self._change.notify_all()
        for row in left:
            row.send(stopping())
        self._thread.join()
        self.prompt_length.close()

    def waiting(self) -> int:
        """Rows in the queue."""
        return len(self._waiting)

    def running(self) -> int:
        """Rows that are being generated."""
        return self._running

    def submit(self, rows: Sequence[Row]) -> None:
        """Queue all of ``rows`` or none; Refused (503) where there is no room, with when to try again."""
        limit = self._limits.queue
        if len(rows) > limit:
            raise Refused(400, f"{len(rows)} completions are more than this server's queue of {limit} holds", "invalid")
        with self._change:
            if self._stopping:
                raise stopping()
            self._waiting = deque(row for row in self._waiting if not row.cancelled)
            if len(self._waiting) + len(rows) > limit:
                raise Refused(
                    503,
                    f"{len(self._waiting)} completions wait already and {len(rows)} more would exceed this server's "
                    f"limit of {limit}: try again later",
                    "queue_full",
                    retry_after_s=RETRY_AFTER_S,
                )
            self._waiting.extend(rows)
            self._change.notify_all()

    # ------------------------------------------------------------ the batcher's thread

    def _work(self) -> None:
        while batch := self._next():
            self._running = len(batch)
            try:
                self._generate(batch)
            except Exception as error:  # whatever a model does, the next request must be generated
                print(f"error: generating failed: {_line(error)}", file=sys.stderr, flush=True)
                for row in batch:
                    row.send(Refused(500, f"generating failed: {_line(error)}", "failed"))
            self._running = 0

    def _next(self) -> list[Row]:
        """The row that has waited longest and others that can share its batch; empty when it is time to stop."""
        with self._change:
            while True:
                if self._stopping:
                    return []
                while self._waiting:
                    first = self._waiting.popleft()
                    if self._is_wanted(first):
                        return [first, *self._batch_mates(first)]
                self._change.wait()

    def _batch_mates(self, first: Row) -> list[Row]:
        chosen: list[Row] = []
        left: deque[Row] = deque()
        for row in self._waiting:
            fits = len(chosen) + 1 < self._limits.batch_size
            if fits and (row.decoding, row.rule) == (first.decoding, first.rule):
                if self._is_wanted(row):
                    chosen.append(row)
            else:
                left.append(row)
        self._waiting = left
        return chosen

    def _is_wanted(self, row: Row) -> bool:
        if row.cancelled:
            return False
        if row.is_expired():
            row.send(timeout_error(self._limits))
            return False
        return True

    def _generate(self, batch: list[Row]) -> None:
        batch = [row for row in batch if self._fits(row)]
        if not batch:
            return
        model = self._model
        try:
            self._exit_choices.apply(model, batch[0].rule)
            start_ns = self._mark()
            if isinstance(model, Watchable):
                model.watch = lambda text_of: self._follow(batch, text_of)
            completions = model.generate([row.prompt for row in batch], batch[0].decoding, [row.seed for row in batch])
        except UsageError as error:
            if len(batch) > 1:  # one of them is at fault, the others are not
                for row in batch:
                    self._generate([row])
            else:
                batch[0].send(Refused(400, _line(error), "invalid"))
            return
        finally:
            if isinstance(model, Watchable):
                model.watch = None
        end_ns = self._mark()
        energy = self._attribute(start_ns, end_ns, [(c.prompt_tokens, c.completion_tokens) for c in completions])
        for place, (row, completion) in enumerate(zip(batch, completions, strict=True)):
            if row.cancelled:
                continue
            if self._stopping:
                row.send(stopping())
            elif row.is_expired():
                row.send(timeout_error(self._limits))
            elif completion.failure:
                row.send(Refused(400, completion.failure, "too_long"))
            else:
                whole = row.text_of(completion.text, complete=True)
                text = cut_at_stop(whole, row.stops)
                row.finish(
                    Finished(
                        prompt_index=row.prompt_index,
                        completion=completion,
                        text=text,
                        finish_reason="stop" if len(text) < len(whole) else completion.finish_reason,
                        start_ns=start_ns,
                        end_ns=end_ns,
                        queued_s=ns_to_s(start_ns - row.arrived_ns),
                        batch_size=len(batch),
                        energy=energy,
                        place=place,
                    )
                )

    def _fits(self, row: Row) -> bool:
        """The prompt is within the limit; refuses the row otherwise."""
        try:
            tokens = row.prompt_tokens
            if tokens is None:
                tokens = self.prompt_length.tokens(row.prompt)
        except Refused as refused:
            row.send(refused)
            return False
        if tokens is None or 0 < tokens <= self._limits.prompt_tokens:
            return True
        message = f"the prompt has {tokens} tokens, this server's limit is {self._limits.prompt_tokens}"
        row.send(Refused(400, message, "too_long"))
        return False

    def _follow(self, batch: Sequence[Row], text_of: TextSoFar) -> list[bool]:
        for number, row in enumerate(batch):
            if row.streams and not row.cancelled:
                row.send_text(text_of(number))
        return [self._stopping or row.is_expired() for row in batch]


def timeout_error(limits: Limits) -> Refused:
    """504: the request's time is up."""
    return Refused(504, f"not done within this server's limit of {limits.timeout_s:g} s", "timeout")


def _line(error: Exception) -> str:
    if isinstance(error, UsageError):
        return str(error)
    return one_line(f"{type(error).__name__}: {error}", 300)
