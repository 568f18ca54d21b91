"""The contract of quantizations: how a checkpoint of one is recognised and loaded, and how it is made.

What a quantization can do besides is a protocol of its own: :class:`MakesCheckpoints` writes a packed checkpoint from a
dense one, :class:`QuantizesWhileLoading` packs dense weights in memory, :class:`TakesOptions` has settings of its own,
and :class:`ChecksDevices` says on which devices its kernels run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from passkwh.records import Option

Progress = Callable[[int, int], None]
"""Called while a checkpoint is made: layers that are done, of how many; with 0 when the first begins."""


@dataclass(frozen=True)
class Loading:
    """How weights are loaded: onto which devices, and whether the model's own code may run."""

    device: str = "cpu"
    """``cpu`` or ``cuda:0``; of a model that lies on several, the one that takes the tokens."""
    device_map: Mapping[str, str] = field(default_factory=dict)
    """Modules -> devices, of a model that lies on several."""
    trust_remote_code: bool = False

    def arguments(self) -> dict[str, Any]:
        """What ``from_pretrained`` of transformers' models takes of it; the number format is the caller's."""
        place: dict[str, Any] = {}
        if self.device_map:
            place["device_map"] = dict(self.device_map)
        elif self.device != "cpu":
            place["device_map"] = self.device
        return {"local_files_only": True, "trust_remote_code": self.trust_remote_code, **place}


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
    """A way of packing weights. Importing its module is cheap; libraries come with what loads and makes.

    Example:
        >>> class Rounded:
        ...     name, summary, bits, bits_per_weight = "rounded", "float16 in a folder of its own", 16, 16.0
        ...     def missing(self): return None
        ...     def recognises(self, packed): return packed.get("quant_method") == "rounded"
        ...     def load(self, folder, how): return AutoModelForCausalLM.from_pretrained(folder, **how.arguments())
        ...     def describe(self, model, folder, device): return {"method": "rounded", "bits": 16}
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
        """What is not installed, with the command that gets it; None where its libraries are here."""
        ...

    def recognises(self, packed: Mapping[str, Any]) -> bool:
        """Whether a checkpoint is one of these, by its ``quantization_config``: from config.json or from the file that
        stood in its place, with ``quant_method`` in small letters and ``bits`` as a number."""
        ...

    def load(self, folder: Path, how: Loading) -> Any:
        """The checkpoint's model, as transformers' classes have it, on its devices."""
        ...

    def describe(self, model: Any, folder: Path, device: str) -> dict[str, Option]:
        """How a loaded model's weights are packed and computed with, for the manifest; part of a sample's identity."""
        ...


@runtime_checkable
class MakesCheckpoints(Protocol):
    """A quantization that is made once, into the cache."""

    def make(self, source: Path, target: Path) -> Recipe:
        """Pack a dense checkpoint's weights into the empty folder ``target``, with configuration and tokenizer."""
        ...


@runtime_checkable
class ReportsProgress(Protocol):
    """A quantization that takes its time: it says before how long, and on the way how far it is."""

    def make(self, source: Path, target: Path, progress: Progress | None = None) -> Recipe:
        """As ``MakesCheckpoints.make``; ``progress(done, of)`` is called when the first layer begins and
        when one is done."""
        ...

    def expected_s(self, source: Path) -> float | None:
        """About how long making it takes here, in seconds: an estimate; None where nothing is known."""
        ...


@runtime_checkable
class QuantizesWhileLoading(Protocol):
    """A quantization that packs dense weights each time they are loaded: ``load`` takes a dense folder, too."""

    quantizes_while_loading: bool


@runtime_checkable
class TakesOptions(Protocol):
    """A quantization with settings of its own (``--quant-option``)."""

    def with_options(self, options: Mapping[str, Option]) -> Quantization:
        """The same with these settings. UsageError for one that it does not know, with those there are."""
        ...


@runtime_checkable
class ChecksDevices(Protocol):
    """A quantization whose kernels do not run everywhere."""

    def refusal(self, packed: Mapping[str, Any], device: str) -> str | None:
        """Why weights packed so cannot be run on a device, and what would run them; None where they can.

        ``packed`` is a checkpoint's quantization_config, empty where it is quantized while it is loaded.
        """
        ...
