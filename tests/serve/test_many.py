"""Many clients at once: every answer is the right one, what is too much is refused, and nothing grows without bound."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from passkwh.serve.limits import Limits
from tests.serve.conftest import LONG, Endpoint, Server, head, hosted, until

CLIENTS = 64
PROMPTS = [f"def f{number}(x):\n    return x * {number * number}" for number in range(CLIENTS)]


def body(prompt: str, **more: Any) -> dict[str, Any]:
    return {"model": "letters", "prompt": prompt, "temperature": 0, "max_tokens": 12, **more}


async def at_once(url: str, bodies: list[dict[str, Any]]) -> list[httpx.Response]:
    """Every body posted by a client of its own, all at once."""

    async def post(asked: dict[str, Any]) -> httpx.Response:
        async with httpx.AsyncClient(verify=False, timeout=120) as client:
            return await client.post(f"{url}/v1/completions", json=asked)

    return await asyncio.gather(*map(post, bodies))


@pytest.fixture(scope="module")
def small(letters: Path) -> Iterator[Endpoint]:
    """A server with room for little, which generates up to four completions together."""
    with hosted(letters, Limits(queue=4, batch_size=4)) as found:
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


def test_too_many_are_refused_and_the_others_answered(small: Endpoint, direct: Callable[..., str]) -> None:
    answers = asyncio.run(at_once(small.url, [body(prompt) for prompt in PROMPTS]))
    assert {answer.status_code for answer in answers} == {200, 503}
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        if answer.status_code == 200:
            assert answer.json()["choices"][0]["text"] == direct(prompt)
        else:
            assert int(answer.headers["retry-after"]) > 0
            assert "limit of 4" in answer.json()["error"]["message"]
    refused = sum(answer.status_code == 503 for answer in answers)
    assert small.figure('passkwh_refused_total{reason="queue_full"}') == refused
    assert small.complete(body("x", n=5)).status_code == 400  # never could be


def test_figures_add_up(small: Endpoint) -> None:
    names = ("passkwh_prompt_tokens_total", "passkwh_completion_tokens_total", "passkwh_batch_size_sum")
    before = [small.figure(name) for name in names]
    joules_before = small.figure("passkwh_energy_joules_total")
    asked = [body(prompt) for prompt in PROMPTS[:4]]
    assert all(answer.status_code == 200 for answer in asyncio.run(at_once(small.url, asked)))
    tokens = (sum(map(len, PROMPTS[:4])), 4 * 12, 4)
    assert [small.figure(name) - was for name, was in zip(names, before, strict=True)] == list(tokens)
    until(lambda: small.figure("passkwh_energy_joules_total") > joules_before)


def test_a_request_that_takes_too_long(letters: Path) -> None:
    with hosted(letters, Limits(timeout_s=0.5, new_tokens=4000)) as hasty:
        long = {**LONG, "n": 1, "max_tokens": 4000}
        answer = hasty.complete(long)
        assert (answer.status_code, "limit of 0.5 s" in answer.text) == (504, True)
        streamed = hasty.complete({**long, "stream": True})
        assert "limit of 0.5 s" in streamed.text.splitlines()[-2 if streamed.status_code == 200 else 0]
        assert "[DONE]" not in streamed.text
        assert hasty.figure('passkwh_refused_total{reason="timeout"}') == 2


def test_a_client_that_leaves_frees_its_place(server: Server, direct: Callable[..., str]) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    raw = json.dumps(LONG).encode()
    name = 'passkwh_requests_total{path="/v1/completions",status="499"}'
    gone = server.figure(name)
    connections = []
    for _ in range(5):
        connection = socket.create_connection((host, int(port)))
        connection.sendall(head("/v1/completions", len(raw)) + raw)
        connections.append(connection)
    until(lambda: server.figure("passkwh_queue_length") > 0)
    for connection in connections:
        connection.close()
    until(lambda: server.figure(name) == gone + 5)
    answer = server.complete(body(PROMPTS[3]))  # at once, not after 20 long completions
    assert answer.json()["choices"][0]["text"] == direct(PROMPTS[3])
    assert server.figure("passkwh_queue_length") == 0
