"""What one request and all of them together may take, and how a request that wants more is refused."""

from __future__ import annotations

from dataclasses import dataclass

from passkwh.clean import one_line

MESSAGE_CHARACTERS = 400
"""What is said of a request may quote it, and is no longer than this."""
CHARACTERS_PER_TOKEN = 16
"""No text has more on average; one that has is refused before its tokens are counted, which takes time."""


@dataclass(frozen=True)
class Limits:
    """Bounds of the service; every one is an option of ``bench serve``."""

    body_bytes: int = 2**20
    """Of a request's body, as sent."""
    prompt_tokens: int = 8192
    """Of one prompt, where the model's tokens can be counted; the model's context bounds it anyway. So many times
    ``CHARACTERS_PER_TOKEN`` characters are counted, and no longer prompt."""
    new_tokens: int = 1024
    """What a request may ask for per completion."""
    queue: int = 64
    """Completions that wait for the model; a request for more than there is room is refused."""
    timeout_s: float = 60.0
    """From a request's arrival to its last token."""
    batch_size: int = 1
    """Completions generated together, of those that wait and are drawn in the same way."""


RETRY_AFTER_S = 1


class Refused(Exception):
    """A request that is not carried out: HTTP status, one line for its sender, and a word for the metrics."""

    def __init__(
        self, status: int, message: str, reason: str, *, field: str | None = None, retry_after_s: int | None = None
    ) -> None:
        self.message = one_line(message, MESSAGE_CHARACTERS)
        super().__init__(self.message)
        self.status = status
        self.reason = reason
        """queue_full, timeout, too_large, too_long, invalid, unknown_model, stopping, failed, host, origin, key,
        content_type."""
        self.field = None if field is None else one_line(field, MESSAGE_CHARACTERS)
        """The field of the request that is at fault, where one is."""
        self.retry_after_s = retry_after_s


def stopping() -> Refused:
    """503: the server ends."""
    return Refused(503, "the server is stopping", "stopping", retry_after_s=RETRY_AFTER_S)


def invalid(message: str, field: str | None = None) -> Refused:
    """400: the request cannot be carried out as it is."""
    return Refused(400, message, "invalid", field=field)


@dataclass(frozen=True)
class Served:
    """The model that is served, as requests see it: its names and the limits."""

    names: tuple[str, ...]
    """What requests may call the model; the first is what answers call it."""
    limits: Limits

    def check_name(self, name: str | None) -> None:
        """Refused (404) when a request names another model than the one that is served."""
        if name and name.removesuffix(":latest") not in self.names:
            message = f"no model {name[:200]!r} here, this server has {self.names[0]!r}"
            raise Refused(404, message, "unknown_model", field="model")

    def new_tokens(self, wanted: int | None, default: int, field: str) -> int:
        """How many tokens a completion may have; Refused (400) above the server's limit."""
        limit = self.limits.new_tokens
        if wanted is not None and wanted > limit:
            raise invalid(f"{field}: {wanted} is more than this server's limit of {limit} new tokens", field)
        return min(default, limit) if wanted is None else wanted
