"""How a checkpoint's weights are packed, by whichever of its files says so: the format's label and bits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from passkwh.adapters.model_files import ModelFiles
from passkwh.errors import UsageError
from passkwh.registry import QUANTIZATIONS


@dataclass(frozen=True)
class Packed:
    """What a checkpoint's files say of its quantization."""

    label: str = "none"
    file: str = ""
    """Where it was read."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """As the file has it, with ``quant_method`` in small letters and ``bits`` as a number."""

    @property
    def bits(self) -> int | None:
        """Of a packed weight; None for dense weights and where neither the file nor the format says."""
        if self.label == "none":
            return None
        registered = QUANTIZATIONS.get(self.label).bits if self.label in QUANTIZATIONS else 16
        return _bits(self.config) or bits_of(self.label) or (registered if registered < 16 else None)


def packed_as(files: ModelFiles) -> Packed:
    """How a checkpoint is packed; the label ``none`` for dense weights. UsageError where a file cannot be read."""
    file, config = _find(files)
    return Packed(label_of(config), file, config) if config else Packed()


def label_of(config: Mapping[str, Any]) -> str:
    """The label of a normalised ``quantization_config``: the registered quantization that knows it, else its own words.

    Example:
        >>> label_of({"quant_method": "compressed-tensors", "config_groups": {"a": {"weights": {"num_bits": 4}}}})
        'compressed-tensors-w4a16'
    """
    for name in QUANTIZATIONS.names():
        with suppress(UsageError):  # a package that cannot be imported: it is named where somebody asks for it
            if QUANTIZATIONS.get(name).recognises(config):
                return name
    method, bits = str(config["quant_method"]), _bits(config)
    if method == "compressed-tensors":
        return f"{method}-{_scheme(config)}"
    if method == "modelopt":
        return _slug(str(config.get("quant_algo") or method))
    if method == "torchao":
        return f"{method}-{_torchao_kind(config)}"
    return f"{_slug(method)}-int{bits}" if bits and not re.search(r"\d$", method) else _slug(method)


def bits_of(label: str) -> int | None:
    """Bits of a weight by a label's own words, as ``gptq-int3``, ``compressed-tensors-w4a16`` and ``mxfp4`` have."""
    match = re.search(r"(?:int|fp|nf|w)(\d+)", label)
    return int(match[1]) if match else None


def _find(files: ModelFiles) -> tuple[str, dict[str, Any]]:
    """The file that says how weights are packed, and what it says, normalised; empty for dense weights."""
    for key in ("quantization_config", "compression_config"):
        for config in (files.config, files.text_config):
            packed = config.get(key)
            if isinstance(packed, dict) and packed:
                return "config.json", _normal(packed, "compressed-tensors" if key == "compression_config" else "gptq")
    # Before these formats stood in config.json, AutoGPTQ, AutoAWQ and ModelOpt wrote files of their own.
    for name, method in (("quantize_config.json", "gptq"), ("quant_config.json", "awq")):
        if packed := files.read(name):
            return name, _normal(packed, method)
    if packed := files.read("hf_quant_config.json").get("quantization"):
        return "hf_quant_config.json", _normal(dict(packed), "modelopt")
    return "", {}


def _normal(packed: Mapping[str, Any], method: str) -> dict[str, Any]:
    """With ``quant_method`` in small letters and, where any key tells, ``bits`` as a number."""
    config = dict(packed)
    named = config.get("quant_method") or config.get("method")
    if named is None and ("load_in_4bit" in config or "load_in_8bit" in config):
        named = "bitsandbytes"
    if named is None and "config_groups" in config:
        named = "compressed-tensors"
    if named is None and "zero_point" in config and ("w_bit" in config or "q_group_size" in config):
        named = "awq"
    small = str(named or method).lower().rpartition("/")[2]  # AutoRound writes intel/auto-round, too
    dashed = small.replace("_", "-")
    config["quant_method"] = dashed if dashed in ("auto-round", "compressed-tensors") else small
    if (bits := _bits(config)) is not None:
        config["bits"] = bits
    return config


def _bits(config: Mapping[str, Any]) -> int | None:
    """Bits of a packed weight, under whichever key and as number or text; None where no key tells."""
    inner = config.get("quant_config")
    weights = inner.get("weight_quant_params") if isinstance(inner, dict) else None
    for place in (config, weights if isinstance(weights, dict) else {}):
        for key in ("bits", "w_bit", "wbits", "nbits", "num_bits", "weight_bits"):
            value = place.get(key)
            if isinstance(value, str) and value.strip().isdecimal():
                value = int(value)
            if isinstance(value, (int, float)) and not isinstance(value, bool) and value == int(value) and value > 0:
                return int(value)
    groups = _groups(config)
    if config.get("quant_method") == "compressed-tensors" and groups:
        return max(int(group["num_bits"]) for group, _ in groups)
    if config.get("quant_method") == "bitsandbytes":
        return 4 if config.get("load_in_4bit") else 8
    return None


def _groups(config: Mapping[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Of compressed-tensors: how each group's weights and activations are packed."""
    groups = config.get("config_groups")
    found = []
    for group in groups.values() if isinstance(groups, dict) else ():
        weights = group.get("weights") if isinstance(group, dict) else None
        if isinstance(weights, dict) and isinstance(weights.get("num_bits"), int):
            found.append((weights, group.get("input_activations") or {}))
    return found


def _scheme(config: Mapping[str, Any]) -> str:
    """Of compressed-tensors: ``w4a16`` (bits of weights and activations), ``fp8``, ``nvfp4``, ``mxfp4``, ``mixed``."""
    schemes = set()
    for weights, activations in _groups(config):
        bits, floats = weights["num_bits"], weights.get("type") == "float"
        acts = activations.get("num_bits") or 16
        if floats and bits == 8:
            schemes.add("fp8" if acts == 8 else f"fp8a{acts}")
        elif floats and bits == 4:
            kind = "mxfp4" if weights.get("group_size") == 32 else "nvfp4"
            schemes.add(kind if acts == 4 else f"{kind}a{acts}")
        else:
            schemes.add(f"w{bits}a{acts}")
    if len(schemes) > 1:
        return "mixed"
    return schemes.pop() if schemes else _slug(str(config.get("format") or "unknown"))


def _torchao_kind(config: Mapping[str, Any]) -> str:
    """Of torchao: ``int8``, ``int4`` or ``fp8`` weights, by the name of its configuration."""
    text = str(config.get("quant_type")).lower()
    for word, kind in (("float8", "fp8"), ("int4", "int4"), ("int8", "int8")):
        if word in text:
            return kind
    return "other"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")
