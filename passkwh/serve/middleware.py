"""The outermost layer: every request is timed and counted, and no failure reaches a client as a traceback."""

from __future__ import annotations

import sys
import time

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from passkwh.clean import one_line
from passkwh.serve.metrics import Metrics

PATHS = (
    "/v1/completions", "/v1/chat/completions", "/v1/models", "/api/generate", "/generate", "/models", "/health",
    "/metrics",
)  # fmt: skip
CLIENT_GONE = 499
ARRIVED_NS = "passkwh.arrived_ns"
"""Key of the scope: when the request arrived (monotonic)."""


class MetricsMiddleware:
    """ASGI middleware around the application."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start_ns = scope[ARRIVED_NS] = time.monotonic_ns()
        status = CLIENT_GONE

        async def note_status(event: Message) -> None:
            nonlocal status
            if event["type"] == "http.response.start":
                status = event["status"]
            await send(event)

        try:
            await self._app(scope, receive, note_status)
        except Exception as error:
            message = one_line(f"{type(error).__name__}: {error}", 300)
            print(f"error: {one_line(scope['path'], 200)}: {message}", file=sys.stderr, flush=True)
            self._metrics.refused("failed")
            if status == CLIENT_GONE:
                await JSONResponse({"error": f"internal error: {message}"}, 500)(scope, receive, note_status)
        finally:
            self._metrics.answered(_label(scope["path"]), status, (time.monotonic_ns() - start_ns) / 1e9)


def _label(path: str) -> str:
    """One of few words for a path, so that strange requests do not fill the metrics."""
    return next((known for known in PATHS if path == known or path.startswith(known + "/")), "other")
