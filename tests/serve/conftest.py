"""A real server in a process of its own, and what the model it serves answers when asked directly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from passkwh import adapters
from passkwh.adapters import early_exit
from passkwh.adapters.engines.base import Decoding, Model
from passkwh.prompts import TextPrompt
from passkwh.serve.access import Access
from passkwh.serve.connections import Patience
from passkwh.serve.limits import Limits, Served
from passkwh.serve.server import Server as HttpServer
from passkwh.serve.server import bind, url
from passkwh.serve.service import Service
from passkwh.serve.text_form import TextForm

# Certificates would be read for every client, for nothing.
HTTP = httpx.Client(verify=False, timeout=120, headers={"Content-Type": "application/json"})
LONG = {"model": "letters", "prompt": "x = 1", "temperature": 0, "max_tokens": 1000, "n": 4}
"""Work for some seconds: the small model never ends by itself."""


def head(path: str, length: int, method: str = "POST", **fields: str) -> bytes:
    """The head of a request, as sent; ``fields`` are named with underscores and may replace ours."""
    ours = {"Host": "localhost", "Content-Type": "application/json", "Content-Length": str(length)}
    lines = {**ours, **{name.replace("_", "-"): value for name, value in fields.items()}}
    return (f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items()) + "\r\n").encode()


def until(wanted: Callable[[], bool]) -> None:
    """Wait for something that comes true soon."""
    end_s = time.monotonic() + 120
    while not wanted():
        assert time.monotonic() < end_s
        time.sleep(0.02)


@dataclass
class Endpoint:
    """A served model."""

    url: str

    def complete(self, body: dict[str, Any]) -> httpx.Response:
        """``POST /v1/completions``."""
        return HTTP.post(f"{self.url}/v1/completions", json=body)

    def figure(self, name: str) -> float:
        """One of its metrics, 0 before it first counts."""
        lines = HTTP.get(f"{self.url}/metrics").text.splitlines()
        return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name)), 0.0)


@dataclass
class Server(Endpoint):
    """A running ``bench serve``."""

    process: subprocess.Popen[str]
    log: Path

    def errors(self) -> str:
        """What it has written to stderr."""
        return self.log.read_text(encoding="utf-8")


@contextmanager
def serving(model: Path, log: Path, *options: object, idle_s: float = 0) -> Iterator[Server]:
    """``bench serve`` on a free port; ended with Ctrl-C, which must be a clean end."""
    command = [
        sys.executable, "-m", "passkwh.cli.main", "serve", "--model", model, "--port", 0, "--idle-s", idle_s, "--json",
        *options,
    ]  # fmt: skip
    with log.open("w") as errors:
        process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=errors, text=True, env={**os.environ},
        )  # fmt: skip
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, log.read_text()
        yield Server(json.loads(line)["url"], process, log)
        assert process.poll() is None, f"the server died: {log.read_text()}"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    errors_seen = log.read_text()
    assert "Traceback" not in errors_seen, errors_seen


LETTERS = [chr(code) for code in range(32, 127)] + ["\n"]
SPECIALS = ["<end>", "<pad>", "<user>", "<assistant>"]
CHAT = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}"
    "{% if m['role'] == 'assistant' %}<end>{% endif %}{% endfor %}<assistant>"
)


@pytest.fixture(scope="session")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder of a random Llama that reads and writes one printable character a token, with a template."""
    import torch
    from tokenizers import Tokenizer, decoders, models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("models") / "letters"
    core = Tokenizer(models.BPE({letter: index for index, letter in enumerate(LETTERS)}, []))
    core.decoder = decoders.Fuse()
    core.add_special_tokens(SPECIALS)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>", pad_token="<pad>")
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(folder)
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=len(LETTERS) + len(SPECIALS), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=4096, initializer_range=0.3,
        eos_token_id=len(LETTERS), pad_token_id=len(LETTERS) + 1, bos_token_id=None,
    )  # fmt: skip
    random = LlamaForCausalLM(config)
    with torch.no_grad():
        random.lm_head.weight[len(LETTERS) :] = 0  # it never ends by itself and writes letters only
    random.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def server(letters: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The small model, served with default limits. It is stopped while requests run and wait."""
    answers: list[httpx.Response] = []
    with serving(letters, tmp_path_factory.mktemp("serve") / "log", "--meter", "simulated:steady") as running:
        yield running
        busy = [threading.Thread(target=lambda: answers.append(running.complete(LONG))) for _ in range(3)]
        for thread in busy:
            thread.start()
        until(lambda: running.figure("passkwh_queue_length") > 0)
    for thread in busy:
        thread.join()
    assert [(answer.status_code, "stopping" in answer.text) for answer in answers] == [(503, True)] * 3


@contextmanager
def hosted(
    letters: Path,
    limits: Limits,
    *,
    exit: str | None = None,
    always_usage: bool = False,
    key: str | None = None,
    text_form: TextForm | None = None,
    patience: Patience | None = None,
) -> Iterator[Endpoint]:
    """The small model, served from this process by a server with limits of its own."""
    rule = early_exit.parse(exit)
    loaded = adapters.load(adapters.prepare(adapters.resolve(str(letters)), exit=rule), exit=rule)
    served = Served(("letters",), limits)
    service = Service(
        loaded, served, rule=rule, meter="simulated:steady", idle_s=0, always_usage=always_usage, text_form=text_form
    )
    bound = bind("127.0.0.1", 0)
    ready = threading.Event()
    server = HttpServer(service, ready.set, Access(key=key), patience)
    thread = threading.Thread(target=lambda: server.run(sockets=[bound]))
    thread.start()
    try:
        assert ready.wait(60)
        yield Endpoint(url(bound))
    finally:
        server.should_exit = True
        thread.join()
        service.stop()
        bound.close()


@pytest.fixture(scope="session")
def model(letters: Path) -> Iterator[Model]:
    """The small model, in this process."""
    loaded = adapters.load(adapters.prepare(adapters.resolve(str(letters))), "cpu")
    yield loaded
    loaded.close()


@pytest.fixture(scope="session")
def direct(model: Model) -> Callable[..., str]:
    """What the small model says to a prompt on its own, greedily."""

    def answer(prompt: str, tokens: int = 12, stop: tuple[str, ...] = ()) -> str:
        return model.generate([TextPrompt(prompt)], Decoding(tokens, stop=stop), [0])[0].text

    return answer
