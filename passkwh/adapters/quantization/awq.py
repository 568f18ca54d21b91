"""AWQ checkpoints, 4 bits, run by GPTQModel's kernels."""

from __future__ import annotations

from passkwh.adapters.quantization.gptq import GptqAdapter


class AwqAdapter(GptqAdapter):
    """An AWQ checkpoint, published or quantized here: GPTQModel reads the format and picks a kernel for it."""
