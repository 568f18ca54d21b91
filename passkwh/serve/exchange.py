"""One request's talk with the engine: rows in, their events out, and an end when time is up or the client has gone."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

from passkwh.adapters.engines.base import Model
from passkwh.prompts import ChatPrompt, TextPrompt
from passkwh.serve import usage
from passkwh.serve.attribution import SETTLE_S, Ledger
from passkwh.serve.engine import Engine, Event, Finished, Row, RowEnergy, late
from passkwh.serve.limits import Limits, Refused
from passkwh.serve.request import Ask
from passkwh.serve.rules import Rules
from passkwh.units import s_to_ns

GRACE_S = 1.0
"""The engine ends a late row itself; one that it cannot end is given up so much later."""
ENERGY_WAIT_S = 5.0 + SETTLE_S
"""An answer waits no longer for its energy."""


Answer = TypeVar("Answer")


class Gone(Exception):
    """The client has hung up."""


class Exchange:
    """The rows of one request."""

    def __init__(self, ask: Ask, adapter: Model, rules: Rules, limits: Limits, arrived_ns: int) -> None:
        self._limits = limits
        self._events: asyncio.Queue[tuple[int, Event]] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        rule = rules.choose(ask.exit, ask.threshold)
        seed = secrets.randbits(32) if ask.seed is None else ask.seed
        chat = ask.template and adapter.info.chat
        prompts = [ChatPrompt(text) if chat else TextPrompt(text) for text in ask.prompts]
        deadline_ns = arrived_ns + s_to_ns(limits.timeout_s)

        def teller(number: int) -> Callable[[Event], None]:
            def tell(event: Event) -> None:
                try:
                    loop.call_soon_threadsafe(self._events.put_nowait, (number, event))
                except RuntimeError:  # the loop has ended: nobody waits
                    self.cancel()

            return tell

        self.rows = [
            Row(
                prompt=prompt,
                decoding=ask.decoding,
                seed=(seed + choice) % 2**63,
                rule=rule,
                deadline_ns=deadline_ns,
                tell=teller(index * ask.n + choice),
                streams=ask.stream,
                prompt_index=index,
                arrived_ns=arrived_ns,
            )
            for index, prompt in enumerate(prompts)
            for choice in range(ask.n)
        ]
        self._give_up_ns = deadline_ns + s_to_ns(GRACE_S)

    def cancel(self) -> None:
        """Nobody waits for the rows any more."""
        for row in self.rows:
            row.cancelled = True

    async def events(self, engine: Engine) -> AsyncIterator[tuple[int, str | Finished]]:
        """Queue the rows and hand on what the engine tells of them, until all are finished; Refused as soon as one is.

        Whatever ends this, from inside or outside, cancels the rows that are not finished.
        """
        try:
            engine.submit(self.rows)
            left = len(self.rows)
            while left:
                remaining_s = (self._give_up_ns - time.monotonic_ns()) / 1e9
                number, event = await asyncio.wait_for(self._events.get(), max(remaining_s, 0))
                if isinstance(event, Refused):
                    raise event
                left -= isinstance(event, Finished)
                yield number, event
        except TimeoutError:
            raise late(self._limits) from None
        finally:
            self.cancel()

    async def finished(self, engine: Engine) -> list[Finished]:
        """All rows, complete, in order."""
        found = {number: event async for number, event in self.events(engine) if isinstance(event, Finished)}
        return [found[number] for number in range(len(self.rows))]


async def while_connected(request: Request, work: Coroutine[Any, Any, Answer]) -> Answer:
    """What ``work`` comes to; it is cancelled, and Gone raised, when the client hangs up first."""
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Gone
        return working.result()
    finally:
        working.cancel()
        gone.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def extension(finished: list[Finished], ledger: Ledger) -> dict[str, Any]:
    """The usage extension of an answer, once its energy is known."""
    energies: list[RowEnergy] = []
    for row in finished:
        try:
            async with asyncio.timeout(ENERGY_WAIT_S):
                energies.append((await asyncio.wrap_future(row.energy))[row.place])
        except TimeoutError:
            energies.append(usage.missing(ledger.channels, f"not known within {ENERGY_WAIT_S:g} s of the answer"))
    return usage.extension(finished, energies, ledger.channels, ledger.no_energy)
