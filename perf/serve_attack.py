"""`bench serve` beside connections that hold on: is every honest answer right, and how much later does it come?

    python perf/serve_attack.py [--model smollm2-135m-instruct] [--connections 1000] [--seconds 60] [--clients 8]
                                [--turns 3]

The server, the attackers and the honest clients are processes of their own on this machine, all with one address. Half
of the connections are silent, a fifth drips the head of a request, a fifth its body, and a tenth asks and never reads;
each that is ended comes again after a second. Honest clients ask one after the other, greedily, without and during the
attack, by turns, so that what else the machine does falls on both; every answer is compared with the first one to its
prompt. Prints one JSON line last: ``slowest_ratio`` is the slowest answer during the attack by the slowest without it;
descriptors, memory and CPU share are the server's.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import resource
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from multiprocessing.synchronize import Event as StopEvent
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil

KINDS = ("silent",) * 5 + ("head",) * 2 + ("body",) * 2 + ("unread",)
HEAD = (
    b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n"
)
UNREAD = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 25
AGAIN_S, DRIP_S = 1.0, 0.5


async def _hold(host: str, port: int, kind: str, stop: StopEvent, ended: Counter[str]) -> None:
    """One connection after another that holds on until the server ends it."""
    loop = asyncio.get_running_loop()
    while not stop.is_set():
        connection = socket.socket()
        connection.setblocking(False)
        if kind == "unread":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with contextlib.closing(connection), contextlib.suppress(OSError):
            await loop.sock_connect(connection, (host, port))
            await _use(loop, connection, kind, stop)
        ended[kind] += 1
        await asyncio.sleep(AGAIN_S)


async def _use(loop: asyncio.AbstractEventLoop, connection: socket.socket, kind: str, stop: StopEvent) -> None:
    if kind == "unread":
        await loop.sock_sendall(connection, UNREAD)
        while not stop.is_set():  # whether it was ended shows without reading: an error stands at the socket
            if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                return
            await asyncio.sleep(DRIP_S)
        return
    begin = {"silent": b"", "head": HEAD, "body": HEAD + b"\r\n"}[kind]
    await loop.sock_sendall(connection, begin)
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRIP_S):
                if not await loop.sock_recv(connection, 4096):
                    return
        if kind != "silent":
            await loop.sock_sendall(connection, b"x")


def attack(url: str, connections: int, stop: StopEvent, results: Any) -> None:
    """All attackers, in this process."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    place, ended = urlsplit(url), Counter[str]()

    async def all_of_them() -> None:
        kinds = [KINDS[number % len(KINDS)] for number in range(connections)]
        await asyncio.gather(*(_hold(str(place.hostname), int(place.port or 0), kind, stop, ended) for kind in kinds))

    asyncio.run(all_of_them())
    results.put(dict(ended))


async def ask(url: str, clients: int, seconds: float, tokens: int) -> list[tuple[str, int, str, float]]:
    """Prompt, status, text and seconds of every honest answer."""
    answers = []
    end_s = time.monotonic() + seconds

    async def client(number: int) -> None:
        prompt = f"def f{number}(x):\n    return"
        body = {"model": MODEL, "prompt": prompt, "max_tokens": tokens, "temperature": 0}
        async with httpx.AsyncClient(timeout=300) as http:
            while time.monotonic() < end_s:
                start_s = time.monotonic()
                answer = await http.post(f"{url}/v1/completions", json=body)
                text = answer.json()["choices"][0]["text"] if answer.status_code == 200 else answer.text
                answers.append((prompt, answer.status_code, text, time.monotonic() - start_s))

    await asyncio.gather(*map(client, range(clients)))
    return answers


MODEL = "smollm2-135m-instruct"


def main() -> None:
    global MODEL
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=4)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    command = [sys.executable, "-m", "passkwh.cli.main", "serve", "--model", options.model, "--port", "0"]
    command += ["--idle-s", "0", "--meter", "simulated:steady", "--timeout-s", "600", "--json"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        ready = json.loads(server.stdout.readline())
        MODEL, url = ready["model"], ready["url"]
        process = psutil.Process(server.pid)

        def state() -> dict[str, float]:
            return {"descriptors": process.num_fds(), "rss_mib": process.memory_info().rss / 2**20}

        def phase(seconds: float) -> list[tuple[str, int, str, float]]:
            return asyncio.run(ask(url, options.clients, seconds, options.tokens))

        phase(5)  # what is made once, is now
        before_state, during_state = state(), {}
        phases: dict[str, list[tuple[str, int, str, float]]] = {"quiet": [], "attack": []}
        ended, cpu_share = Counter[str](), dict.fromkeys(phases, 0.0)
        context = multiprocessing.get_context("spawn")
        length_s = options.seconds / options.turns

        def measured(name: str) -> None:
            cpu_s, start_s = sum(process.cpu_times()[:2]), time.monotonic()
            phases[name] += phase(length_s)
            share = (sum(process.cpu_times()[:2]) - cpu_s) / (time.monotonic() - start_s)
            cpu_share[name] += share / options.turns

        for _ in range(options.turns):
            measured("quiet")
            stop, results = context.Event(), context.Queue()
            attackers = context.Process(target=attack, args=(url, options.connections, stop, results))
            attackers.start()
            time.sleep(5)
            measured("attack")
            during_state = state()
            stop.set()
            ended.update(results.get(timeout=120))
            attackers.join()
            time.sleep(12)  # those that are left have had their time then
        after_state = state()
    finally:
        server.terminate()
        server.wait(60)
    first = {prompt: text for prompt, status, text, _ in phases["quiet"] if status == 200}
    seconds = {name: sorted(answer[3] for answer in answers) for name, answers in phases.items()}
    result = {
        "connections": options.connections,
        "turns": options.turns,
        "ended_by_the_server": ended,
        "honest_answers": {name: len(answers) for name, answers in phases.items()},
        "statuses": {name: dict(Counter(status for _, status, *_ in answers)) for name, answers in phases.items()},
        "wrong": sum(
            status == 200 and text != first[prompt]
            for answers in phases.values()
            for prompt, status, text, _ in answers
        ),
        "median_s": {name: statistics.median(times) for name, times in seconds.items()},
        "slowest_s": {name: times[-1] for name, times in seconds.items()},
        "median_ratio": statistics.median(seconds["attack"]) / statistics.median(seconds["quiet"]),
        "slowest_ratio": seconds["attack"][-1] / seconds["quiet"][-1],
        "server": {"before": before_state, "during": during_state, "after": after_state},
        "server_cpu_share": cpu_share,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
