"""Many clients at once: every answer is the right one, what is too much is refused, and nothing grows without bound."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.serve.conftest import Server, serving

CLIENTS = 64
PROMPTS = [f"def f{number}(x):\n    return x * {number * number}" for number in range(CLIENTS)]
LONG = {"model": "letters", "prompt": "x = 1", "temperature": 0, "max_tokens": 4000}


def body(prompt: str, **more: Any) -> dict[str, Any]:
    return {"model": "letters", "prompt": prompt, "temperature": 0, "max_tokens": 12, **more}


async def at_once(url: str, bodies: list[dict[str, Any]]) -> list[httpx.Response]:
    """Every body posted by a client of its own, all at once."""

    async def post(asked: dict[str, Any]) -> httpx.Response:
        async with httpx.AsyncClient(timeout=120) as client:
            return await client.post(f"{url}/v1/completions", json=asked)

    return await asyncio.gather(*map(post, bodies))


def figure(server: Server, name: str) -> float:
    """One of the server's metrics."""
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name)), 0.0)


def until(wanted: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 60
    while not wanted():
        assert time.monotonic() < end_s
        time.sleep(0.02)


@pytest.fixture(scope="module")
def small(letters: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with room for little, which generates up to four completions together."""
    options = ["--max-queue", 4, "--timeout-s", 3, "--batch-size", 4, "--max-new-tokens", 4000, "--meter", "simulated"]
    with serving(letters, tmp_path_factory.mktemp("small") / "log", *options) as found:
        yield found


def test_64_clients_each_get_their_answer(server: Server, direct: Callable[..., str]) -> None:
    wanted = [direct(prompt) for prompt in PROMPTS]
    assert len(set(wanted)) > CLIENTS / 2
    process = psutil.Process(server.process.pid)
    asyncio.run(at_once(server.url, [body(prompt) for prompt in PROMPTS]))  # what is allocated once, is now
    before = process.memory_info().rss
    for _ in range(3):
        answers = asyncio.run(at_once(server.url, [body(prompt, usage=True) for prompt in PROMPTS]))
        assert [answer.status_code for answer in answers] == [200] * CLIENTS
        assert [answer.json()["choices"][0]["text"] for answer in answers] == wanted
    assert process.memory_info().rss - before < 64 * 2**20
    streamed = asyncio.run(at_once(server.url, [body(prompt, stream=True) for prompt in PROMPTS]))
    texts = ["".join(map(chunk_text, answer.text.splitlines())) for answer in streamed]
    assert texts == wanted


def chunk_text(line: str) -> str:
    data = line.removeprefix("data: ")
    return str(json.loads(data)["choices"][0]["text"]) if data not in ("", "[DONE]") else ""


def test_too_many_are_refused_and_the_others_answered(small: Server, direct: Callable[..., str]) -> None:
    answers = asyncio.run(at_once(small.url, [body(prompt) for prompt in PROMPTS]))
    assert {answer.status_code for answer in answers} == {200, 503}
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        if answer.status_code == 200:
            assert answer.json()["choices"][0]["text"] == direct(prompt)
        else:
            assert int(answer.headers["retry-after"]) > 0
            assert "limit of 4" in answer.json()["error"]["message"]
    refused = sum(answer.status_code == 503 for answer in answers)
    assert figure(small, 'passkwh_refused_total{reason="queue_full"}') == refused
    assert httpx.post(f"{small.url}/v1/completions", json=body("x", n=5)).status_code == 503  # never all at once


def test_a_request_that_takes_too_long(small: Server) -> None:
    answer = httpx.post(f"{small.url}/v1/completions", json=LONG, timeout=60)
    assert (answer.status_code, "limit of 3 s" in answer.text) == (504, True)
    streamed = httpx.post(f"{small.url}/v1/completions", json={**LONG, "stream": True}, timeout=60)
    assert streamed.status_code == 200  # it had begun
    assert "limit of 3 s" in streamed.text.splitlines()[-2]
    assert "[DONE]" not in streamed.text


def test_a_client_that_leaves_frees_its_place(small: Server, direct: Callable[..., str]) -> None:
    host, port = small.url.removeprefix("http://").split(":")
    raw = httpx.Request("POST", f"{small.url}/v1/completions", json=LONG)
    gone = figure(small, 'passkwh_requests_total{path="/v1/completions",status="499"}')
    connections = []
    for _ in range(5):
        connection = socket.create_connection((host, int(port)))
        head = f"POST {raw.url.path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(raw.content)}\r\n\r\n"
        connection.sendall(head.encode() + raw.content)
        connections.append(connection)
    until(lambda: figure(small, "passkwh_queue_length") > 0)
    for connection in connections:
        connection.close()
    until(lambda: figure(small, 'passkwh_requests_total{path="/v1/completions",status="499"}') == gone + 5)
    answer = httpx.post(f"{small.url}/v1/completions", json=body(PROMPTS[3]), timeout=60)
    assert answer.json()["choices"][0]["text"] == direct(PROMPTS[3])


def test_figures_add_up(small: Server) -> None:
    names = ("passkwh_prompt_tokens_total", "passkwh_completion_tokens_total", "passkwh_batch_size_sum")
    before = [figure(small, name) for name in names]
    joules_before = figure(small, "passkwh_energy_joules_total")
    asked = [body(prompt) for prompt in PROMPTS[:4]]
    assert all(answer.status_code == 200 for answer in asyncio.run(at_once(small.url, asked)))
    tokens = (sum(map(len, PROMPTS[:4])), 4 * 12, 4)
    assert [figure(small, name) - was for name, was in zip(names, before, strict=True)] == list(tokens)
    until(lambda: figure(small, "passkwh_energy_joules_total") > joules_before)
