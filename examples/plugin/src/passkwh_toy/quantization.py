"""A quantization: every matrix rounded to 255 levels a row, kept in the numbers' own format (so it saves no memory)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from passkwh.adapters.quantization.base import Loading, Recipe


class ToyInt8:
    """Rounded to 8 bits, one scale a row."""

    name = "toy-int8"
    summary = "rounded to 8 bits, stored dense"
    bits = 8
    bits_per_weight = 16.0

    def missing(self) -> str | None:
        """It needs nothing that pass@kWh does not need."""
        return None

    def recognises(self, packed: Mapping[str, Any]) -> bool:
        """Whether a checkpoint's ``quantization_config`` is one of these."""
        return packed.get("quant_method") == self.name

    def load(self, folder: Path, how: Loading) -> Any:
        """The model, dense: only the configuration says that it was rounded."""
        from transformers import AutoConfig, AutoModelForCausalLM

        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        del config.quantization_config  # transformers knows no method of this name
        return AutoModelForCausalLM.from_pretrained(folder, config=config, dtype="auto", **how.arguments())

    def describe(self, model: Any, folder: Path, device: str) -> dict[str, str | int | float | bool]:
        """What the manifest says of it."""
        return {"method": self.name, "bits": self.bits}

    def make(self, source: Path, target: Path) -> Recipe:
        """Round the matrices of ``source`` and write a checkpoint to ``target``."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model = AutoModelForCausalLM.from_pretrained(source, local_files_only=True, dtype="auto")
        for weight in model.parameters():
            if weight.dim() == 2:
                scale = weight.data.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / 127
                weight.data = (weight.data / scale).round() * scale
        model.save_pretrained(target)
        AutoTokenizer.from_pretrained(source, local_files_only=True).save_pretrained(target)
        file = target / "config.json"
        config = {**json.loads(file.read_text("utf-8")), "quantization_config": {"quant_method": self.name, "bits": 8}}
        file.write_text(json.dumps(config, indent=2), "utf-8")
        return Recipe(method=self.name, tool="passkwh-toy 0.1.0")


INT8 = ToyInt8()
