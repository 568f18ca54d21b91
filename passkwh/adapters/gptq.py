"""GPTQ checkpoints, 4 and 8 bits, run by GPTQModel's kernels."""

from __future__ import annotations

from collections import Counter
from typing import Any

from passkwh.adapters import checkpoint as folders
from passkwh.adapters import quantize
from passkwh.adapters.gptqmodel import library
from passkwh.adapters.transformers import TransformersAdapter
from passkwh.records import Option


class GptqAdapter(TransformersAdapter):
    """A GPTQ checkpoint, published or quantized here; the kernel that computes with it stands in ``info``."""

    def _load_model(self) -> Any:
        gptqmodel = library()
        loaded = gptqmodel.GPTQModel.load(str(self._folder), device=str(self._device), backend=self._backend(gptqmodel))
        return loaded.model

    def _backend(self, gptqmodel: Any) -> Any:
        """Which kernel to ask for: the library knows best."""
        return gptqmodel.BACKEND.AUTO

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
        made = quantize.read_manifest(self._folder)
        if made:
            found["calibration_sha256"] = made.calibration_sha256
            found["quantized_with"] = made.tool
        return found
