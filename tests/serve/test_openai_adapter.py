"""The adapter in the other direction: our own server through the metered runner, and servers that have their faults."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from passkwh import adapters
from passkwh.adapters.engines.base import Decoding, Model
from passkwh.adapters.engines.endpoint import parse, place
from passkwh.cli import main as program
from passkwh.errors import UsageError
from passkwh.harness.meter.visibility import visibility_notes, visible_channels
from passkwh.harness.runs.folder import RunFolder
from passkwh.prompts import Request, TextPrompt
from passkwh.records import ChannelInfo, MeterInfo
from tests.conftest import Bench, last_json
from tests.serve.conftest import Server

PROMPTS = [TextPrompt(f"def f{number}(x):\n    return x + {number}") for number in range(8)]
X, Y = TextPrompt("x"), TextPrompt("y")


@contextmanager
def loaded(name: str) -> Iterator[Model]:
    adapter = adapters.load(adapters.prepare(adapters.resolve(name)))
    try:
        yield adapter
    finally:
        adapter.close()


def test_a_run_is_what_the_direct_adapter_gives(
    bench: Bench, server: Server, letters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    arguments = [
        "run", "--model", f"openai:{server.url}/v1#letters", "--model", letters, "--benchmark", "py150", "--option",
        "tokens=words", "--option", "max_context=40", "--limit", 4, "--max-new-tokens", 20, "--idle-s", 0.3,
        "--meter", "simulated:steady", "--out", tmp_path / "runs", "--json",
    ]  # fmt: skip
    served, direct = last_json(bench(*arguments))["runs"]
    assert (served["adapter"], direct["adapter"]) == ("openai", "instruct")
    assert served["complete"]
    assert served["metrics"] == direct["metrics"]
    one, other = (RunFolder.open(Path(run["run_dir"])) for run in (served, direct))
    pairs = list(zip(one.samples(), other.samples(), strict=True))
    assert len(pairs) == 4
    for a, b in pairs:
        assert (a.text, a.scores, a.finish_reason) == (b.text, b.scores, b.finish_reason)
        assert (a.prompt_tokens, a.completion_tokens) == (b.prompt_tokens, b.completion_tokens)
        assert a.text
        assert 0 < (a.ttft_s or 0) < a.latency_s
    assert one.manifest().model.parameters is None
    assert one.manifest().model.place == "machine"
    assert served["gross_energy_j"] > 0  # the simulated meter sees everything
    assert any("letters" in path.read_text() for path in one.path.glob("*.json"))
    assert not any(b"sk-very-secret" in path.read_bytes() for path in one.path.iterdir())


def test_what_does_not_see_the_server_does_not_count(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def bench(*arguments: object) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments), "--json"])
        with pytest.raises(SystemExit) as stop:
            program.main()
        assert not stop.value.code
        found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
        return found

    summary = bench(
        "run", "--model", f"openai:{server.url}/v1", "--benchmark", "py150", "--limit", 2, "--option", "max_context=40",
        "--idle-s", 0.3, "--meter", "estimate", "--out", tmp_path / "runs", "--batch-size", 2,
    )  # fmt: skip
    assert summary["gross_energy_j"] is None
    assert summary["pass_at_kwh"] is None
    assert "no channel of --meter estimate sees the model" in summary["energy_reason"]
    assert any("cpu:estimate sees only this run's own processes" in warning for warning in summary["warnings"])
    channel = next(channel for channel in summary["channels"] if channel["channel"] == "cpu:estimate")
    assert not any(channel["counted"] for channel in summary["channels"])
    assert channel["generation"]["gross_j"] > 0  # recorded, and there to be looked at
    samples = RunFolder.open(Path(summary["run_dir"])).samples()
    assert [sample.ttft_s for sample in samples] == [None, None]  # of several at once there is no one first token
    assert bench("report", summary["run_dir"], "--out", tmp_path / "report.html")["runs"]


def test_answers_are_those_of_the_model(server: Server, model: Model) -> None:
    with loaded(f"openai:{server.url}/v1") as remote:
        for decoding in (Decoding(12), Decoding(30, stop=("q", "Z")), Decoding(12, temperature=0.8, top_p=0.9)):
            seeds = list(range(len(PROMPTS)))
            found = remote.generate(PROMPTS, decoding, seeds)
            wanted = [
                model.generate([prompt], decoding, [seed])[0] for prompt, seed in zip(PROMPTS, seeds, strict=True)
            ]
            assert [c.text for c in found] == [c.text for c in wanted]
            assert [c.finish_reason for c in found] == [c.finish_reason for c in wanted]
            assert [c.completion_tokens for c in found] == [c.completion_tokens for c in wanted]


def test_chat(server: Server, model: Model) -> None:
    requests = [
        Request(text="def f():", instruction='Write "f"\nin Python.'),
        Request(text="def f():", instruction="", raw=True),
    ]
    prompts = [request.prompt(chat=True) for request in requests]
    with loaded(f"openai-chat:{server.url}/v1#letters") as remote:
        assert remote.info.chat
        found = remote.generate(prompts, Decoding(12), [0, 0])
    wanted = [model.generate([prompt], Decoding(12), [0])[0] for prompt in prompts]
    assert [c.text for c in found] == [c.text for c in wanted]
    assert [c.prompt_tokens for c in found] == [c.prompt_tokens for c in wanted]


def test_the_key_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    with scripted() as (url, headers):
        with loaded(f"openai:{url}#m"):
            pass
        assert {sent["Authorization"] for sent in headers} == {"Bearer sk-very-secret"}


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("openai:", "http://HOST:PORT/v1"),
        ("openai:gpt-4", "http://HOST:PORT/v1"),
        ("openai:ftp://host/v1#m", "http://HOST:PORT/v1"),
        ("openai:http://host:99999/v1#m", "Port out of range"),
        ("openai:http://host/v1?key=1#m", "http://HOST:PORT/v1"),
        ("openai:http://me:secret@host/v1#m", "OPENAI_API_KEY"),
    ],
)
def test_names_that_are_none(name: str, expected: str) -> None:
    with pytest.raises(UsageError, match=expected) as error:
        adapters.resolve(name)
    assert "secret" not in str(error.value)


def test_names() -> None:
    endpoint = parse("openai-chat:https://host:8000/v1/#org/model")
    assert (endpoint.adapter, endpoint.url, endpoint.model) == ("openai-chat", "https://host:8000/v1", "org/model")
    assert endpoint.host == "host:8000"


def test_places() -> None:
    assert [place(f"http://{host}:8000/v1") for host in ("127.0.0.1", "[::1]", "localhost")] == ["machine"] * 3
    assert place(f"http://{socket.gethostname()}/v1") in ("machine", "elsewhere")
    assert place("http://192.0.2.7/v1") == "elsewhere"  # an address that is reserved for documentation


def channel(scope: str) -> ChannelInfo:
    return ChannelInfo.model_validate(
        {"name": scope, "provenance": "measured", "source": "s", "quantity": "energy_j", "scope": scope}
    )


@pytest.mark.parametrize(
    ("where", "counted", "words"),
    [
        ("process", {"processes", "machine", "external"}, []),
        ("machine", {"machine", "external"}, ["processes sees only", "machine counts all"]),
        ("elsewhere", {"external"}, ["processes sees only", "machine sees only"]),
    ],
)
def test_which_channels_count(model: Model, where: str, counted: set[str], words: list[str]) -> None:
    info = model.info.model_copy(update={"place": where, "device": "server:gpu-box:8000"})
    channels = visible_channels([channel(scope) for scope in ("processes", "machine", "external")], info)
    assert {found.name for found in channels if found.counted} == counted
    said = list(visibility_notes(MeterInfo(name="auto", interval_s=0.02, channels=channels), info))
    assert [line.startswith(word) for line, word in zip(said, words, strict=True)] == [True] * len(words)
    assert all("gpu-box:8000" in line for line in said)


# ---------------------------------------------------------------- servers with faults


def chunks(*pieces: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(piece).encode() + b"\n\n" for piece in pieces) + b"data: [DONE]\n\n"


USAGE = {"prompt_tokens": 3, "completion_tokens": 1}
WHOLE = {"choices": [{"index": 0, "text": "y", "finish_reason": "length"}], "usage": USAGE}
STREAM = chunks({"choices": [{"index": 0, "text": "y", "finish_reason": "length"}]}, {"choices": [], "usage": USAGE})


@contextmanager
def scripted(
    answer: Callable[[int, dict[str, Any]], tuple[int, dict[str, str], bytes]] | None = None,
    models: tuple[int, Any] = (200, {"data": [{"id": "m"}]}),
) -> Iterator[tuple[str, list[Any]]]:
    """A server whose every answer is scripted: (number of the request, its body) -> (status, headers, body)."""
    headers: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            headers.append(self.headers)
            self._send(models[0], {}, json.dumps(models[1]).encode())

        def do_POST(self) -> None:
            headers.append(self.headers)
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            count = sum(1 for _ in posts)
            posts.append(body)
            self._send(*(answer or (lambda *_: (200, {"Content-Type": "text/event-stream"}, STREAM)))(count, body))

        def _send(self, status: int, more: dict[str, str], data: bytes) -> None:
            self.send_response(status)
            for key, value in more.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    posts: list[dict[str, Any]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", headers
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


EVENTS, JSON = {"Content-Type": "text/event-stream"}, {"Content-Type": "application/json"}


def test_nobody_answers() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(UsageError, match=f"no server answers at http://127.0.0.1:{port}/v1 .*start it"):
            adapters.resolve(f"openai:http://127.0.0.1:{port}/v1#m")


def test_another_model_and_none_chosen() -> None:
    def refuse(count: int, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        return 404, JSON, b'{"error": {"message": "no such model"}}'

    with scripted(refuse, models=(200, {"data": [{"id": "alpha"}, {"id": "beta"}]})) as (url, _):
        with pytest.raises(UsageError, match="did you mean alpha"):
            adapters.resolve(f"openai:{url}#alpa")
        with pytest.raises(UsageError, match="alpha, beta: say which"):
            adapters.resolve(f"openai:{url}")
        with pytest.raises(UsageError, match="--quant gptq-int4"):
            adapters.resolve(f"openai:{url}#alpha", "gptq-int4")


def test_a_key_that_is_wrong_is_not_taken_for_a_model_that_is_missing() -> None:
    def refuse(count: int, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        return 401, JSON, b'{"error": {"message": "who are you"}}'

    with (
        scripted(refuse, models=(200, {"data": [{"id": "alpha"}]})) as (url, _),
        pytest.raises(UsageError, match=r"another key \(401: who are you\): put it into OPENAI_API_KEY"),
    ):
        adapters.resolve(f"openai:{url}#beta")


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        ((401, {"error": {"message": "no key"}}), "OPENAI_API_KEY"),
        ((200, {"hello": "world"}), "does not answer as an OpenAI-compatible server"),
        ((429, {"error": "full\nand more"}), "429: full and more"),
    ],
)
def test_lists_of_models_that_are_none(models: tuple[int, Any], expected: str) -> None:
    with scripted(models=models) as (url, _), pytest.raises(UsageError, match=expected) as error:
        adapters.resolve(f"openai:{url}#m")
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("models", [(404, {}), (500, {"error": "broken"}), (200, {"data": [{"id": "another"}]})])
def test_a_server_that_answers_for_a_model_it_does_not_list_has_it(models: tuple[int, Any]) -> None:
    with scripted(models=models) as (url, _), loaded(f"openai:{url}#m") as remote:
        assert remote.generate([X], Decoding(1), [0])[0].text == "y"


def test_a_busy_server_is_asked_again() -> None:
    def answer(count: int, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        return (503, {"Retry-After": "0"}, b"{}") if count % 3 else (200, EVENTS, STREAM)

    with scripted(answer) as (url, headers), loaded(f"openai:{url}#m") as remote:
        completions = remote.generate([X], Decoding(1), [0])
        assert (completions[0].text, completions[0].first_token_ns is not None) == ("y", True)
        # The list, the probe, whether stop strings are taken and the answer, both after two refusals.
        assert len(headers) == 1 + 1 + 3 + 3


def test_a_server_that_stays_busy() -> None:
    with (
        scripted(lambda count, body: (429, {"Retry-After": "0"}, b'{"error": "full"}')) as (url, _),
        pytest.raises(UsageError, match=r"busy and stays so \(429: full\)"),
        loaded(f"openai:{url}#m"),
    ):
        pass


def test_a_server_that_cannot_stream() -> None:
    def answer(count: int, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        if body.get("stream"):
            return 400, JSON, b'{"error": {"message": "stream_options is not known"}}'
        return 200, JSON, json.dumps(WHOLE).encode()

    with scripted(answer) as (url, _), loaded(f"openai:{url}#m") as remote:
        (completion,) = remote.generate([X], Decoding(1), [0])
        assert (completion.text, completion.first_token_ns) == ("y", None)


def test_a_server_that_counts_no_tokens() -> None:
    def answer(count: int, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        return 200, JSON, json.dumps({**WHOLE, "usage": None}).encode()

    with (
        scripted(answer) as (url, _),
        pytest.raises(UsageError, match="does not count tokens"),
        loaded(f"openai:{url}#m"),
    ):
        pass


TOO_MANY = [("completion_tokens", 1_000_000), ("completion_tokens", 51)]
NO_COUNTS = [
    (field, value)
    for field in ("prompt_tokens", "completion_tokens")
    for value in (-1, -1e30, 1e30, 10**30, 2.5, float("nan"), float("inf"), "12", True, None, [1])
]


@pytest.mark.parametrize("streams", [True, False], ids=["stream", "whole"])
def test_counts_that_cannot_be_are_refused(streams: bool) -> None:
    usage: dict[str, Any] = {**USAGE}

    def answer(count: int, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        content = {**WHOLE, "usage": usage}
        return (200, EVENTS, chunks(content)) if streams else (200, JSON, json.dumps(content).encode())

    with scripted(answer) as (url, _), loaded(f"openai:{url}#m") as remote:
        for field, value in TOO_MANY + NO_COUNTS:
            usage.update({**USAGE, field: value})
            with pytest.raises(UsageError) as error:
                remote.generate([X], Decoding(50), [0])
            too_many = f"counts {value} generated tokens where at most 50 were asked for"
            assert (too_many if (field, value) in TOO_MANY else "does not count tokens") in str(error.value)
            assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("status", "headers", "body", "expected"),
    [
        (400, JSON, b'{"error": {"message": "too long"}}', "400: too long"),
        (200, EVENTS, chunks({"error": {"message": "out of memory"}}), "out of memory"),
        (200, EVENTS, b"data: {half\n\n", "does not answer as"),
        (200, EVENTS, chunks({"choices": [{"text": "y"}]}), "does not count tokens"),
        (502, JSON, b"<html>Bad gateway</html>", "502: <html>Bad gateway</html>"),
    ],
)
def test_a_server_that_fails_later(status: int, headers: dict[str, str], body: bytes, expected: str) -> None:
    def answer(count: int, asked: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        return (status, headers, body) if count > 1 else (200, EVENTS, STREAM)

    with (
        scripted(answer) as (url, _),
        loaded(f"openai:{url}#m") as remote,
        pytest.raises(UsageError, match=expected) as error,
    ):
        remote.generate([X, Y], Decoding(1), [0, 0])
    assert len(str(error.value).splitlines()) == 1
