"""A real server in a process of its own, and what the model it serves answers when asked directly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from passkwh import adapters
from passkwh.adapters.base import Adapter, Decoding


@dataclass
class Server:
    """A running ``bench serve``."""

    url: str
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
    said = log.read_text()
    assert "Traceback" not in said, said


LETTERS = [chr(code) for code in range(32, 127)] + ["\n"]
SPECIALS = ["<end>", "<pad>", "<user>", "<assistant>"]
CHAT = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}<assistant>"


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
    """The small model, served with default limits."""
    with serving(letters, tmp_path_factory.mktemp("serve") / "log", "--meter", "simulated:steady") as found:
        yield found


@pytest.fixture(scope="session")
def model(letters: Path) -> Iterator[Adapter]:
    """The small model, in this process."""
    adapter = adapters.load(adapters.prepare(adapters.resolve(str(letters))), "cpu")
    yield adapter
    adapter.close()


@pytest.fixture(scope="session")
def direct(model: Adapter) -> Callable[..., str]:
    """What the small model says to a prompt on its own, greedily."""

    def answer(prompt: str, tokens: int = 12, stop: tuple[str, ...] = ()) -> str:
        return model.generate([prompt], Decoding(tokens, stop=stop), [0])[0].text

    return answer
