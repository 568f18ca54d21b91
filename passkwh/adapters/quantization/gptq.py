"""GPTQ checkpoints, 4 and 8 bits, run by GPTQModel's kernels."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

from passkwh.adapters import checkpoint as folders
from passkwh.adapters.engines.transformers import TransformersAdapter
from passkwh.adapters.quantization import make as quantize
from passkwh.adapters.quantization.gptqmodel import library
from passkwh.records import Option


class GptqAdapter(TransformersAdapter):
    """A GPTQ checkpoint, published or quantized here; the kernel that computes with it stands in ``info``."""

    def _load_model(self) -> Any:
        gptqmodel = library()
        loaded = gptqmodel.GPTQModel.load(str(self._folder), device=str(self._device), backend=self._backend(gptqmodel))
        return loaded.model

    def _backend(self, gptqmodel: Any) -> Any:
        """Which kernel to ask for: the library's own choice, except for 8 bits on a CPU.

        There its choice unpacks every weight for every token (about 1 token/s with SmolLM2 on 2 cores). Its int8 kernel
        is faster than dense weights are, but has one scale a channel: weights are rounded to it once, at loading.
        """
        if self._rounded_again():
            return gptqmodel.BACKEND.GPTQ_TORCH_INT8
        return gptqmodel.BACKEND.AUTO

    def _rounded_again(self) -> bool:
        on_cpu = self._device.type == "cpu" and sys.platform in ("linux", "win32")
        return on_cpu and self._checkpoint.quant == "gptq-int8"

    def _quantization(self) -> dict[str, Option]:
        gptqmodel = library()
        packed = folders.config(self._folder)["quantization_config"]
        kernels = Counter(
            type(part).__name__ for part in self._model.modules() if hasattr(part, "qweight") or hasattr(part, "bits")
        )
        found: dict[str, Option] = {
            "method": str(packed.get("quant_method") or packed.get("method")),
            "bits": int(packed["bits"]),
            "group_size": int(packed["group_size"]),
            "kernel": "+".join(sorted(kernels)) or "unknown",
            "tool": f"gptqmodel {gptqmodel.__version__}",
        }
        if self._rounded_again():
            found["kernel_weights"] = "int8 per channel, rounded again from groups"
        made = quantize.read_manifest(self._folder)
        if made:
            found["calibration_sha256"] = made.calibration_sha256
            found["quantized_with"] = made.tool
        return found
