"""The server's life: bind first, load the model, announce the address, serve until interrupted, clean up."""

from __future__ import annotations

import asyncio
import ipaddress
import resource
import signal
import socket
from collections.abc import Callable
from functools import partial
from types import FrameType

import uvicorn

from passkwh.errors import UsageError
from passkwh.serve.access import Access
from passkwh.serve.app import make_app
from passkwh.serve.connections import Patience, WatchedProtocol, sweep
from passkwh.serve.service import Service

BACKLOG = 64
"""Connections that the kernel holds until they are accepted, and that are accepted in one go."""
SHUTDOWN_S = 5
"""Answers that are under way get so long to go out once the server is stopping."""
SWEEP_TICKS = 5
ANSWER_SLACK_S = 40.0
"""Beyond a request's time its answer may wait for its energy, and for its reader."""


def bind(host: str, port: int) -> socket.socket:
    """A listening address of our own (port 0: any free one); UsageError when it cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(BACKLOG)  # who comes before the model is loaded waits
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

    def __init__(
        self, service: Service, ready: Callable[[], None], access: Access, patience: Patience | None = None
    ) -> None:
        self._patience = patience or Patience(
            answer_s=service.served.limits.timeout_s + ANSWER_SLACK_S,
            most=min(Patience.most, _descriptors(resource.getrlimit(resource.RLIMIT_NOFILE)[0]) // 2),
        )
        super().__init__(
            uvicorn.Config(
                make_app(service, access),
                http=partial(WatchedProtocol, self._patience),  # type: ignore[arg-type]
                ws="none",
                log_level="error",  # warnings are about requests: whoever sends bad ones would write the log
                access_log=False,
                proxy_headers=False,  # whoever asks could say that it is somebody else
                lifespan="off",
                backlog=BACKLOG,
                timeout_graceful_shutdown=SHUTDOWN_S,
            )
        )
        self._service = service
        self._ready = ready

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second; end connections that have had their time at every fifth, since all are looked at."""
        if counter % SWEEP_TICKS == 0:
            sweep(self.server_state.connections, self._patience)
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End; the batcher first, so that every request has its answer and no connection is waited for."""
        await asyncio.to_thread(self._service.batcher.stop)
        await super().shutdown(sockets)


def serve(bound: socket.socket, service: Service, ready: Callable[[], None], access: Access) -> None:
    """Serve until interrupted (Ctrl-C or SIGTERM), then stop the service; ``ready`` is called when it answers."""
    _allow_descriptors(2 * Patience.most)
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        Server(service, ready, access).run(sockets=[bound])
    except KeyboardInterrupt:
        pass  # how a server is stopped
    finally:
        signal.signal(signal.SIGTERM, previous)
        service.stop()
        bound.close()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _descriptors(limit: int) -> int:
    """A limit on descriptors as a number."""
    return 2**20 if limit == resource.RLIM_INFINITY else limit


def _allow_descriptors(wanted: int) -> None:
    """Let this process open so many files and connections, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _descriptors(soft) < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, _descriptors(hard)), hard))
