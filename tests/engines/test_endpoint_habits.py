"""Servers as they behave: each habit of a real one in a real server over HTTP, and what must come of it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from passkwh import adapters
from passkwh.adapters.engines import endpoint_client
from passkwh.adapters.engines.base import Decoding
from passkwh.adapters.engines.endpoint import ENGINE
from passkwh.errors import UsageError
from passkwh.harness.plan import plan
from passkwh.harness.runner import run
from passkwh.prompts import ChatPrompt, TextPrompt
from passkwh.records import Spec

USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}
Event = dict[str, Any] | str


def text(content: str, finish: str | None = None) -> Event:
    return {"choices": [{"delta": {"content": content}, "text": content, "finish_reason": finish}]}


END: list[Event] = [text("", "stop"), {"choices": [], "usage": USAGE}, "[DONE]"]


class Habits(BaseHTTPRequestHandler):
    """Answers as its server's ``habit`` says; keeps what it was asked in ``asked``."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.whole(200, {"data": [{"id": "m"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append(body)
            number = len(self.server.asked)
        getattr(self, self.server.habit)(body, number)

    def whole(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def stream(self, *events: Event, line_end: str = "\n", chunked: bool = False, cut: bool = False) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Connection", "close")))
        self.end_headers()
        for event in events:
            data = event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)
            content = f"data: {data}{line_end}{line_end}".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content) if chunked else content)
            self.wfile.flush()
        if chunked and not cut:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def refuse(self, message: str, code: str = "unsupported_value") -> None:
        self.whole(400, {"error": {"message": message, "code": code}})

    # ------------------------------------------------------------ habits

    def plain(self, body: dict[str, Any], number: int) -> None:
        self.stream(text("abc"), *END)

    def carriage_returns(self, body: dict[str, Any], number: int) -> None:
        self.stream(text("abc"), *END, line_end="\r\n")

    def cut_always(self, body: dict[str, Any], number: int) -> None:
        self.stream(text("abc"))

    def cut_in_a_chunk(self, body: dict[str, Any], number: int) -> None:
        self.stream(text("abc"), chunked=True, cut=True)

    def cut_now_and_then(self, body: dict[str, Any], number: int) -> None:
        if number % 2 == 0:
            self.stream(text("ab"))
        else:
            self.stream(text("abc"), *END)

    def bad_gateway(self, body: dict[str, Any], number: int) -> None:
        if number % 3 == 2:
            self.whole(502, {"error": "bad gateway"})
        else:
            self.stream(text("abc"), *END)

    def gone(self, body: dict[str, Any], number: int) -> None:
        if number > 1:
            self.whole(504, {"error": "gateway timeout"})
        else:
            self.stream(text("abc"), *END)

    def no_max_tokens(self, body: dict[str, Any], number: int) -> None:
        if "max_tokens" in body:
            self.refuse("Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead.")
        else:
            self.stream(text("abc"), *END)

    def no_temperature(self, body: dict[str, Any], number: int) -> None:
        if body.get("temperature", 1) != 1:
            self.refuse("Unsupported value: 'temperature' does not support 0 with this model.")
        else:
            self.stream(text("abc"), *END)

    def neither(self, body: dict[str, Any], number: int) -> None:
        (self.no_max_tokens if "max_tokens" in body else self.no_temperature)(body, number)

    def no_seed(self, body: dict[str, Any], number: int) -> None:
        if "seed" in body:
            self.refuse("Unrecognized request argument supplied: seed", "unknown_parameter")
        else:
            self.stream(text("abc"), *END)

    def line_separator(self, body: dict[str, Any], number: int) -> None:
        self.stream(text("a\u2028b"), *END)

    def next_line(self, body: dict[str, Any], number: int) -> None:
        self.stream(text("a\x85b"), text("\x0bc\x0c\x1c"), *END)

    def slow_first(self, body: dict[str, Any], number: int) -> None:
        time.sleep(0.6)
        self.stream(text("abc"), *END)

    def without_done(self, body: dict[str, Any], number: int) -> None:
        self.stream(text("abc", "stop"), {"choices": [], "usage": USAGE})

    def refuses_the_model(self, body: dict[str, Any], number: int) -> None:
        self.refuse("The model does not support this at temperature or otherwise; ask another", "model")


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Habits)
        self.habit, self.lock = "plain", threading.Lock()
        self.asked: list[dict[str, Any]] = []

    @property
    def name(self) -> str:
        return f"openai-chat:http://127.0.0.1:{self.server_port}/v1#m"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(endpoint_client, "FIRST_WAIT_S", 0.01)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def model(server: Server, habit: str, options: dict[str, Any] | None = None) -> Any:
    server.habit = habit
    return adapters.load(adapters.resolve(server.name), options=options or {})


def answer(server: Server, habit: str) -> Any:
    return model(server, habit).generate([ChatPrompt("hi")], Decoding(20), [0])[0]


@pytest.mark.parametrize("habit", ["plain", "carriage_returns", "without_done"])
def test_a_whole_answer_is_taken_with_its_counts(server: Server, habit: str) -> None:
    completion = answer(server, habit)
    assert (completion.text, completion.finish_reason, completion.retries) == ("abc", "stop", 0)
    assert (completion.prompt_tokens, completion.completion_tokens, completion.cached_tokens) == (9, 2, 4)


@pytest.mark.parametrize(("habit", "expected"), [("line_separator", "a\u2028b"), ("next_line", "a\x85b\x0bc\x0c\x1c")])
def test_separators_of_unicode_are_text_and_no_end_of_line(server: Server, habit: str, expected: str) -> None:
    assert answer(server, habit).text == expected


