"""GPTQ (Frantar et al., 2022), 2, 3, 4 and 8 bits."""

from __future__ import annotations

from passkwh.adapters.quantization.gptqmodel import GptqModelQuantization

INT2 = GptqModelQuantization("gptq-int2", "GPTQ, 2 bits", method="gptq", bits=2)
INT3 = GptqModelQuantization("gptq-int3", "GPTQ, 3 bits", method="gptq", bits=3)
INT4 = GptqModelQuantization("gptq-int4", "GPTQ, 4 bits", method="gptq", bits=4)
INT8 = GptqModelQuantization("gptq-int8", "GPTQ, 8 bits", method="gptq", bits=8)
