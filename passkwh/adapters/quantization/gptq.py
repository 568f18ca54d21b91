"""GPTQ (Frantar et al., 2022), 4 and 8 bits."""

from __future__ import annotations

from passkwh.adapters.quantization.gptqmodel import GptqModelQuantization

INT4 = GptqModelQuantization("gptq-int4", "GPTQ, 4 bits", method="gptq", bits=4)
INT8 = GptqModelQuantization("gptq-int8", "GPTQ, 8 bits", method="gptq", bits=8)
