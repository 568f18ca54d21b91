"""The server's life: bind first, load the model, announce the address, serve until interrupted, clean up."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from passkwh.errors import UsageError
from passkwh.serve.app import make_app
from passkwh.serve.service import Service

MAX_CONNECTIONS = 256
SHUTDOWN_S = 5
"""Answers that are under way get so long to go out once the server is stopping."""


def bind(host: str, port: int) -> socket.socket:
    """A listening address of our own (port 0: any free one); UsageError when it cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(MAX_CONNECTIONS)  # who comes before the model is loaded waits
    except (OSError, OverflowError) as error:
        raise UsageError(f"--host {host} --port {port} cannot be bound ({error}): choose another --port") from None
    return bound


def is_loopback(bound: socket.socket) -> bool:
    """Only programs on this machine can reach the address."""
    return ipaddress.ip_address(bound.getsockname()[0].split("%")[0]).is_loopback


def url(bound: socket.socket) -> str:
    """Where the server is reached."""
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class Server(uvicorn.Server):
    """uvicorn, calling ``ready`` when it answers; its batcher is stopped before its connections are."""

    def __init__(self, service: Service, ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                make_app(service),
                log_level="warning",
                access_log=False,
                lifespan="off",
                limit_concurrency=MAX_CONNECTIONS,
                timeout_graceful_shutdown=SHUTDOWN_S,
            )
        )
        self._service = service
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End; the batcher first, so that every request has its answer and no connection is waited for."""
        await asyncio.to_thread(self._service.batcher.stop)
        await super().shutdown(sockets)


def serve(bound: socket.socket, service: Service, ready: Callable[[], None]) -> None:
    """Serve until interrupted (Ctrl-C or SIGTERM), then stop the service; ``ready`` is called when it answers."""
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        Server(service, ready).run(sockets=[bound])
    except KeyboardInterrupt:
        pass  # how a server is stopped
    finally:
        signal.signal(signal.SIGTERM, previous)
        service.stop()
        bound.close()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
