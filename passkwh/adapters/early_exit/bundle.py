"""An early-exit bundle: a folder with what lets a model be left before its last layer.

    exit.json             the base model, its exits and which parts are here (``ExitCard``)
    heads.safetensors     linear maps from exits to the final state, where head is "shortcut"
    lora/ or model/       LITE fine-tuning: a PEFT adapter, or a whole checkpoint
    agents/NAME.json      exit agents (``passkwh.adapters.early_exit.policy``), with NAME.safetensors

A model without a bundle can be left early too, by rules that need no training, at the paper's exits.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from passkwh.adapters.checkpoint import file_hash
from passkwh.adapters.early_exit.layout import ExitLayout
from passkwh.errors import UsageError
from passkwh.records import Option, Record

FORMAT: Literal[1] = 1
CARD = "exit.json"
HEADS = "heads.safetensors"
LORA = "lora"
MODEL = "model"
AGENTS = "agents"


class BaseModelCard(Record):
    """The model that a bundle was made for."""

    model: Annotated[str, Field(description="registry name or hub id")]
    revision: Annotated[str, Field(description="ModelInfo.revision of the base checkpoint")]
    family: Annotated[str, Field(description="llama, qwen2 or opt")]
    hidden_size: Annotated[int, Field(ge=1)]
    layers: Annotated[int, Field(ge=1, description="depth of the model")]


class CalibrationPoint(Record):
    """What a threshold cost on validation files."""

    threshold: Annotated[float, Field(ge=0, le=1)]
    loss: Annotated[float, Field(description="share of ROUGE-L lost against the same model through all layers")]
    loss_low: Annotated[float, Field(description="lower end of its 95 % bootstrap interval over files")]
    loss_high: float
    mean_exit_layer: float


class Calibration(Record):
    """A rule's thresholds and what they lose, so that a loss can be asked for."""

    rule: str
    options: Annotated[dict[str, str], Field(description="of the rule: which agent, how many candidates")]
    language: str
    data: str
    files: Annotated[int, Field(ge=1)]
    new_tokens: Annotated[int, Field(ge=1)]
    full_depth: Annotated[float, Field(description="mean ROUGE-L through all layers")]
    weights_hash: Annotated[str, Field(description="Bundle.weights_hash of the weights that were calibrated")]
    exits: tuple[int, ...]
    points: Annotated[tuple[CalibrationPoint, ...], Field(min_length=1, description="the most careful first")]

    @property
    def described(self) -> str:
        """As ``--exit`` would name it."""
        return ",".join([self.rule, *(f"{key}={value}" for key, value in self.options.items())])

    def fits(self, rule: str, options: dict[str, str], bundle: Bundle, exits: tuple[int, ...], language: str) -> bool:
        """It says what this rule loses with these weights and exits, in this language."""
        own = self.rule, self.options, self.exits, self.language
        return own == (rule, options, exits, language) and self.weights_hash == bundle.weights_hash()

    @property
    def range(self) -> tuple[float, float]:
        """The least and the greatest loss that can be asked for."""
        worst = self._worst()
        return max(0.0, worst[0]), worst[-1]

    def pick(self, most: float) -> CalibrationPoint | None:
        """The point with the fewest layers whose loss, and that of every more careful one, is at most ``most``; None
        where no point is, or ``most`` is more than any point lost.
        """
        worst = self._worst()
        fitting = [point for point, loss in zip(self.points, worst, strict=True) if loss <= most]
        return fitting[-1] if fitting and most <= max(0.0, worst[-1]) else None

    def _worst(self) -> list[float]:
        """Of each point and all that are more careful, the greatest loss."""
        return list(itertools.accumulate((point.loss for point in self.points), max))


