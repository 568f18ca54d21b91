"""bitsandbytes: weights packed while they are loaded, or loaded packed, on GPUs and CPUs.

NF4 is the data type of QLoRA (Dettmers et al., 2023); int8 is LLM.int8() (Dettmers et al., 2022).
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from passkwh.adapters.model_files import ModelFiles
from passkwh.adapters.quantization.base import Loading
from passkwh.adapters.quantization.loaded import kernels, load_packed
from passkwh.adapters.quantization.recognise import packed_as
from passkwh.records import Option


@dataclass(frozen=True)
class BitsAndBytes:
    """One data type of bitsandbytes."""

    name: str
    summary: str
    kind: str
    """``nf4``, ``fp4`` or ``int8``."""
    bits: int
    bits_per_weight: float
    quantizes_while_loading: bool = True

    def missing(self) -> str | None:
        """The library's extra, where it is not installed."""
        if importlib.util.find_spec("bitsandbytes") is None:
            return f"{self.name} needs pip install 'passkwh[quant]'"
        return None

    def recognises(self, packed: Mapping[str, Any]) -> bool:
        """By method, width and data type; fp4 is the library's default where a file does not say."""
        if packed.get("quant_method") != "bitsandbytes":
            return False
        kind = str(packed.get("bnb_4bit_quant_type") or "fp4") if packed.get("load_in_4bit") else "int8"
        return kind == self.kind

    def load(self, folder: Path, how: Loading) -> Any:
        """The packed checkpoint as it is, or a dense one, packed on its way into memory."""
        import torch
        from transformers import BitsAndBytesConfig

        from passkwh.adapters import device as devices

        files = ModelFiles(folder)
        if packed_as(files).label != "none":
            return load_packed(folder, how)
        if self.kind == "int8":
            # For every product it says on the terminal that activations are rounded, which is what LLM.int8() is.
            logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
            return load_packed(folder, how, quantization_config=BitsAndBytesConfig(load_in_8bit=True))
        dtype = getattr(torch, devices.dtype_name(files.text_config, how.device.partition(":")[0]))
        config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=self.kind, bnb_4bit_compute_dtype=dtype)
        return load_packed(folder, how, quantization_config=config)

    def describe(self, model: Any, folder: Path, device: str) -> dict[str, Option]:
        """Data type, bits, what the products are computed in, kernel and tool."""
        config = model.config.quantization_config
        about: dict[str, Option] = {
            "method": "bitsandbytes",
            "bits": self.bits,
            "kernel": kernels(model),
            "tool": f"bitsandbytes {version('bitsandbytes')}",
        }
        if self.kind != "int8":
            about |= {
                "group_size": 64,
                "double_quant": bool(config.bnb_4bit_use_double_quant),
                "compute_dtype": str(config.bnb_4bit_compute_dtype).removeprefix("torch."),
            }
        return about


NF4 = BitsAndBytes("bnb-nf4", "bitsandbytes, 4-bit normal floats, packed while loading", "nf4", 4, 4.5)
FP4 = BitsAndBytes("bnb-fp4", "bitsandbytes, 4-bit floats, packed while loading", "fp4", 4, 4.5)
INT8 = BitsAndBytes("bnb-int8", "bitsandbytes LLM.int8(), packed while loading", "int8", 8, 8.0)
