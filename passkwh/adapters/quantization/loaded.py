"""Formats that transformers loads from checkpoints packed elsewhere: FP8, MXFP4, NVFP4, compressed-tensors, HQQ, ...

What runs where is transformers' own knowledge: it is asked before anything is loaded. Where it would unpack the weights
and run them dense, that is a refusal, since the energy would not be of the format that the row names.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from passkwh.adapters.model_files import ModelFiles
from passkwh.adapters.quantization.base import Loading
from passkwh.adapters.quantization.recognise import bits_of, packed_as
from passkwh.adapters.silence import silence_libraries
from passkwh.errors import UsageError
from passkwh.records import Option


@dataclass(frozen=True)
class LoadedFormat:
    """One format, under its own label. It is loaded and not made here."""

    name: str
    summary: str
    method: str = ""
    """As ``quant_method`` names it; empty for one that is known by its label alone."""
    package: str | None = None
    """What transformers wants installed for it, as pip names it."""
    wants: str = "a machine with its kernels"
    """What would run it, for refusals."""

    @property
    def bits(self) -> int:
        """By the label; 16 where it does not say."""
        return bits_of(self.name) or 16

    @property
    def bits_per_weight(self) -> float:
        """With a scale of 16 bits for every 128 weights, which is what most of these formats have."""
        return self.bits + 16 / 128 if self.bits < 16 else 16.0

    def missing(self) -> str | None:
        """The library, where it is not installed."""
        if self.package is None or importlib.util.find_spec(self.package.replace("-", "_")) is not None:
            return None
        return f"{self.name} needs pip install {self.package}"

    def recognises(self, packed: Mapping[str, Any]) -> bool:
        """By method. Labels that say more than the method, such as compressed-tensors-w4a16, are not registered."""
        if not self.method:
            return False
        algorithm = str(packed.get("quant_algo") or "").lower()
        return self.method in (packed.get("quant_method"), algorithm) and not packed.get("bits")

    def refusal(self, packed: Mapping[str, Any], device: str) -> str | None:
        """What transformers says to this format on this device."""
        if packed.get("quant_method") == "modelopt":
            return (
                f"{self.name} of NVIDIA ModelOpt cannot be run here: transformers does not load it; it would take vLLM "
                "or TensorRT-LLM: serve it there and name openai:URL#MODEL"
            )
        import torch
        from transformers.quantizers.auto import AutoHfQuantizer

        try:
            with silence_libraries():
                quantizer = AutoHfQuantizer.from_config(dict(packed), pre_quantized=True)
                quantizer.validate_environment(device_map={"": device}, dtype=torch.bfloat16)
        except (ImportError, RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
            why = " ".join(str(error).split()).partition(" - supported types are")[0][:200].rstrip(".")
            return f"{self.name} cannot be run on {device}: {why}; it would take {self.wants}"
        asked = bool(packed.get("dequantize"))
        if getattr(quantizer.quantization_config, "dequantize", False) and not asked:
            return (
                f"{self.name} cannot be run packed on {device}: transformers would unpack it and run dense weights, "
                f"whose energy is another; it would take {self.wants}"
            )
        return None

    def load(self, folder: Path, how: Loading) -> Any:
        """The model, by transformers alone."""
        return load_packed(folder, how)

    def describe(self, model: Any, folder: Path, device: str) -> dict[str, Option]:
        """Method, bits, and the kernels that took the place of dense layers."""
        packed = packed_as(ModelFiles(folder))
        about: dict[str, Option] = {"method": str(packed.config["quant_method"]), "kernel": kernels(model)}
        if packed.bits is not None:
            about["bits"] = packed.bits
        return about


def load_packed(folder: Path, how: Loading, **more: Any) -> Any:
    """A packed checkpoint, or a dense one with a ``quantization_config`` among ``more``, by transformers.

    Raises:
        UsageError: it lacks some of its weights, or the library refuses; in a line.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from passkwh.adapters import device as devices

    dtype = getattr(torch, devices.dtype_name(ModelFiles(folder).text_config, how.device.partition(":")[0]))
    arguments = {"device_map": how.device, **how.arguments()}
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, output_loading_info=True, **arguments, **more
        )
    except (ImportError, RuntimeError, ValueError, TypeError, AssertionError, NotImplementedError) as error:
        why = " ".join(str(error).split())[:240]
        raise UsageError(f"{folder} cannot be loaded on {how.device}: {type(error).__name__}: {why}") from error
    if missing := sorted(report["missing_keys"]):
        raise UsageError(f"{folder} lacks weights of its model: {missing[0]} and {len(missing) - 1} more")
    return model


def kernels(model: Any) -> str:
    """The classes that took the place of dense layers or of their weights, joined by ``+``; ``Linear`` for none."""
    import torch

    classes = set()
    for part in model.modules():
        if "Linear" in type(part).__name__ and type(part) is not torch.nn.Linear:
            classes.add(type(part).__name__)
        weight = getattr(part, "weight", None)
        if type(part) is torch.nn.Linear and isinstance(weight, torch.Tensor):
            kind = type(weight.data).__name__
            if kind not in ("Tensor", "Parameter"):
                classes.add(kind)
    return "+".join(sorted(classes)) or "Linear"
