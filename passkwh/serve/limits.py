"""What one request and all of them together may take, and how a request that wants more is refused."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of the service; every one is an option of ``bench serve``."""

    body_bytes: int = 2**20
    """Of a request's body, as sent."""
    prompt_tokens: int = 8192
    """Of one prompt, where the adapter can count them; the model's context bounds it anyway."""
    new_tokens: int = 1024
    """What a request may ask for per completion."""
    queue: int = 64
    """Completions that wait for the model; a request for more than there is room is refused."""
    timeout_s: float = 60.0
    """From a request's arrival to its last token."""
    batch_size: int = 1
    """Completions generated together, of those that wait and are drawn in the same way."""


class Refused(Exception):
    """A request that is not carried out: HTTP status, one line for its sender, and a word for the metrics."""

    def __init__(
        self, status: int, message: str, reason: str, *, field: str | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.reason = reason
        """queue_full, timeout, too_large, too_long, invalid, unknown_model, stopping, failed."""
        self.field = field
        """The field of the request that is at fault, where one is."""
        self.retry_after_s = retry_after_s


def invalid(message: str, field: str | None = None) -> Refused:
    """400: the request cannot be carried out as it is."""
    return Refused(400, message, "invalid", field=field)
