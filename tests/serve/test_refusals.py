"""What is wrong with a request is said in a line with a 4xx, whatever was sent, and the server goes on."""

from __future__ import annotations

import functools
import json
import socket
from collections.abc import Callable
from typing import Any, TypeVar

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passkwh.prompts import ChatPrompt, TextPrompt
from passkwh.serve.limits import Limits, Refused, Served
from passkwh.serve.openai_api import CompletionBody, completion
from passkwh.serve.request import foreign_fields, parse, read_json
from passkwh.serve.request_rows import prompt_as_read
from tests.serve.conftest import HTTP, Server, head

GOOD = {"model": "letters", "prompt": "x = 1", "max_tokens": 3, "temperature": 0}
COMPLETIONS, CHAT, GENERATE = "/v1/completions", "/v1/chat/completions", "/api/generate"


def deep(levels: int) -> Any:
    """Lists within each other."""
    return functools.reduce(lambda inner, _: [inner], range(levels), 0)


WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "misspelt field": (COMPLETIONS, {**GOOD, "temprature": 1}, "did you mean temperature"),
    "unknown field": (COMPLETIONS, {**GOOD, "qqq": 1}, "unknown field qqq"),
    "unknown option": (GENERATE, {"model": "letters", "prompt": "x", "options": {"num_perdict": 3}}, "num_predict"),
    "unknown parameter": (GENERATE, {"inputs": "x", "parameters": {"max_tokens": 3}}, "parameters.max_tokens"),
    "no model": (COMPLETIONS, {"prompt": "x"}, "model: Field required"),
    "no prompt": (COMPLETIONS, {"model": "letters"}, "prompt: Field required"),
    "empty prompt": (COMPLETIONS, {**GOOD, "prompt": ""}, "prompt"),
    "empty list of prompts": (COMPLETIONS, {**GOOD, "prompt": []}, "prompt: List should have at least 1"),
    "token ids": (COMPLETIONS, {**GOOD, "prompt": [1, 2]}, "token ids"),
    "half a character": (COMPLETIONS, {**GOOD, "prompt": "\ud800"}, "half a character"),
    "half a character in a name": (COMPLETIONS, {**GOOD, "\ud800": 1}, "half a character"),
    "half a character in an option": (GENERATE, {"inputs": "x", "options": {"\udfff": 1}}, "half a character"),
    "not a number": (COMPLETIONS, {**GOOD, "temperature": float("nan")}, "NaN is no number"),
    "beyond all numbers": (GENERATE, {"inputs": "x", "parameters": {"top_p": float("inf")}}, "Infinity is no number"),
    "control characters in a name": (COMPLETIONS, {**GOOD, "\x1b[31m\u202e": 1}, "unknown field \ufffd[31m\ufffd"),
    "as deep as can be": (COMPLETIONS, {**GOOD, "logit_bias": deep(63)}, "logit_bias"),
    "deeper": (COMPLETIONS, {**GOOD, "logit_bias": deep(64)}, "nested deeper than 64"),
    "more characters than tokens can have": (COMPLETIONS, {**GOOD, "prompt": " " * 500_000}, "500000 characters"),
    "prompt is a number": (COMPLETIONS, {**GOOD, "prompt": 3}, "prompt"),
    "temperature is text": (COMPLETIONS, {**GOOD, "temperature": "hot"}, "temperature"),
    "negative temperature": (COMPLETIONS, {**GOOD, "temperature": -1}, "temperature"),
    "top_p 0": (COMPLETIONS, {**GOOD, "top_p": 0}, "top_p"),
    "no tokens": (COMPLETIONS, {**GOOD, "max_tokens": 0}, "max_tokens"),
    "too many tokens": (COMPLETIONS, {**GOOD, "max_tokens": 10**9}, "limit of 1024"),
    "too many choices": (COMPLETIONS, {**GOOD, "n": 1000}, "n: "),
    "empty stop": (COMPLETIONS, {**GOOD, "stop": ""}, "stop"),
    "too many stops": (COMPLETIONS, {**GOOD, "stop": ["a"] * 99}, "at most 16"),
    "echo": (COMPLETIONS, {**GOOD, "echo": True}, "echo"),
    "logprobs 0": (COMPLETIONS, {**GOOD, "logprobs": 0}, "logprobs"),
    "suffix": (COMPLETIONS, {**GOOD, "suffix": "end"}, "suffix"),
    "threshold without a rule": (COMPLETIONS, {**GOOD, "RL_agent_thresh": 0.5}, "--exit"),
    "threshold above 1": (GENERATE, {"inputs": "x", "options": {"RL_agent_thresh": 1.5}}, "less than or equal to 1"),
    "rule without one": (GENERATE, {"inputs": "x", "options": {"exit": "fixed:2"}}, "--exit"),
    "both forms": (GENERATE, {"inputs": "x", "prompt": "y"}, "inputs and prompt"),
    "neither form": (GENERATE, {"model": "letters"}, "prompt: Field required"),
    "streamed inputs": (GENERATE, {"inputs": "x", "stream": True}, "/v1/completions"),
    "top_k": (GENERATE, {"model": "letters", "prompt": "x", "options": {"top_k": 40}}, "options.top_k"),
    "twice": (GENERATE, {"inputs": "x", "options": {"top_p": 0.5}, "parameters": {"top_p": 0.5}}, "top_p"),
    "a system's turn": (CHAT, {"model": "letters", "messages": [{"role": "system", "content": "x"}]}, "user"),
    "too long for the model": (COMPLETIONS, {**GOOD, "prompt": "x" * 5000}, "context of 4096"),
    "too long for the server": (COMPLETIONS, {**GOOD, "prompt": "x" * 9000}, "limit is 8192"),
}  # fmt: skip


