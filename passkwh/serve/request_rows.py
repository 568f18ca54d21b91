"""One request's rows: given to the batcher, their events handed on, ended when time is up or the client has gone."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from starlette.requests import Request

from passkwh.prompts import ChatPrompt, Prompt, TextPrompt
from passkwh.serve.batcher import Event, Finished, Row, timeout_error
from passkwh.serve.limits import CHARACTERS_PER_TOKEN, Refused, invalid
from passkwh.serve.prompt_length import characters
from passkwh.serve.request import GenerationRequest
from passkwh.serve.service import Service
from passkwh.serve.text_form import ReadPrompt
from passkwh.units import s_to_ns

GRACE_S = 1.0
"""The batcher ends an expired row itself; one that it cannot end is given up so much later."""

Result = TypeVar("Result")


class ClientDisconnected(Exception):
    """The client has hung up."""


class RequestRows:
    """The rows of one request: ``n`` for each of its prompts, which come as the model gets them."""

    def __init__(
        self, request: GenerationRequest, forms: Sequence[ReadPrompt], service: Service, arrived_ns: int
    ) -> None:
        self._batcher, self._limits = service.batcher, service.served.limits
        self._events: asyncio.Queue[tuple[int, Event]] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        most = CHARACTERS_PER_TOKEN * self._limits.prompt_tokens
        if (length := max(map(characters, request.prompts))) > most:
            limit = f"this server's limit of {self._limits.prompt_tokens} tokens"
            raise Refused(400, f"the prompt has {length} characters, more than {most}, {limit} allows", "too_long")
        rule = service.exit_choices.choose(request.exit, request.threshold)
        seed = secrets.randbits(32) if request.seed is None else request.seed
        deadline_ns = arrived_ns + s_to_ns(self._limits.timeout_s)
        self.rows = [
            Row(
                prompt=prompt_as_read(form.prompt, service.model.info.chat),
                decoding=form.decoding,
                stop=request.decoding.stop,
                written=form.written,
                seed=(seed + choice) % 2**63,
                rule=rule,
                deadline_ns=deadline_ns,
                send=self._sender(index * request.n + choice),
                streams=request.stream,
                prompt_index=index,
                arrived_ns=arrived_ns,
            )
            for index, form in enumerate(forms)
            for choice in range(request.n)
        ]
        self._give_up_ns = deadline_ns + s_to_ns(GRACE_S)

    def _sender(self, number: int) -> Callable[[Event], None]:
        def send(event: Event) -> None:
            try:
                self._loop.call_soon_threadsafe(self._events.put_nowait, (number, event))
            except RuntimeError:  # the loop has ended: nobody waits
                self.cancel()

        return send

    def cancel(self) -> None:
        """Nobody waits for the rows any more."""
        for row in self.rows:
            row.cancelled = True

    async def events(self) -> AsyncIterator[tuple[int, str | Finished]]:
        """Queue the rows and hand on what the batcher sends, until all are finished; Refused as soon as one is.

        Whatever ends this, from inside or outside, cancels the rows that are not finished.
        """
        try:
            await self._count_long_prompts()
            self._batcher.submit(self.rows)
            left = len(self.rows)
            while left:
                number, event = await asyncio.wait_for(self._events.get(), self._remaining_s())
                if isinstance(event, Refused):
                    raise event
                left -= isinstance(event, Finished)
                yield number, event
        except TimeoutError:
            raise timeout_error(self._limits) from None
        finally:
            self.cancel()

    async def _count_long_prompts(self) -> None:
        """Here and not in the queue, so that a text that takes long to read holds up nobody else's."""
        for index in sorted({row.prompt_index for row in self.rows}):
            rows = [row for row in self.rows if row.prompt_index == index]
            counting = self._batcher.prompt_length.ahead(rows[0].prompt)
            if counting is not None:
                tokens = await asyncio.wait_for(asyncio.wrap_future(counting), self._remaining_s())
                for row in rows:
                    row.prompt_tokens = tokens

    def _remaining_s(self) -> float:
        return max((self._give_up_ns - time.monotonic_ns()) / 1e9, 0.0)

    async def finished(self) -> list[Finished]:
        """All rows, complete, in order."""
        rows = {number: event async for number, event in self.events() if isinstance(event, Finished)}
        return [rows[number] for number in range(len(self.rows))]


def prompt_as_read(prompt: Prompt, chat: bool) -> Prompt:
    """A base model has no template: it continues the user's text, and a system prompt is refused."""
    if chat or not isinstance(prompt, ChatPrompt):
        return prompt
    if prompt.system is not None:
        raise invalid("messages: the model that is served has no chat template, and so no place for a system prompt")
    return TextPrompt(prompt.user)


async def while_connected(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of ``work``; it is cancelled, and ClientDisconnected raised, when the client hangs up first."""
    working = asyncio.ensure_future(work)
    disconnected = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({working, disconnected}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnected
        return working.result()
    finally:
        working.cancel()
        disconnected.cancel()
        await asyncio.gather(working, disconnected, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
