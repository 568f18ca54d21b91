"""AWQ (Lin et al., 2023), 4 bits."""

from __future__ import annotations

from passkwh.adapters.quantization.gptqmodel import GptqModelQuantization

AWQ = GptqModelQuantization("awq", "AWQ, 4 bits", method="awq", bits=4)
