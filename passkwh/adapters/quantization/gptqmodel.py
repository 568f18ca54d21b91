"""Quantizations of GPTQModel, the library that makes and runs GPTQ and AWQ checkpoints."""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from passkwh.adapters import checkpoint as folders
from passkwh.adapters.quantization.base import Recipe
from passkwh.errors import MissingExtra, UsageError
from passkwh.records import Option

DEFAULT_GROUP_SIZE = 128
"""Weights that share a scale and a zero point in published checkpoints."""


@dataclass(frozen=True)
class GptqModelQuantization:
    """One format that GPTQModel reads and writes; it picks a kernel, which stands in the model's ``info``."""

    name: str
    summary: str
    method: str
    bits: int

    @property
    def bits_per_weight(self) -> float:
        """Packed bits, and of every group a scale in 16 bits and a zero point as wide as a weight."""
        return self.bits + (16 + self.bits) / DEFAULT_GROUP_SIZE

    def missing(self) -> str | None:
        """The library's extra, where it is not installed."""
        if importlib.util.find_spec("gptqmodel") is None:
            return f"{self.name} needs pip install 'passkwh[quant]'"
        return None

    def recognises(self, packed: Mapping[str, Any]) -> bool:
        """By method and bits."""
        return (method_of(packed), packed.get("bits")) == (self.method, self.bits)

    def load(self, folder: Path, device: str) -> Any:
        """The model that the library makes of transformers'."""
        gptqmodel = library()
        return gptqmodel.GPTQModel.load(str(folder), device=device, backend=self._backend(gptqmodel, device)).model

    def describe(self, model: Any, folder: Path, device: str) -> dict[str, Option]:
        """Method, bits, group size, kernel and tool."""
        packed = folders.config(folder)["quantization_config"]
        kernels = {type(part).__name__ for part in model.modules() if hasattr(part, "qweight") or hasattr(part, "bits")}
        about: dict[str, Option] = {
            "method": method_of(packed),
            "bits": int(packed["bits"]),
            "group_size": int(packed["group_size"]),
            "kernel": "+".join(sorted(kernels)) or "unknown",
            "tool": f"gptqmodel {library().__version__}",
        }
        if self._rounded_again(device):
            about["kernel_weights"] = "int8 per channel, rounded again from groups"
        return about

    def make(self, source: Path, target: Path) -> Recipe:
        """Quantize on the standard library's own code (``calibration.py``), with the largest group size that fits."""
        import torch
        from transformers import AutoTokenizer

        from passkwh.adapters.quantization import calibration

        size = group_size(folders.config(source))
        gptqmodel = library()
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
        texts = calibration.standard_library(tokenizer)
        rows = [{"input_ids": row, "attention_mask": [1] * len(row)} for row in texts.rows]
        with scratch() as temporary:
            config = gptqmodel.QuantizeConfig(
                bits=self.bits,
                group_size=size,
                quant_method=self.method,
                offload_to_disk_path=str(temporary / "offload"),
            )
            model = gptqmodel.GPTQModel.load(str(source), config)
            # By itself the library packs AWQ with a kernel for CUDA only.
            packing = gptqmodel.BACKEND.AWQ_TORCH if self.method == "awq" else gptqmodel.BACKEND.AUTO
            model.quantize(rows, batch_size=1, backend=packing)
            model.save(str(target))
            del model
            gc.collect()
        tokenizer.save_pretrained(target)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return Recipe(
            method=self.method,
            tool=f"gptqmodel {gptqmodel.__version__}",
            group_size=size,
            calibration=texts.description,
            calibration_sha256=texts.sha256,
            libraries=("gptqmodel", "torch", "transformers"),
        )

    def _backend(self, gptqmodel: Any, device: str) -> Any:
        """Which kernel to ask for: the library's own choice, except for 8 bits on a CPU.

        There its choice unpacks every weight for every token (about 1 token/s with SmolLM2 on 2 cores). Its int8 kernel
        is faster than dense weights are, but has one scale a channel: weights are rounded to it once, at loading.
        """
        return gptqmodel.BACKEND.GPTQ_TORCH_INT8 if self._rounded_again(device) else gptqmodel.BACKEND.AUTO

    def _rounded_again(self, device: str) -> bool:
        on_cpu = device == "cpu" and sys.platform in ("linux", "win32")
        return on_cpu and (self.method, self.bits) == ("gptq", 8)


def method_of(packed: Mapping[str, Any]) -> str:
    """The method that a ``quantization_config`` names, under either of its keys."""
    return str(packed.get("quant_method") or packed.get("method"))


def group_size(config: dict[str, Any]) -> int:
    """The largest of 128, 64 and 32 that divides every width weights are grouped along; UsageError when none does."""
    widths = {int(config[key]) for key in ("hidden_size", "intermediate_size", "ffn_dim") if config.get(key)}
    for size in (128, 64, 32):
        if all(width % size == 0 for width in widths):
            return size
    raise UsageError(f"a model with widths {sorted(widths)} cannot be quantized: 32 must divide them")


def library() -> Any:
    """The imported ``gptqmodel``; MissingExtra when it is not installed. Call within ``silence_libraries()``."""
    # On a machine with few cores it refuses to load unless told how many workers it may have.
    os.environ.setdefault("GPTQMODEL_CPU_WORKERS", str(os.cpu_count() or 1))
    try:
        import gptqmodel
    except ImportError as error:
        if error.name and error.name.split(".")[0] not in ("gptqmodel", "logbar", "tokenicer", "device_smi"):
            raise
        raise MissingExtra("quantization with GPTQ or AWQ", "quant") from None
    return gptqmodel


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder for what the library writes while quantizing: it would leave logs in the working directory."""
    from gptqmodel.looper import loop_processor

    with tempfile.TemporaryDirectory(prefix="passkwh-") as folder:
        before = loop_processor._PROJECT_LOG_DIR
        loop_processor._PROJECT_LOG_DIR = Path(folder) / "logs"
        try:
            yield Path(folder)
        finally:
            loop_processor._PROJECT_LOG_DIR = before
