"""The models that have a name of their own (``models.toml``), and under which names others are published."""

from __future__ import annotations

import difflib
import functools
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RegisteredModel:
    """One model of the registry (``models.toml``)."""

    name: str
    id: str
    parameters: int
    family: str
    size: str
    tuning: str
    embedded: int = 0
    """Weights of embedding and output layer, which stay dense when a checkpoint is quantized; 0 where not known."""
    quantized: dict[str, str] = field(default_factory=dict)


@functools.cache
def _registry_file() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("models.toml").read_text("utf-8"))


@functools.cache
def registry() -> dict[str, RegisteredModel]:
    """The models that have a name of their own, by that name."""
    return {name: RegisteredModel(name, **entry) for name, entry in _registry_file()["models"].items()}


def published(hub_id: str, quant: str, tuning: str) -> str | None:
    """Hub id under which ``hub_id`` may be published with this quantization, by registry or naming habit.

    A habit is no promise: who uses the name has to look whether there is such a repository, and what it holds.
    """
    model = registered(hub_id)
    if model and quant in model.quantized:
        return model.quantized[quant]
    habit = _registry_file()["publishers"].get(hub_id.split("/")[0])
    if habit and habit["tuning"] == tuning and quant in habit["suffixes"]:
        return str(hub_id + habit["suffixes"][quant])
    return None


def base_of(hub_id: str) -> tuple[RegisteredModel, str] | None:
    """The registered model that a published quantized checkpoint is of, and the quantization, by the id alone."""
    for model in registry().values():
        for quant in {
            *model.quantized,
            *_registry_file()["publishers"].get(model.id.split("/")[0], {}).get("suffixes", {}),
        }:
            if published(model.id, quant, model.tuning) == hub_id:
                return model, quant
    return None


def unknown(name: str) -> str:
    """What to say to a name that means nothing, with the names that come close."""
    shelf = {
        label.lower(): label for entry in registry().values() for label in (entry.name, entry.id) if "/" not in name
    }
    shelf |= {entry.id.lower(): entry.id for entry in registry().values() if "/" in name}
    close = [shelf[match] for match in difflib.get_close_matches(name.lower(), shelf, n=3, cutoff=0.5)]
    hint = f"did you mean {', '.join(close)}? " if close else ""
    return f"unknown model {name!r}: {hint}give a name of `bench list`, a hub id (owner/name) or a checkpoint folder"


def registered(name: str) -> RegisteredModel | None:
    """The registered model of this name or hub id, in any case; None where there is none."""
    wanted = name.lower()
    for model in registry().values():
        if wanted in (model.name, model.id.lower()) and wanted != "embedded":
            return model
    return None