def message_of(answer: httpx.Response) -> str:
    error = answer.json()["error"]
    return str(error["message"] if isinstance(error, dict) else error)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_requests(server: Server, name: str) -> None:
    path, body, expected = WRONG[name]
    answer = HTTP.post(server.url + path, content=json.dumps(body))
    assert answer.status_code == 400, answer.text
    assert expected in message_of(answer)
    assert len(message_of(answer).splitlines()) == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[1]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"model": NaN2}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"model": "letters", "model": "other"}',
        b'"\xed\xa0\x80"',
        b'{"model": NaN}',
        b'{"x": -Infinity}',
    ],
)
def test_bad_json(server: Server, raw: bytes) -> None:
    answer = HTTP.post(server.url + COMPLETIONS, content=raw)
    assert answer.status_code == 400
    assert "JSON" in message_of(answer)


def test_other_models_paths_and_methods(server: Server) -> None:
    assert HTTP.post(server.url + COMPLETIONS, json={**GOOD, "model": "other"}).status_code == 404
    assert HTTP.post(server.url + GENERATE, json={"model": "other", "prompt": "x"}).status_code == 404
    assert HTTP.post(f"{server.url}/models/other", json={"inputs": "x"}).status_code == 404
    assert HTTP.get(f"{server.url}/v1/models/other").status_code == 404
    assert HTTP.get(f"{server.url}/nothing").status_code == 404
    assert HTTP.get(server.url + COMPLETIONS).status_code == 405


@pytest.mark.parametrize("size", [2**20 + 1, 3 * 2**20])
@pytest.mark.parametrize("declared", [True, False])
def test_large_bodies(server: Server, size: int, declared: bool) -> None:
    body = json.dumps({**GOOD, "prompt": "x" * size}).encode()
    content = body if declared else (body[start : start + 65536] for start in range(0, len(body), 65536))
    answer = HTTP.post(server.url + COMPLETIONS, content=content)
    assert answer.status_code == 413
    assert "1048576" in message_of(answer)


def test_a_huge_body_is_refused_before_it_is_sent(server: Server) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(head(COMPLETIONS, 10**12))
        answer = b""
        while piece := connection.recv(65536):  # until the server closes
            answer += piece
    assert b" 413 " in answer.splitlines()[0]


def test_the_server_goes_on(server: Server) -> None:
    assert HTTP.post(server.url + COMPLETIONS, json=GOOD).status_code == 200
    text = HTTP.get(f"{server.url}/metrics").text
    assert 'passkwh_refused_total{reason="invalid"}' in text
    assert "Traceback" not in server.errors()


Wanted = TypeVar("Wanted")


def outcome(call: Callable[[], Wanted]) -> Wanted | Refused:
    try:
        return call()
    except Refused as refused:
        return refused


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
IGNORED, NEUTRAL = foreign_fields(CompletionBody.foreign)
FIELDS = st.sampled_from([*CompletionBody.model_fields, *NEUTRAL, *IGNORED, "other"])


@settings(max_examples=300)
@given(st.dictionaries(FIELDS, JSON, max_size=4))
def test_any_object_is_understood_or_refused(extra: dict[str, Any]) -> None:
    found = outcome(lambda: completion({**GOOD, **extra}, Served(("letters",), Limits())))
    if isinstance(found, Refused):
        assert found.status in (400, 404)
        assert found.message
    else:
        assert found.prompts
        assert 0 < found.decoding.max_new_tokens <= Limits().new_tokens


@given(st.binary(max_size=60))
def test_any_bytes_are_json_or_refused(raw: bytes) -> None:
    found = outcome(lambda: read_json(raw))
    assert isinstance(found, dict) or found.status == 400


def test_true_is_not_one() -> None:
    parse(CompletionBody, {**GOOD, "best_of": 1, "echo": False})
    with pytest.raises(Refused, match="best_of"):
        parse(CompletionBody, {**GOOD, "best_of": True})


def test_a_base_model_continues_the_users_text_and_has_no_place_for_a_system_prompt() -> None:
    chat = ChatPrompt("x = 1")
    assert prompt_as_read(chat, chat=True) == chat
    assert prompt_as_read(chat, chat=False) == TextPrompt("x = 1")
    with pytest.raises(Refused, match="no chat template"):
        prompt_as_read(ChatPrompt("x = 1", system="Be brief."), chat=False)
