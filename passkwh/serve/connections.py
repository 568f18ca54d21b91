"""Connections that end: every one has so long for the head of a request, for its body, and to take its answer.

uvicorn ends connections that are idle after an answer, and has no deadline for one that never sends a whole request, or
sends it a byte at a time, or does not read what it is sent. Those would hold a descriptor and a place for ever, so its
HTTP protocol is watched here: where a connection stands follows from h11's states, and ``sweep`` ends what stands there
too long.
"""

from __future__ import annotations

import asyncio
import heapq
import socket
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

SEND_BUFFER_BYTES = 16 * 1024
"""What the kernel, and as much again this process, keep of an answer that is not read: more would hide for long that
nobody reads, and cost memory."""

Stage = Literal["head", "body", "answer"]


@dataclass(frozen=True)
class Patience:
    """How long and how many connections are waited for."""

    head_s: float = 10.0
    """From being connected, or from the last answer, to the end of a request's head."""
    body_s: float = 30.0
    """From a request's head to the end of its body."""
    answer_s: float = 100.0
    """From a whole request to the end of its answer; more than a request's own time, with what it waits for energy."""
    unread_s: float = 10.0
    """An answer that the other side does not read is waited for so long."""
    share: int = 1024
    """Connections of one address that may wait for a request's head or body; with more, each has ``crowded_s``. At most
    half of all. Who is ended comes again at once, and costs more than while it waits: it is done for places' sake."""
    crowded_s: float = 1.0
    most: int = 2048
    """Connections at a time. Others take the places of those whose request has been waited for longest."""


class WatchedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol that knows what its connection waits for, and since when."""

    def __init__(self, patience: Patience, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._patience = patience
        self._waits: tuple[Stage, object] = ("head", None)
        self.since_s = time.monotonic()
        self.unread_since_s: float | None = None

    @property
    def stage(self) -> Stage:
        """What the connection waits for."""
        return self._waits[0]

    @property
    def peer(self) -> str:
        """The other side's address."""
        return self.client[0] if self.client else ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection; where there are too many, those that have waited longest make room."""
        super().connection_made(transport)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        transport.set_write_buffer_limits(high=SEND_BUFFER_BYTES)
        if len(self.connections) > self._patience.most:
            _make_room(self.connections, self._patience.most // 16)

    def handle_events(self) -> None:
        """Go on with what was received, and see what is waited for now."""
        super().handle_events()
        self._look()

    def on_response_complete(self) -> None:
        """An answer is written: the next request is waited for."""
        super().on_response_complete()
        self._look()

    def _look(self) -> None:
        their = self.conn.their_state
        stage: Stage = "head" if their is h11.IDLE else "body" if their is h11.SEND_BODY else "answer"
        if (stage, self.cycle) != self._waits:
            self._waits, self.since_s = (stage, self.cycle), time.monotonic()

    def pause_writing(self) -> None:
        """The other side does not read."""
        super().pause_writing()
        self.unread_since_s = time.monotonic()

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        self.unread_since_s = None

    def is_overdue(self, now_s: float, crowded: Collection[str]) -> bool:
        """Whether the connection has had its time; addresses in ``crowded`` have less of it."""
        patience = self._patience
        limit_s = {"head": patience.head_s, "body": patience.body_s, "answer": patience.answer_s}[self.stage]
        if self.stage != "answer" and self.peer in crowded:
            limit_s = patience.crowded_s
        unread = self.unread_since_s is not None and now_s - self.unread_since_s > patience.unread_s
        return unread or now_s - self.since_s > limit_s


def watched(connections: Collection[Any]) -> list[WatchedProtocol]:
    """Connections of a server that are watched here, which are all."""
    return [one for one in connections if isinstance(one, WatchedProtocol)]


def _make_room(connections: Collection[Any], count: int) -> None:
    """End so many connections, those first that belong to the largest crowd and have waited longest: looking at all of
    them for each one that comes would take more time than it has."""
    waiting = [one for one in watched(connections) if one.stage != "answer"]
    crowd = Counter(one.peer for one in waiting)
    for one in heapq.nsmallest(max(count, 1), waiting, key=lambda one: (-crowd[one.peer], one.since_s)):
        one.transport.abort()


def sweep(connections: Collection[Any], patience: Patience) -> None:
    """End every connection that has had its time."""
    all_of_them = watched(connections)
    waiting = Counter(one.peer for one in all_of_them if one.stage != "answer")
    share = min(patience.share, patience.most // 2)
    crowded = {peer for peer, count in waiting.items() if count > share}
    now_s = time.monotonic()
    for one in all_of_them:
        if one.is_overdue(now_s, crowded):
            one.transport.abort()
