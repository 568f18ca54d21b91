"""GGUF file types: how llama.cpp packs weights. They are read from files, by an engine that runs those.

A mixture (``_s``, ``_m``, ``_l``) has most weights in the type that it is named after and some in wider ones;
``bits_per_weight`` is that of the type, from ggml's own block sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from passkwh.adapters.quantization.base import Loading, Recipe
from passkwh.errors import UsageError


@dataclass(frozen=True)
class GgufQuantization:
    """One file type. Its files are made by llama.cpp's own programs, not here."""

    name: str
    bits: int
    bits_per_weight: float

    @property
    def summary(self) -> str:
        """One line for ``bench list``."""
        return f"llama.cpp's {self.name.removeprefix('gguf-').upper()}, {self.bits} bits, of a GGUF file"

    def missing(self) -> str:
        """No installed library makes one: xllamacpp has llama.cpp's server, and not ``llama_model_quantize``."""
        return (
            f"{self.name} is read from GGUF files and not made here: name one (--model FILE.gguf or "
            "OWNER/NAME:FILE.gguf), or make it with llama.cpp's convert_hf_to_gguf.py and llama-quantize"
        )

    def recognises(self, packed: Mapping[str, Any]) -> bool:
        """Never: a ``config.json`` does not stand beside a GGUF file."""
        return False

    def load(self, folder: Path, how: Loading) -> Any:
        """Not by transformers."""
        raise UsageError(self.missing())

    def describe(self, model: Any, folder: Path, device: str) -> dict[str, Any]:
        """What there is to say stands in the engine's own record."""
        return {}

    def make(self, source: Path, target: Path) -> Recipe:
        """Not here."""
        raise UsageError(self.missing())


# Bits, and bytes of a block of so many weights, as in ggml-common.h.
Q2_K = GgufQuantization("gguf-q2_k", 2, 84 * 8 / 256)
Q3_K_S = GgufQuantization("gguf-q3_k_s", 3, 110 * 8 / 256)
Q3_K_M = GgufQuantization("gguf-q3_k_m", 3, 110 * 8 / 256)
Q3_K_L = GgufQuantization("gguf-q3_k_l", 3, 110 * 8 / 256)
Q4_0 = GgufQuantization("gguf-q4_0", 4, 18 * 8 / 32)
Q4_1 = GgufQuantization("gguf-q4_1", 4, 20 * 8 / 32)
Q4_K_S = GgufQuantization("gguf-q4_k_s", 4, 144 * 8 / 256)
Q4_K_M = GgufQuantization("gguf-q4_k_m", 4, 144 * 8 / 256)
IQ4_XS = GgufQuantization("gguf-iq4_xs", 4, 136 * 8 / 256)
Q5_0 = GgufQuantization("gguf-q5_0", 5, 22 * 8 / 32)
Q5_1 = GgufQuantization("gguf-q5_1", 5, 24 * 8 / 32)
Q5_K_S = GgufQuantization("gguf-q5_k_s", 5, 176 * 8 / 256)
Q5_K_M = GgufQuantization("gguf-q5_k_m", 5, 176 * 8 / 256)
Q6_K = GgufQuantization("gguf-q6_k", 6, 210 * 8 / 256)
Q8_0 = GgufQuantization("gguf-q8_0", 8, 34 * 8 / 32)
