"""torchao: PyTorch's own quantization, applied while weights are loaded."""

from __future__ import annotations

import importlib.util
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

GROUP_SIZE = 128


@dataclass(frozen=True)
class TorchAo:
    """One of torchao's weight formats."""

    name: str
    summary: str
    kind: str
    """``int8``, ``int4`` or ``fp8``."""
    bits: int
    bits_per_weight: float
    capability: tuple[int, int] | None
    """NVIDIA compute capability that its kernels need; None for those that run on a CPU, too."""
    quantizes_while_loading: bool = True

    def missing(self) -> str | None:
        """The library's extra, where it is not installed."""
        if importlib.util.find_spec("torchao") is None:
            return f"{self.name} needs pip install 'passkwh[quant]'"
        return None

    def recognises(self, packed: Mapping[str, Any]) -> bool:
        """By method and the name of the configuration."""
        if packed.get("quant_method") != "torchao":
            return False
        text = str(packed.get("quant_type")).lower()
        return {"int8": "int8", "int4": "int4", "fp8": "float8"}[self.kind] in text and (
            self.kind != "int8" or ("int4" not in text and "float8" not in text)
        )

    def refusal(self, packed: Mapping[str, Any], device: str) -> str | None:
        """Its kernels want a GPU that has them."""
        if self.capability is None:
            return None
        import torch

        wanted = ".".join(map(str, self.capability))
        if not device.startswith("cuda"):
            return f"{self.name} has no kernel for {device}: it would take an NVIDIA GPU of compute capability {wanted}"
        actual = torch.cuda.get_device_capability(device)
        if actual < self.capability:
            return f"{self.name} needs compute capability {wanted}, and {device} has {'.'.join(map(str, actual))}"
        return None

    def load(self, folder: Path, how: Loading) -> Any:
        """The packed checkpoint as it is, or a dense one, packed on its way into memory."""
        if packed_as(ModelFiles(folder)).label != "none":
            return load_packed(folder, how)
        from transformers import TorchAoConfig

        return load_packed(folder, how, quantization_config=TorchAoConfig(self._config()))

    def _config(self) -> Any:
        from torchao import quantization as library

        if self.kind == "int8":
            return library.Int8WeightOnlyConfig()
        if self.kind == "fp8":
            return library.Float8DynamicActivationFloat8WeightConfig()
        # The tile-packed layout is that of PyTorch's own kernel; the default one needs another package.
        return library.Int4WeightOnlyConfig(group_size=GROUP_SIZE, int4_packing_format="tile_packed_to_4d")

    def describe(self, model: Any, folder: Path, device: str) -> dict[str, Option]:
        """Bits, group size, kernel and tool."""
        about: dict[str, Option] = {
            "method": "torchao",
            "bits": self.bits,
            "kernel": kernels(model),
            "tool": f"torchao {version('torchao')}",
        }
        if self.kind == "int4":
            about["group_size"] = GROUP_SIZE
        return about


INT8 = TorchAo("torchao-int8", "torchao, 8-bit weights, packed while loading", "int8", 8, 8.0, None)
INT4 = TorchAo("torchao-int4", "torchao, 4-bit weights, packed while loading", "int4", 4, 4.25, (8, 0))
FP8 = TorchAo(
    "torchao-fp8", "torchao, 8-bit floats, weights and activations, packed while loading", "fp8", 8, 8.0, (8, 9)
)
