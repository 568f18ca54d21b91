"""A real checkpoint that thinks: hand-set weights by which each token has one successor (or, sampled, two)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

LETTERS = [chr(code) for code in range(32, 127)] + ["\n"]
SPECIALS = ["<|end|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>"]
THOUGHTS = [f"hm{number} " for number in range(8)]
ANSWER = [
    "```python\n",
    "import math\n",
    "def task_func(x):\n",
    "    return math.sqrt(x)\n",
    "```\n",
    "Hope ",
    "it ",
    "helps.",
]
"""A program, the end of its block, and words that nobody needs."""
PROGRAM = "".join(ANSWER[1:4])
TURNS = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}<|assistant|>"
SWITCHED = TURNS + "{% if enable_thinking is defined and not enable_thinking %}<think>\n</think>{% endif %}"
OPENS = TURNS + "{{ '<think>\n' }}"
"""As DeepSeek-R1's: only the end marker is in the output."""

Model = Callable[..., Path]


def write(
    folder: Path,
    template: str = SWITCHED,
    markers: tuple[str, ...] = ("<think>", "</think>"),
    special: bool = False,
    chain: Sequence[str] | None = None,
    branches: dict[str, str] | None = None,
    context: int = 4096,
) -> Path:
    """A Llama whose layers add nothing, so that the LM head turns each token into its successor.

    After the assistant's header it writes ``chain``: by default eight tokens of thought between its markers, then
    ``ANSWER``; where the prompt ends with a letter or newline it goes on with the answer. ``branches`` gives tokens a
    second successor, as likely as the first.
    """
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    chain = [markers[0], *THOUGHTS, markers[-1], *ANSWER] if chain is None else chain
    core = Tokenizer(models.BPE({letter: index for index, letter in enumerate(LETTERS)}, []))
    core.decoder = decoders.Fuse()
    core.add_special_tokens(SPECIALS)
    words = dict.fromkeys([*chain, *ANSWER])
    core.add_tokens([AddedToken(text, special=special and text in markers, normalized=False) for text in words])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>", pad_token="<|pad|>")
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    size = len(tokenizer)
    after = dict.fromkeys(LETTERS, ANSWER[0]) | dict(zip(["<|assistant|>", *chain], [*chain, "<|end|>"], strict=True))
    if template == OPENS:
        after["\n"] = chain[1]
    config = LlamaConfig(
        vocab_size=size, hidden_size=size + size % 2, intermediate_size=8, num_hidden_layers=2, num_attention_heads=1,
        max_position_embeddings=context, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None, tie_word_embeddings=False,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.fill_(1.0 if "norm" in name else 0.0)
        model.model.embed_tokens.weight.copy_(torch.eye(size, config.hidden_size))
        for successors in (after, branches or {}):
            for text, successor in successors.items():
                one, other = (tokenizer.convert_tokens_to_ids(token) for token in (text, successor))
                model.lm_head.weight[other, one] = 1.0
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a switch for thinking."""
    return write(tmp_path_factory.mktemp("models") / "tiny-thinker")


@pytest.fixture
def make_thinker(tmp_path: Path) -> Model:
    """Another one; see ``write``."""

    def make(name: str = "thinker", **settings: Any) -> Path:
        return write(tmp_path / name, **settings)

    return make