@pytest.mark.parametrize("habit", ["cut_always", "cut_in_a_chunk"])
def test_an_answer_that_is_always_cut_is_named_as_that(server: Server, habit: str) -> None:
    with pytest.raises(UsageError, match=r"ended the connection in the middle of an answer.*, 7 times: .*--resume"):
        answer(server, habit)
    assert len(server.asked) == 7


def test_an_answer_that_was_cut_is_asked_for_again(server: Server) -> None:
    completion = answer(server, "cut_now_and_then")
    assert (completion.text, completion.retries) == ("abc", 1)


def test_a_gateway_that_does_not_reach_its_server_is_tried_again_with_a_limit(server: Server) -> None:
    connected = model(server, "bad_gateway")
    made = [connected.generate([ChatPrompt("hi")], Decoding(20), [0])[0] for _ in range(3)]
    assert {completion.text for completion in made} == {"abc"}
    assert {completion.retries for completion in made} == {0, 1}
    server.habit = "gone"
    with pytest.raises(UsageError, match=r"does not reach its server and stays so \(504: gateway timeout\)"):
        connected.generate([ChatPrompt("hi")], Decoding(20), [0])


def test_the_name_of_the_length_limit_is_learned_once(server: Server) -> None:
    connected = model(server, "no_max_tokens")
    first = len(server.asked)
    assert connected.generate([ChatPrompt("hi")] * 2, Decoding(20), [0, 1])[1].text == "abc"
    assert len(server.asked) == first + 2  # nothing was asked twice any more
    assert server.asked[-1]["max_completion_tokens"] == 20
    assert connected.info.engine_info == {"max_tokens": "sent as max_completion_tokens"}


def test_a_temperature_that_is_not_taken_is_left_out_and_recorded(server: Server) -> None:
    connected = model(server, "no_temperature")
    assert "'temperature' does not support 0" in connected.info.engine_info["temperature"]
    asked = len(server.asked)
    connected.generate([ChatPrompt("hi")], Decoding(20), [0])
    assert len(server.asked) == asked + 1
    assert "temperature" not in server.asked[-1]


def test_several_fields_may_be_learned_of_one_server(server: Server) -> None:
    connected = model(server, "neither")
    assert set(connected.info.engine_info) == {"temperature", "max_tokens"}
    assert connected.generate([ChatPrompt("hi")], Decoding(20), [0])[0].text == "abc"


def test_a_seed_that_is_not_taken_is_left_out_when_it_is_first_sent(server: Server) -> None:
    connected = model(server, "no_seed")
    assert connected.generate([ChatPrompt("hi")], Decoding(20, temperature=0.5), [7])[0].text == "abc"
    assert "seed" in connected.info.engine_info


def test_a_refusal_of_something_else_is_not_learned_from_for_ever(server: Server) -> None:
    with pytest.raises(UsageError, match="refused a request"):
        answer(server, "refuses_the_model")
    assert len(server.asked) < 8


def test_the_first_token_is_when_it_came_and_not_before(server: Server) -> None:
    connected = model(server, "plain")
    server.habit = "slow_first"
    begin_ns = time.monotonic_ns()
    completion = connected.generate([ChatPrompt("hi")], Decoding(20), [0])[0]
    assert completion.first_token_ns is not None
    assert completion.first_token_ns - begin_ns >= 0.6e9  # never before the server has sent it


def test_options_are_fields_of_every_request(server: Server) -> None:
    options = {"top_k": 5, "reasoning": '{"effort": "low"}', "name": "x"}
    connected = model(server, "plain", options)
    connected.generate([TextPrompt("x")], Decoding(3), [0])
    for body in server.asked:
        assert (body["top_k"], body["reasoning"], body["name"]) == (5, {"effort": "low"}, "x")


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"max_tokens": 3}, "the run sets that field"), ({"x": "{oops"}, "not JSON"), ({"stream": False}, "the run sets")],
)
def test_an_option_that_is_none_is_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        ENGINE.check_options(options)


def test_a_run_names_what_its_server_did(server: Server, tmp_path: Path) -> None:
    data = tmp_path / "tasks.jsonl"
    data.write_text(
        "".join(
            json.dumps(
                {"task_id": f"T/{i}", "prompt": f"def f{i}(x):\n", "canonical_solution": "    return x\n",
                 "entry_point": f"f{i}", "test": "def check(f):\n    assert f(1) == 1\n"}
            ) + "\n"
            for i in range(3)
        )
    )  # fmt: skip
    server.habit = "no_temperature"
    planned = plan(
        Spec(
            model=server.name, benchmark="humaneval", benchmark_options={"data": str(data)}, max_new_tokens=8,
            meter="simulated:steady", idle_s=0.1,
        ),
        tmp_path / "runs",
    )  # fmt: skip

    class Worsens:
        def update(self, status: Any) -> None:
            if status.stage == "generating":
                server.habit = "cut_now_and_then"

    folder = run(planned, progress=Worsens())
    summary = folder.summary()
    again = sum(sample.retries for sample in folder.samples())
    assert again > 0
    warnings = "\n".join(summary.warnings)
    assert f"the server was asked again {again} time(s)" in warnings
    assert "does not take temperature 0, so it was left out: decoding is not greedy" in warnings
    assert "44% of the prompts' tokens were not computed" in warnings
    assert "temperature" in folder.manifest().model.engine_info
