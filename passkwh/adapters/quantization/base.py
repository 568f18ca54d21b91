"""The contract of quantizations: how a checkpoint of one is recognised, loaded and made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from passkwh.records import Option


@dataclass(frozen=True)
class Recipe:
    """How weights were packed, for the manifest of the folder they are in."""

    method: str
    tool: str
    """Name and version of what packed them."""
    group_size: int | None = None
    """Weights that share a scale; None where that is no number, such as one scale a channel."""
    calibration: str = "none"
    """Texts whose activations steered the packing, in words."""
    calibration_sha256: str = ""
    libraries: tuple[str, ...] = ("torch", "transformers")
    """Packages whose versions shape the result."""


class Quantization(Protocol):
    """A way of packing weights. Importing its module is cheap; libraries come with ``load`` and ``make``.

    Example:
        >>> class Rounded:
        ...     name, summary, bits, bits_per_weight = "rounded", "float16 in a folder of its own", 16, 16.0
        ...     def missing(self): return None
        ...     def recognises(self, packed): return packed.get("quant_method") == "rounded"
        ...     def load(self, folder, device): return AutoModelForCausalLM.from_pretrained(folder).to(device)
        ...     def describe(self, model, folder, device): return {"method": "rounded", "bits": 16}
        ...     def make(self, source, target): ...; return Recipe("rounded", "mine 1.0")
    """

    @property
    def name(self) -> str:
        """As in the registry."""
        ...

    @property
    def summary(self) -> str:
        """One line for ``bench list``."""
        ...

    @property
    def bits(self) -> int:
        """Of a packed weight, without its scale."""
        ...

    @property
    def bits_per_weight(self) -> float:
        """Of a packed weight with its share of scales and zero points: what the estimator counts."""
        ...

    def missing(self) -> str | None:
        """What is not installed, with the command that gets it; None where it can be loaded and made here."""
        ...

    def recognises(self, packed: Mapping[str, Any]) -> bool:
        """Whether a checkpoint with this ``quantization_config`` (of its config.json) is one of these."""
        ...

    def load(self, folder: Path, device: str) -> Any:
        """The checkpoint's model, as transformers' classes have it, on a device such as ``cpu`` or ``cuda:0``."""
        ...

    def describe(self, model: Any, folder: Path, device: str) -> dict[str, Option]:
        """How a loaded model's weights are packed and computed with, for the manifest; part of a sample's identity."""
        ...

    def make(self, source: Path, target: Path) -> Recipe:
        """Pack a dense checkpoint's weights into the empty folder ``target``, with configuration and tokenizer."""
        ...
