"""Attention of one new token a row, through the place that transformers has for other implementations.

Its own function for torch's scaled dot-product attention handles every case there is and finds out for each call, in
every layer, which it is. In decoding it is nearly always the same one; all others go to that function.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

NAME = "passkwh_decode"


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Queries [rows, heads, tokens, width], keys and values [rows, shared heads, ...] -> [rows, tokens, heads, width].

    With one token, query heads that share a key-value head stand side by side as if they were tokens of it. In 16 bits
    on a CPU that would round otherwise than the usual function, which is called there too.
    """
    rows, heads, tokens, width = query.shape
    if tokens != 1 or rounds_by_order(query) or (attention_mask is not None and attention_mask.shape[1] != 1):
        result: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **options
        )
        return result
    shared = query.reshape(rows, key.shape[1], -1, width)
    out = torch.nn.functional.scaled_dot_product_attention(shared, key, value, attn_mask=attention_mask, scale=scaling)
    return out.reshape(rows, 1, heads, width), None


def rounds_by_order(numbers: torch.Tensor) -> bool:
    """A sum over these in another order may be another number in what is kept of it, and the token another one.

    In 16 bits on a CPU one token in a hundred is another one when only the order of sums changes.
    """
    return numbers.device.type == "cpu" and numbers.dtype in (torch.bfloat16, torch.float16)


AttentionInterface.register(NAME, attend)


@contextmanager
def decoding(config: Any) -> Iterator[None]:
    """Within the block, the model with this configuration attends with ``attend``."""
    usual = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = usual
