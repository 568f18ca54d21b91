"""Filling in the middle: a gap between two texts, asked in the tokens that a model's tokenizer has for that.

Models that were trained to fill gaps read the text before the gap, the text after it, and then write what is missing;
each family has tokens of its own to say which is which. They are read from the tokenizer's files.
"""

from __future__ import annotations

from dataclasses import dataclass

from passkwh.adapters.checkpoint import Checkpoint
from passkwh.adapters.model_files import ModelFiles
from passkwh.errors import UsageError
from passkwh.prompts import InfillPrompt, TextPrompt


@dataclass(frozen=True)
class InfillTokens:
    """What a model's training put before the text before the gap, before the text after it, and before the answer."""

    prefix: str
    suffix: str
    middle: str

    def render(self, prompt: InfillPrompt) -> TextPrompt:
        """The gap as a text that the model continues with what is missing."""
        return TextPrompt(f"{self.prefix}{prompt.prefix}{self.suffix}{prompt.suffix}{self.middle}")


FAMILIES = (
    InfillTokens("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen2.5-Coder, CodeGemma, Granite 4
    InfillTokens("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder, Granite Code
    InfillTokens("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),  # SantaCoder
    InfillTokens("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # DeepSeek-Coder
    InfillTokens("▁<PRE>", "▁<SUF>", "▁<MID>"),  # Code Llama
)
"""By the names of their tokens: all three have to be there."""


def infill_tokens(checkpoint: Checkpoint) -> InfillTokens:
    """The tokens with which a model is asked to fill a gap.

    Raises:
        UsageError: its tokenizer has none, or its tokenizer is not here to be asked.
    """
    if checkpoint.file is not None or checkpoint.files is None:
        where = "a GGUF file" if checkpoint.file is not None else "a server"
        raise UsageError(
            f"{checkpoint.name} is {where}, of which the tokens for filling in the middle are not read: name a "
            "checkpoint in transformers' format"
        )
    known = ModelFiles(checkpoint.files).special_texts
    for tokens in FAMILIES:
        if {tokens.prefix, tokens.suffix, tokens.middle} <= known:
            return tokens
    raise UsageError(
        f"{checkpoint.name} cannot be asked to fill in the middle: its tokenizer has no tokens for that "
        f"({', '.join(tokens.prefix for tokens in FAMILIES)}, ...): choose a code model that was trained for it"
    )