class ExitCard(Record):
    """``exit.json``."""

    format: Literal[1] = FORMAT
    base: BaseModelCard
    exits: Annotated[tuple[int, ...], Field(description="layers after which a token may leave; the last is the depth")]
    head: Annotated[Literal["none", "shortcut"], Field(description="what stands between the exits and the LM head")]
    lora: Annotated[bool, Field(description="there is a LITE adapter in lora/")] = False
    candidates: Annotated[int, Field(ge=0, description="common tokens that the heads list")] = 0
    calibrations: tuple[Calibration, ...] = ()
    notes: dict[str, Any] = Field(default_factory=dict, description="training card: data, steps, energy")

    @property
    def layout(self) -> ExitLayout:
        """Where the model may be left."""
        return ExitLayout(self.base.layers, self.exits)

    def making(self, agent: str = "") -> dict[str, Option]:
        """What training the bundle drew, with its agent if one decides; empty where a part of it was not metered."""
        parts = [note for name, note in self.notes.items() if name != "agents" and isinstance(note, dict)]
        if agent:
            parts.append(self.notes.get("agents", {}).get(agent, {}))
        spent = [part.get("energy") or {} for part in parts]
        joules = [float(one["gross_j"]) for one in spent if one.get("gross_j") is not None]
        if not parts or len(joules) < len(parts):
            return {}
        kinds = {str(one.get("provenance")) for one in spent}
        return {"making_j": sum(joules), "making_provenance": kinds.pop() if len(kinds) == 1 else "mixed"}

    def write(self, folder: Path) -> None:
        """Write ``exit.json`` into the folder, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CARD).write_text(json.dumps(self.model_dump(mode="json"), indent=2) + "\n", "utf-8")


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk."""

    folder: Path
    card: ExitCard

    @classmethod
    def read(cls, folder: Path) -> Bundle:
        """The bundle in a folder; UsageError for a folder that is none, or lacks what its card names."""
        file = folder / CARD
        try:
            card = ExitCard.model_validate_json(file.read_text("utf-8"))
        except FileNotFoundError:
            raise UsageError(
                f"{folder} is no early-exit bundle: it has no {CARD}; make one with `bench train`"
            ) from None
        except ValidationError as error:
            problem = error.errors()[0]
            key = ".".join(map(str, problem["loc"])) or "the file"
            raise UsageError(f"{file}: {key}: {problem['msg']}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{file} cannot be read: {error}") from None
        card.layout  # noqa: B018  (raises where the exits do not fit the depth)
        for wanted, part in ((card.head == "shortcut", HEADS), (card.lora, LORA)):
            if wanted and not (folder / part).exists():
                raise UsageError(f"{file} names {part}, which is not there: restore it or train again")
        return cls(folder, card)

    @property
    def weights(self) -> Path | None:
        """The whole fine-tuned checkpoint, where the bundle has one instead of a LoRA adapter."""
        folder = self.folder / MODEL
        return folder if folder.is_dir() else None

    @property
    def lora(self) -> Path | None:
        """The LITE adapter in PEFT's format, where the bundle has one."""
        return self.folder / LORA if self.card.lora else None

    @property
    def changes_weights(self) -> bool:
        """Running it means running other weights than the base model's."""
        return self.card.lora or self.weights is not None

    def weights_hash(self) -> str:
        """Hash over heads and fine-tuning, empty where there are none: agents and recordings made with others are of
        another model."""
        return self._hash([self.folder / HEADS, *self._tuning()])

    def tuning_hash(self) -> str:
        """Hash over fine-tuning alone, empty where there is none: states of the model are another's without it."""
        return self._hash(self._tuning())

    def _tuning(self) -> list[Path]:
        return [file for part in (LORA, MODEL) for file in sorted((self.folder / part).glob("*.safetensors"))]

    def _hash(self, files: Sequence[Path]) -> str:
        present = [file for file in files if file.is_file()]
        digest = hashlib.sha256()
        for file in present:
            digest.update(f"{file.relative_to(self.folder)} {file_hash(file)}\n".encode())
        return digest.hexdigest() if present else ""

    def agents(self) -> list[str]:
        """Names of the agents in the bundle, sorted."""
        return sorted(file.stem for file in (self.folder / AGENTS).glob("*.safetensors"))

    def agent(self, name: str) -> Path:
        """Stem of an agent's two files, as ``ExitPolicy.load`` takes it; UsageError for one that is not there."""
        names = self.agents()
        if name not in names:
            known = f"there are {', '.join(names)}" if names else "it has none; train one with `bench train agent`"
            raise UsageError(f"{self.folder} has no agent {name!r}: {known}")
        return self.folder / AGENTS / name
