"""The server's life: bind first, load the model, announce the address, serve until told to stop, clean up."""

from __future__ import annotations

import ipaddress
import signal
import socket
from collections.abc import Callable
from types import FrameType

from passkwh.adapters.base import Adapter
from passkwh.errors import MissingExtra, UsageError
from passkwh.serve.limits import Limits

MAX_CONNECTIONS = 1024
SHUTDOWN_S = 5
"""Answers that are under way get so long to go out once the server is told to stop."""


def check_installed() -> None:
    """MissingExtra unless the libraries of the service are installed."""
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise MissingExtra("the completion endpoint", "serve") from None


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


def serve(
    bound: socket.socket,
    adapter: Adapter,
    names: tuple[str, ...],
    limits: Limits,
    *,
    rule: str | None,
    meter: str,
    idle_s: float,
    always_usage: bool,
    ready: Callable[[], None],
) -> None:
    """Serve until interrupted (Ctrl-C or SIGTERM); ``ready`` is called when requests are answered."""
    import uvicorn

    from passkwh.serve.app import make_app
    from passkwh.serve.service import start_service

    class Announced(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                ready()

    service = start_service(adapter, names, limits, rule=rule, meter=meter, idle_s=idle_s, always_usage=always_usage)
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        config = uvicorn.Config(
            make_app(service),
            log_level="warning",
            access_log=False,
            lifespan="off",
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=SHUTDOWN_S,
        )
        Announced(config).run(sockets=[bound])
    except KeyboardInterrupt:
        pass  # how a server is told to stop
    finally:
        signal.signal(signal.SIGTERM, previous)
        service.stop()
        bound.close()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
