"""The clients people have get completions: openai's, huggingface_hub's, and what llm-vscode sends."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import huggingface_hub
import openai
import pytest
from huggingface_hub import InferenceClient

from passkwh.adapters.engines.base import Decoding, Model
from passkwh.prompts import TextPrompt
from tests.serve.conftest import HTTP, Server

PROMPT = "def area(radius):\n    return "


@pytest.fixture(scope="module")
def client(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


def test_openai_completion(client: openai.OpenAI, direct: Callable[..., str], model: Model) -> None:
    answer = client.completions.create(model="letters", prompt=PROMPT, temperature=0, max_tokens=12)
    wanted = model.generate([TextPrompt(PROMPT)], Decoding(12), [0])[0]
    assert answer.object == "text_completion"
    (choice,) = answer.choices
    assert (choice.text, choice.finish_reason) == (wanted.text, wanted.finish_reason)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == wanted.prompt_tokens
    assert answer.usage.completion_tokens == wanted.completion_tokens
    assert answer.usage.total_tokens == wanted.prompt_tokens + wanted.completion_tokens
    assert "energy" not in answer.usage.model_dump()  # not asked for


def test_openai_stream_is_the_same_text(client: openai.OpenAI, direct: Callable[..., str]) -> None:
    parts = list(
        client.completions.create(
            model="letters", prompt=PROMPT, temperature=0, max_tokens=30, stream=True,
            stream_options={"include_usage": True},
        )
    )  # fmt: skip
    texts = [part.choices[0].text for part in parts if part.choices and part.choices[0].text]
    assert len(texts) > 5  # it came in pieces
    assert "".join(texts) == direct(PROMPT, 30)
    reasons = [part.choices[0].finish_reason for part in parts if part.choices]
    assert (reasons[-1], set(reasons[:-1])) == ("length", {None})
    assert parts[-1].usage is not None
    assert parts[-1].usage.completion_tokens == 30


def test_openai_prompts_and_choices(client: openai.OpenAI, direct: Callable[..., str]) -> None:
    prompts = [PROMPT, "class Circle:"]
    greedy = client.completions.create(model="letters", prompt=prompts, temperature=0, n=2, max_tokens=9)
    assert [choice.index for choice in greedy.choices] == [0, 1, 2, 3]
    assert [choice.text for choice in greedy.choices] == [direct(prompt, 9) for prompt in prompts for _ in range(2)]
    assert greedy.usage is not None
    assert greedy.usage.prompt_tokens == sum(map(len, prompts))  # a character is a token

    def sampled(seed: int) -> list[str]:
        found = client.completions.create(model="letters", prompt=PROMPT, n=3, seed=seed, max_tokens=9)
        return [choice.text for choice in found.choices]

    assert sampled(1) == sampled(1) != sampled(2)
    assert len(set(sampled(1))) == 3


@pytest.mark.parametrize("stream", [False, True])
def test_openai_stop(client: openai.OpenAI, direct: Callable[..., str], stream: bool) -> None:
    whole = direct(PROMPT, 30)
    stop = whole[10:13]
    answer = client.completions.create(
        model="letters", prompt=PROMPT, temperature=0, max_tokens=30, stop=[stop, "never"], stream=stream
    )
    parts = list(answer) if stream else [answer]  # type: ignore[call-overload]
    assert "".join(part.choices[0].text for part in parts) == whole[: whole.index(stop)]
    assert parts[-1].choices[0].finish_reason == "stop"


def test_openai_chat(client: openai.OpenAI, direct: Callable[..., str]) -> None:
    wanted = direct(f"<user>{PROMPT}<assistant>")  # the model's template
    messages: Any = [{"role": "user", "content": PROMPT}]
    answer = client.chat.completions.create(model="letters", messages=messages, temperature=0, max_tokens=12)
    assert answer.choices[0].message.content == wanted != direct(PROMPT)
    parts = client.chat.completions.create(
        model="letters", messages=messages, temperature=0, max_tokens=12, stream=True
    )
    assert "".join(part.choices[0].delta.content or "" for part in parts) == wanted
    messages = [{"role": "system", "content": "Be brief."}, *messages]
    answer = client.chat.completions.create(model="letters", messages=messages, temperature=0, max_tokens=12)
    assert answer.choices[0].message.content == direct(f"<system>Be brief.<user>{PROMPT}<assistant>")


def test_a_completion_is_continued_whatever_it_looks_like(client: openai.OpenAI, direct: Callable[..., str]) -> None:
    for prompt in ('[{"role": "user", "content": "x"}]', f"<user>{PROMPT}", '{"messages": []}'):
        answer = client.completions.create(model="letters", prompt=prompt, temperature=0, max_tokens=12)
        assert answer.choices[0].text == direct(prompt)


def test_openai_models_and_errors(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["letters"]
    assert client.models.retrieve("letters").id == "letters"
    with pytest.raises(openai.NotFoundError, match="letters"):
        client.completions.create(model="gpt-3.5-turbo-instruct", prompt=PROMPT)
    with pytest.raises(openai.BadRequestError, match="logit_bias"):
        client.completions.create(model="letters", prompt=PROMPT, logit_bias={"5": 10})


def test_energy_of_an_answer(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model="letters", prompt=PROMPT, temperature=0, max_tokens=300, n=2, extra_body={"usage": True}
    )
    assert answer.usage is not None
    usage = answer.usage.model_dump()
    assert usage["energy"]["provenance"] == "simulated"
    assert usage["energy"]["net_j"] is None  # no idle baseline was taken
    assert "--idle-s 0" in usage["energy"]["reason"]
    assert usage["exit_layers"] is None
    assert 0 < usage["time"]["first_token_s"] < usage["time"]["generation_s"]
    # The simulated meter draws 100 W throughout; the sixteen rows were generated one after the other.
    assert usage["energy"]["gross_j"] == pytest.approx(100 * usage["time"]["generation_s"], rel=0.15)


def test_huggingface_hub(server: Server, direct: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)  # it would not even talk to this machine
    client = InferenceClient(base_url=server.url)
    assert client.text_generation(PROMPT, max_new_tokens=12) == direct(PROMPT)
    assert client.text_generation(PROMPT, max_new_tokens=12, return_full_text=True) == PROMPT + direct(PROMPT)
    whole = direct(PROMPT, 30)
    stop = whole[10:13]
    assert client.text_generation(PROMPT, max_new_tokens=30, stop=[stop]) == whole[: whole.index(stop)]
    assert client.text_generation(PROMPT, model=f"{server.url}/models/letters", max_new_tokens=12) == direct(PROMPT)


def llm_ls(backend: str, prompt: str, model: str, request_body: dict[str, Any]) -> dict[str, Any]:
    """The body that llm-ls, the language server of llm-vscode, makes of the setting ``llm.requestBody``."""
    body = dict(request_body)
    if backend in ("huggingface", "tgi"):
        body["inputs"] = prompt
        if isinstance(body.get("parameters"), dict):
            body["parameters"] = {**body["parameters"], "return_full_text": False}
        else:
            body["parameters"] = {"parameters": {"return_full_text": False}}  # one level too many, as it really does
    else:
        body.update(prompt=prompt, model=model, stream=False)
    return body


TEMPLATE = {"options": {"num_predict": 10, "temperature": 0.0, "top_p": 0.95}}
PARAMETERS = {"parameters": {"max_new_tokens": 10, "temperature": 0.0, "top_p": 0.95}}
REQUESTS = {
    "GREEN-CODE's settings": ("huggingface", "/api/generate", TEMPLATE, "generated_text"),
    "the same, path completed": ("huggingface", "/api/generate/models/", TEMPLATE, "generated_text"),
    "huggingface": ("huggingface", "/models/letters", PARAMETERS, "generated_text"),
    "tgi": ("tgi", "/generate", PARAMETERS, "generated_text"),
    "ollama": ("ollama", "/api/generate", {**TEMPLATE, "raw": True}, "response"),
    "openai": ("openai", "/v1/completions", {"max_tokens": 10, "temperature": 0, "top_p": 0.95}, "choices"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_llm_vscode(server: Server, direct: Callable[..., str], name: str) -> None:
    backend, path, request_body, key = REQUESTS[name]
    answer = HTTP.post(server.url + path, json=llm_ls(backend, PROMPT, "letters", request_body)).json()
    found = answer[key][0]["text"] if key == "choices" else answer[key]
    assert found == direct(PROMPT, 10)


def test_llm_vscode_asks_for_energy_in_its_settings(server: Server) -> None:
    asked = llm_ls("huggingface", PROMPT, "", {**TEMPLATE, "usage": True})
    usage = HTTP.post(f"{server.url}/api/generate", json=asked).json()["usage"]
    assert usage["completion_tokens"] == 10
    assert usage["energy"]["gross_j"] > 0


def test_ollama_streams_unless_told_otherwise(server: Server, direct: Callable[..., str]) -> None:
    asked = {"model": "letters:latest", "prompt": PROMPT, "options": {"num_predict": 30, "temperature": 0}, "raw": True}
    lines = [json.loads(line) for line in HTTP.post(f"{server.url}/api/generate", json=asked).text.splitlines()]
    assert len(lines) > 5
    assert "".join(line["response"] for line in lines) == direct(PROMPT, 30)
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    last = lines[-1]
    assert (last["done_reason"], last["eval_count"], last["prompt_eval_count"]) == ("length", 30, len(PROMPT))
    assert last["total_duration"] > last["eval_duration"] > 0
    templated = {**asked, "raw": False, "stream": False}  # Ollama's default: the prompt is a turn of a chat
    found = HTTP.post(f"{server.url}/api/generate", json=templated).json()["response"]
    assert found == direct(f"<user>{PROMPT}<assistant>", 30)
