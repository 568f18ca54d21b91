"""Who may ask: by which name the server is called, from which page, with which key, in which form.

A page of any site can send requests to this machine from the browser of whoever visits it. The browser says so in
``Origin``; and where a site's name is made to point here (DNS rebinding), in ``Host``, which then is that site's.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import socket
from collections.abc import Sequence
from email.message import Message

from starlette.requests import Request

from passkwh.errors import UsageError
from passkwh.serve.limits import Refused

KEY_VARIABLE = "PASSKWH_API_KEY"
SHORTEST_KEY = 16
HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?")
"""A Host field: a name or an address, and perhaps a port."""


class Access:
    """The rules of one server.

    Args:
        hosts: names that the server is called by, beside localhost and addresses (an address cannot be rebound).
        key: what requests must carry as ``Authorization: Bearer KEY``; nothing where None.

    Raises:
        UsageError: for a key that could be guessed or cannot stand in a header.
    """

    def __init__(self, hosts: Sequence[str] = (), key: str | None = None) -> None:
        if key is not None and (len(key) < SHORTEST_KEY or not key.isascii() or not key.isprintable() or " " in key):
            raise UsageError(
                f"--api-key: give at least {SHORTEST_KEY} printable characters without spaces, for example in "
                f"{KEY_VARIABLE}=$(openssl rand -hex 16)"
            )
        self._hosts = {"localhost", socket.gethostname().lower(), *(host.lower().rstrip(".") for host in hosts)}
        self._key = None if key is None else key.encode()

    async def check(self, request: Request) -> None:
        """Refused (400, 401, 403 or 415) where a request may not be answered. Its body is not looked at."""
        headers = request.headers
        host = headers.get("host", "")
        if not self._is_ours(host):
            raise Refused(
                400, f"Host {host[:100]!r} is no name of this server: use its address, or start it with --allow-host",
                "host",
            )  # fmt: skip
        origin = headers.get("origin")
        if origin is not None and origin != f"{request.scope['scheme']}://{host}":
            raise Refused(403, f"Origin {origin[:100]!r}: requests of web pages are not answered", "origin")
        if self._key is not None and not self._has_key(headers.get("authorization", "")):
            raise Refused(401, "give the server's key as Authorization: Bearer KEY", "key")
        if request.method == "POST" and not _is_json(headers.getlist("content-type")):
            raise Refused(415, "send the body with Content-Type: application/json", "content_type")

    def _is_ours(self, host: str) -> bool:
        if (named := HOST.fullmatch(host)) is None:
            return False
        name = named["name"].lower()
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return name.rstrip(".") in self._hosts
        return True

    def _has_key(self, given: str) -> bool:
        scheme, _, key = given.partition(" ")
        is_equal = hmac.compare_digest(key.strip().encode("utf-8", "surrogateescape"), self._key or b"")
        return is_equal and scheme.lower() == "bearer"


def _is_json(fields: Sequence[str]) -> bool:
    """One content type, of JSON, in UTF-8."""
    if len(fields) != 1:
        return False
    message = Message()
    message["content-type"] = fields[0]
    charset = message.get_content_charset()
    return message.get_content_type() == "application/json" and charset in (None, "utf-8", "utf8")
