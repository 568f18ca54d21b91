"""The real embedded model: our loop at full depth writes what generate does."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from passkwh.adapters.early_exit.decode import Ending, ExitDecoder
from passkwh.adapters.early_exit.families import model_parts
from passkwh.adapters.early_exit.heads import ExitHeads
from passkwh.adapters.early_exit.layout import default_layout
from passkwh.adapters.early_exit.rules.distribution import Confidence
from tests.early_exit.test_decode import generate


@pytest.mark.slow
def test_50_prompts_give_the_tokens_of_generate(smollm2_float32: tuple[Any, Any]) -> None:
    """In float32: 16-bit scores tie often, and which of two equals is taken is not said anywhere."""
    model, tokenizer = smollm2_float32
    lines = [f"def {name}(values, key={place}):\n    " for place, name in enumerate(dir(torch.Tensor)[-50:])]
    parts = model_parts(model)
    never = Confidence(1.1, default_layout(parts.depth))  # a rule that is asked at every exit and always continues
    decoder = ExitDecoder(parts, ExitHeads(parts), never, "deferred")
    model.generation_config.eos_token_id = None
    for start in range(0, 50, 10):
        batch = tokenizer(lines[start : start + 10], return_tensors="pt", padding=True, padding_side="left")
        tokens, exits = decoder.draw(batch.input_ids, batch.attention_mask, Ending(12, (), 0))
        assert torch.equal(tokens, generate(model, batch.input_ids, batch.attention_mask, 12, ends=None))
        assert exits == [[30] * 12] * 10


@pytest.fixture(scope="module")
def smollm2_float32() -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from passkwh import adapters
    from passkwh.errors import UsageError

    try:
        found = adapters.prepare(adapters.resolve("smollm2-135m-instruct"))
    except UsageError as error:
        pytest.skip(str(error))
    model = AutoModelForCausalLM.from_pretrained(found.path, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(found.path)
