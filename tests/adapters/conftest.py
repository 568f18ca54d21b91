"""Real models small enough to make here: random weights, but every part of a checkpoint that a large one has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.fake_hub import FakeHub, fake_hub

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
LETTERS = [chr(code) for code in range(32, 127)] + ["\n"]
SPECIALS = ["<|end|>", "<|pad|>", "<|begin|>", "<|user|>", "<|assistant|>"]
END, PAD, BEGIN = (len(LETTERS) + place for place in range(3))


def tokenizer(chat: bool = False, adds_begin: bool = False) -> Any:
    """A tokenizer of one printable character a token, so that lengths in tokens and in characters can be compared."""
    from tokenizers import Tokenizer, decoders, models, processors
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE({letter: index for index, letter in enumerate(LETTERS)}, []))
    core.decoder = decoders.Fuse()
    core.add_special_tokens(SPECIALS)
    if adds_begin:
        core.post_processor = processors.TemplateProcessing(
            single="<|begin|> $A", special_tokens=[("<|begin|>", BEGIN)]
        )
    made = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<|end|>", pad_token="<|pad|>", bos_token="<|begin|>"
    )
    if chat:
        made.chat_template = CHAT_TEMPLATE
    return made


def save(folder: Path, family: str, chat: bool = False, adds_begin: bool = False, **more: Any) -> Path:
    """A checkpoint of random weights in ``folder``: family llama, qwen2 or opt, float32, two layers."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, OPTConfig, OPTForCausalLM, Qwen2Config, Qwen2ForCausalLM

    shared = {
        "vocab_size": len(LETTERS + SPECIALS), "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "max_position_embeddings": 512, "eos_token_id": END, "pad_token_id": PAD, "bos_token_id": BEGIN,
        "initializer_range": 0.3,  # wide enough that greedy decoding does not repeat one token
    }  # fmt: skip
    if family == "opt":
        kind, config = OPTForCausalLM, OPTConfig(**(shared | {"ffn_dim": 128, "word_embed_proj_dim": 64} | more))
    else:
        rope = {"intermediate_size": 128, "num_key_value_heads": 2}
        families = {"llama": (LlamaForCausalLM, LlamaConfig), "qwen2": (Qwen2ForCausalLM, Qwen2Config)}
        kind, make = families[family]
        config = make(**(shared | rope | more))
    torch.manual_seed(7)
    if family == "opt":
        config.init_std = 0.3
    kind(config).save_pretrained(folder)
    tokenizer(chat, adds_begin).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model whose tokenizer begins every sequence with a special token."""
    return save(tmp_path_factory.mktemp("models") / "tiny-llama", "llama", adds_begin=True)


@pytest.fixture(scope="session")
def tiny_chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An instruct model: the same, with a chat template."""
    return save(tmp_path_factory.mktemp("models") / "tiny-llama-chat", "llama", chat=True, adds_begin=True)


@pytest.fixture(scope="session")
def tiny_opt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with learned positions, where a wrong position is seen at once."""
    return save(tmp_path_factory.mktemp("models") / "tiny-opt", "opt")


@pytest.fixture(scope="session")
def tiny_qwen2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model that comes with a chat template, as Qwen's do."""
    return save(tmp_path_factory.mktemp("models") / "tiny-qwen2-base", "qwen2", chat=True)


@pytest.fixture(scope="session")
def smollm2() -> Iterator[Any]:
    """The embedded model, converted once into the user's own cache, loaded once for all tests."""
    from passkwh import adapters
    from passkwh.errors import UsageError

    try:
        found = adapters.resolve("smollm2-135m-instruct")
    except UsageError as error:
        pytest.skip(str(error))
    adapter = adapters.load(adapters.prepare(found), "cpu")
    yield adapter
    adapter.close()


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own."""
    monkeypatch.setenv("PASSKWH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def no_engine_environments(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine on which nobody has built an environment for vLLM or SGLang, which run what others refuse."""
    monkeypatch.delenv("PASSKWH_VLLM_PYTHON", raising=False)
    monkeypatch.delenv("PASSKWH_SGLANG_PYTHON", raising=False)


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache and one of our own, with the hub itself out of bounds."""
    from huggingface_hub import constants

    from passkwh.adapters import hub

    folder = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("PASSKWH_CACHE", str(tmp_path / "cache"))
    hub._look.cache_clear()
    return folder


@pytest.fixture
def hub(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub on this machine, empty, and the caches of a user who has never used it."""
    from huggingface_hub import constants

    with fake_hub() as server:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + template)
        yield server
