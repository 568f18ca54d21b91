"""Reading a body within bounds: never more of it in memory than the limit, and for a bounded time."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

from passkwh.serve.limits import Limits, Refused

DRAIN_BYTES = 4 * 2**20
"""Of a body that is too large so much is read and dropped, so that its sender gets to read the answer."""
BODY_S = 20.0
"""A body that is not whole by then does not come any more; a connection is ended a little later by itself."""


async def read_body(request: Request, limits: Limits) -> bytes:
    """The body; Refused: 413 when it is larger than the limit, 408 when it does not come, 400 when it breaks off."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limits.body_bytes + DRAIN_BYTES:
        raise _too_large(limits)
    kept = bytearray()
    dropped = 0
    limit_s = min(BODY_S, limits.timeout_s)
    try:
        async with asyncio.timeout(limit_s):
            async for chunk in request.stream():
                if dropped or len(kept) + len(chunk) > limits.body_bytes:
                    dropped += len(kept) + len(chunk)
                    kept.clear()
                    if dropped > limits.body_bytes + DRAIN_BYTES:
                        break
                else:
                    kept += chunk
    except TimeoutError:
        raise Refused(408, f"the body did not come within {limit_s:g} s", "timeout") from None
    except ClientDisconnect:
        raise Refused(400, "the body broke off", "invalid") from None
    if dropped:
        raise _too_large(limits)
    return bytes(kept)


def _too_large(limits: Limits) -> Refused:
    return Refused(413, f"the body is larger than this server's limit of {limits.body_bytes} bytes", "too_large")
