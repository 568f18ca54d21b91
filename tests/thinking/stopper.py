"""A tiny chat model that writes little but what stop strings are made of: random weights, a vocabulary of pieces."""

from __future__ import annotations

import sys
from pathlib import Path

LETTERS = [chr(code) for code in range(32, 127)] + ["\n"]
PIECES = [
    "```", "```\n", "\n```", "\n\n", "\nprint", "(", "print(", "\nif ", "__name__", "def ", "main(", "\ndef ", "</",
    "s>",
    "</s>", "return x", "x = 1", "\tx", "\n    ", "import os", "task_func", "!", "ab", "c ",
    "\nclass ",
]  # fmt: skip
SPECIALS = ["<|end|>", "<|endoftext|>", "<|user|>", "<|assistant|>"]
"""The first ends a sequence; the second is a stop string of BigCodeBench's that ends none by itself."""


def write(folder: Path, seed: int = 8) -> Path:
    """The checkpoint: a Llama of two layers, whose LM head leaves single letters out."""
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    core = Tokenizer(models.BPE({letter: index for index, letter in enumerate(LETTERS)}, []))
    core.decoder = decoders.Fuse()
    core.add_special_tokens(SPECIALS)
    core.add_tokens([AddedToken(piece, normalized=False) for piece in PIECES])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>", pad_token="<|end|>")
    tokenizer.chat_template = "{% for m in messages %}<|user|>{{ m.content }}{% endfor %}<|assistant|>"
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=4096, initializer_range=0.3, bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.lm_head.weight[: len(LETTERS)] = 0.0
        for special in SPECIALS[2:]:
            model.lm_head.weight[tokenizer.convert_tokens_to_ids(special)] = 0.0
    model.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    write(Path(sys.argv[1]))
