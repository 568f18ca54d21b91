"""Whoever asks in bad faith: other sites' pages, other names, no key, broken HTTP, connections that hold on."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from passkwh.errors import UsageError
from passkwh.serve.access import Access
from passkwh.serve.connections import Patience
from passkwh.serve.limits import Limits, Refused
from tests.serve.conftest import HTTP, LONG, Endpoint, Server, head, hosted, until

KEY = "correct-horse-battery"
COMPLETIONS = "/v1/completions"
GOOD = {"model": "letters", "prompt": "x = 1", "max_tokens": 3, "temperature": 0}
RAW = json.dumps(GOOD).encode()


@pytest.fixture(scope="module")
def hasty(letters: Path) -> Iterator[Endpoint]:
    """A server with little patience, that asks for a key."""
    patience = Patience(head_s=1.0, body_s=1.5, answer_s=60, unread_s=0.5, share=20, crowded_s=0.3, most=300)
    with hosted(letters, Limits(timeout_s=20), key=KEY, patience=patience) as endpoint:
        yield endpoint


def connect(server: Endpoint) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def answer_to(server: Endpoint, raw: bytes, more: bool = True) -> bytes:
    """All that is answered until the server ends the connection; without ``more`` it is told that nothing follows."""
    with connect(server) as connection:
        received = b""
        with contextlib.suppress(OSError):  # it may be ended while it still is spoken to
            connection.sendall(raw)
            if not more:
                connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                received += piece
        return received


def asked(server: Endpoint, **fields: str) -> tuple[int, str]:
    """Status and message of the answer to a good body with other header fields."""
    received = answer_to(server, head(COMPLETIONS, len(RAW), **fields, Connection="close") + RAW)
    error = json.loads(received.partition(b"\r\n\r\n")[2]).get("error", {})
    return int(received.split()[1]), error.get("message", "")


# ---------------------------------------------------------------- who asks, and from where


@pytest.mark.parametrize("host", ["localhost", "LocalHost:8000", "127.0.0.1", "[::1]:80", "10.1.2.3:8000"])
def test_names_and_addresses_of_this_server(server: Server, host: str) -> None:
    assert asked(server, Host=host)[0] == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "localhost@evil.example",
     "localhost:80:80", "[::1", "::1", "localhost/x", "", "localhost:port", "127.1", "x" * 5000],
)  # fmt: skip
def test_a_name_that_was_made_to_point_here_is_refused(server: Server, host: str) -> None:
    status, message = asked(server, Host=host)
    assert (status, "--allow-host" in message) == (400, True)


@pytest.mark.parametrize(
    "origin",
    ["null", "http://evil.example", "http://localhost", "https://localhost:1", "file://", "vscode-webview://x"],
)
def test_pages_of_other_sites_are_refused(server: Server, origin: str) -> None:
    status, message = asked(server, Host="localhost:1", Origin=origin)
    assert (status, "web pages" in message) == (403, True)
    assert asked(server, Host="localhost:1", Origin="http://localhost:1")[0] == 200


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200), ("Application/JSON; charset=UTF-8", 200),
        ('application/json;charset="utf-8"; x=1', 200), ("text/plain", 415), ("", 415), ("application/jsonx", 415),
        ("application/x-www-form-urlencoded", 415), ("multipart/form-data; boundary=x", 415),
        ("application/json; charset=utf-16", 415), ("text/plain; application/json", 415),
    ],
)  # fmt: skip
def test_a_body_says_that_it_is_json(server: Server, kind: str, status: int) -> None:
    assert asked(server, Content_Type=kind)[0] == status


def test_a_key_is_asked_for(hasty: Endpoint) -> None:
    for given_key in (
        "",
        "Bearer",
        "Bearer wrong",
        f"Basic {KEY}",
        f"Bearer {KEY}x",
        f"Bearer {KEY[:-1]}",
        KEY,
        "Bearer \xff",
    ):
        answer = HTTP.post(hasty.url + COMPLETIONS, json=GOOD, headers={"Authorization": given_key.encode("latin-1")})
        assert (answer.status_code, answer.headers.get("www-authenticate")) == (401, "Bearer")
        assert "Bearer KEY" in answer.json()["error"]["message"]
    for path in ("/metrics", "/health", "/v1/models"):
        assert HTTP.get(hasty.url + path).status_code == 401
        assert HTTP.get(hasty.url + path, headers={"Authorization": f"bearer {KEY}"}).status_code == 200


@pytest.mark.parametrize("key", ["", "x" * 15, "with a space in it", "\u00e9" * 20, "x" * 20 + "\n"])
def test_a_key_that_can_be_guessed_or_not_be_sent(key: str) -> None:
    with pytest.raises(UsageError, match="at least 16"):
        Access(key=key)


HEADERS = st.lists(
    st.tuples(st.sampled_from([b"host", b"origin", b"content-type", b"authorization"]), st.binary(max_size=30)),
    max_size=4,
)


@given(HEADERS)
def test_any_head_is_allowed_or_refused(headers: list[tuple[bytes, bytes]]) -> None:
    scope = {"type": "http", "method": "POST", "scheme": "http", "path": "/", "headers": headers}
    with pytest.raises(Refused) as refused:  # none has the key
        Access(["box"], KEY).check(Request(scope)).send(None)
    assert refused.value.status in (400, 401, 403)
    assert refused.value.message.isprintable()


# ---------------------------------------------------------------- broken HTTP, and any body at all

PART = head(COMPLETIONS, len(RAW))
BROKEN = {
    "no request": b"\x00\xff\x16\x03\x01 nothing\r\n\r\n",
    "no version": b"GET /health\r\n\r\n",
    "two lengths": PART.replace(b"Content-Length", b"Content-Length: 5\r\nContent-Length"),
    "negative length": head(COMPLETIONS, -5),
    "two hosts": PART.replace(b"Host", b"Host: localhost\r\nHost"),
    "huge head": PART.replace(b"Host", b"X: " + b"x" * 200_000 + b"\r\nHost"),
    "many fields": PART.replace(b"Host", b"".join(b"X-%d: y\r\n" % i for i in range(20_000)) + b"Host"),
    "bad chunk": PART.replace(b"Content-Length: %d" % len(RAW), b"Transfer-Encoding: chunked") + b"zz\r\n",
    "body too short": head(COMPLETIONS, len(RAW) + 5) + RAW,
    "old, without a host": b"POST /v1/completions HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}",
    "upgrade": PART.replace(b"Content-Type", b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Type") + b"{}",
    "absolute": head("http://evil.example/health", 0, "GET"),
    "half a path": head("/v1/models/%ff%00%ed%a0%80", 0, "GET"),
    "a method of its own": head("/health", 0, "BREW"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_http_is_refused(server: Server, name: str) -> None:
    received = answer_to(server, BROKEN[name], more=False)
    assert not received or re.match(rb"HTTP/1.1 4\d\d ", received), received[:200]
    assert "Traceback" not in server.errors()


def test_chunks_pipelines_and_http_1_0_are_understood(server: Server) -> None:
    chunked = PART.replace(b"Content-Length: %d" % len(RAW), b"Transfer-Encoding: chunked")
    pieces = [RAW[start : start + 7] for start in range(0, len(RAW), 7)]
    body = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    last = head(COMPLETIONS, len(RAW), Connection="close") + RAW
    assert answer_to(server, chunked + body + PART + RAW + last).count(b"HTTP/1.1 200 ") == 3
    old = head(COMPLETIONS, len(RAW)).replace(b"HTTP/1.1", b"HTTP/1.0") + RAW
    assert b" 200 " in answer_to(server, old).splitlines()[0]


HALF = st.sampled_from(["\ud800", "\udfff"])
TEXTS = st.text(max_size=20) | HALF
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(
    ["model", "prompt", "inputs", "messages", "options", "parameters", "n", "stop", "seed", "stream_options"]
)


@settings(max_examples=150)
@given(
    st.sampled_from([COMPLETIONS, "/v1/chat/completions", "/api/generate", "/generate"]),
    st.dictionaries(NAMES, JSON, max_size=4).map(json.dumps).map(str.encode) | st.binary(max_size=40),
)
def test_no_body_is_an_error_of_the_server(server: Server, path: str, raw: bytes) -> None:
    """Any JSON, or any bytes: an answer, or a refusal in one printable line."""
    answer = HTTP.post(server.url + path, content=raw)
    assert answer.status_code in (200, 400, 404)
    if answer.status_code != 200:
        error = answer.json()["error"]
        assert (error["message"] if isinstance(error, dict) else error).isprintable()
    assert "Traceback" not in server.errors()


# ---------------------------------------------------------------- connections that hold on


def is_ended(connection: socket.socket) -> bool:
    """Whether the server has ended a connection; what it said before is read."""
    connection.settimeout(60)
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


def drip(connection: socket.socket, byte: bytes) -> bool:
    """Send a byte at a time until the server has ended the connection."""
    end_s = time.monotonic() + 60
    with contextlib.suppress(ConnectionError):
        while time.monotonic() < end_s:
            connection.sendall(byte)
            time.sleep(0.05)
        return False
    return True


HEAD = head(COMPLETIONS, 10**5, Authorization=f"Bearer {KEY}")


@pytest.mark.parametrize(
    "begin",
    [b"", b"POST /v1", HEAD[:-2], HEAD, HEAD + b'{"model', head("/health", 9, "GET", Authorization=f"Bearer {KEY}")],
    ids=["nothing", "half a line", "half a head", "no body", "half a body", "a body that nobody reads"],
)
def test_a_request_that_never_is_whole_is_not_waited_for(hasty: Endpoint, begin: bytes) -> None:
    silent, dripping = connect(hasty), connect(hasty)
    with silent, dripping:
        for connection in (silent, dripping):
            connection.sendall(begin)
        assert drip(dripping, b"x")
        assert is_ended(silent)


def test_an_answer_that_nobody_reads_is_not_waited_for(hasty: Endpoint) -> None:
    """Requests one after the other on one connection, whose answers nobody reads."""
    with connect(hasty) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one = head("/metrics", 0, "GET", Authorization=f"Bearer {KEY}")
        connection.settimeout(5)
        with pytest.raises(ConnectionError):  # noqa: PT012
            while True:
                with contextlib.suppress(TimeoutError):
                    connection.sendall(one * 100)


def test_a_stream_that_nobody_reads_frees_the_model(hasty: Endpoint) -> None:
    raw = json.dumps({**LONG, "stream": True, "n": 16}).encode()
    bearer = {"Authorization": f"Bearer {KEY}"}
    with connect(hasty) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(head(COMPLETIONS, len(raw), **bearer) + raw)
        until(lambda: HTTP.get(f"{hasty.url}/health", headers=bearer).json()["running"] == 1)
        until(lambda: HTTP.get(f"{hasty.url}/health", headers=bearer).json()["running"] == 0)
        generated = HTTP.get(f"{hasty.url}/metrics", headers=bearer).text
    assert 0 < float(re.findall(r"passkwh_batch_size_sum (\S+)", generated)[0]) < 16 + 16  # not all of them


def test_hundreds_that_hold_on_keep_nobody_out(hasty: Endpoint, direct: Callable[..., str]) -> None:
    """More connections than are taken, from one address: whoever asks is answered rightly, and all is given back."""
    process = psutil.Process()
    wanted = direct("x = 1", 3)
    before, threads = process.num_fds(), []
    attackers: list[socket.socket] = []
    ended = threading.Event()

    def hold_on() -> None:
        """A hundred at a time say nothing, half a head, or half a body; the oldest are given up for others."""
        mine = []
        while not ended.is_set():
            with contextlib.suppress(OSError):
                connection = connect(hasty)
                mine.append(connection)
                connection.sendall((b"", HEAD[:40], HEAD)[len(mine) % 3])
            if len(mine) > 100:
                mine.pop(0).close()
            time.sleep(0.005)
        attackers.extend(mine)

    threads = [threading.Thread(target=hold_on) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            with httpx.Client(verify=False, timeout=60, headers={"Authorization": f"Bearer {KEY}"}) as honest:
                answer = honest.post(hasty.url + COMPLETIONS, json=GOOD)
            assert (answer.status_code, answer.json()["choices"][0]["text"]) == (200, wanted)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    for connection in attackers:
        connection.close()
    until(lambda: process.num_fds() <= before + 2)  # the server is in this process, too


def test_the_server_asks_nothing_of_a_request_that_never_came(hasty: Endpoint) -> None:
    """Nothing of all this was a request, an error of the server, or is still waited for."""
    figures = HTTP.get(f"{hasty.url}/metrics", headers={"Authorization": f"Bearer {KEY}"}).text
    assert 'status="500"' not in figures
    health: dict[str, Any] = HTTP.get(f"{hasty.url}/health", headers={"Authorization": f"Bearer {KEY}"}).json()
    assert (health["waiting"], health["running"]) == (0, 0)
