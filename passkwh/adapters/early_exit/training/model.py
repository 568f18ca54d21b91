"""A model whose exits are trained, with what its bundle already holds: loaded and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from passkwh.adapters import checkpoint as folders
from passkwh.adapters import device as devices
from passkwh.adapters import models
from passkwh.adapters.checkpoint import Checkpoint
from passkwh.adapters.early_exit.bundle import CARD, BaseModelCard, Bundle, ExitCard
from passkwh.adapters.early_exit.families import ModelParts, model_parts
from passkwh.adapters.early_exit.heads import ExitHeads
from passkwh.adapters.early_exit.layout import ExitLayout, default_layout
from passkwh.adapters.peft_on_dense import dense_only
from passkwh.adapters.silence import silence_libraries
from passkwh.errors import UsageError


@dataclass(frozen=True)
class TrainableModel:
    """A loaded model, its exits and their heads."""

    model: Any
    tokenizer: Any
    parts: ModelParts
    heads: ExitHeads
    card: ExitCard
    weights_hash: str
    """``Bundle.weights_hash``; empty without a bundle."""
    tuning_hash: str = ""
    """``Bundle.tuning_hash``; empty without fine-tuning."""

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        device: torch.device = self.model.device
        return device


def load_trainable(
    checkpoint: Checkpoint, bundle: Path | None, exits: Sequence[int] | None = None, dtype: str = ""
) -> TrainableModel:
    """The dense model of ``checkpoint``, fine-tuned as the bundle in the folder ``bundle`` says, if there is one.

    Args:
        exits: the layout of a bundle that is yet to be made; the paper's by default.
        dtype: name of a torch data type; by default what the checkpoint runs in on this device.

    Raises:
        UsageError: a quantized checkpoint, a family that is not supported, or a bundle of another model or layout
            (names both).
    """
    if checkpoint.quant != "none":
        raise UsageError(f"{checkpoint.name} is quantized ({checkpoint.quant}): train with the dense model")
    if checkpoint.path is None:
        raise UsageError(f"{checkpoint.location} is not on this machine yet: {', '.join(checkpoint.pending)}")
    made = Bundle.read(bundle) if bundle is not None and (bundle / CARD).exists() else None
    device = torch.device(devices.pick("auto"))
    kind = getattr(torch, dtype or devices.dtype_name(folders.config(checkpoint.path), device.type))
    source = checkpoint.path
    if made is not None and made.weights is not None:
        source = made.weights
    with silence_libraries():
        tokenizer = AutoTokenizer.from_pretrained(checkpoint.path, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(source, dtype=kind, local_files_only=True).to(device)
        parts = model_parts(model)
        card = fresh_card(checkpoint, parts, exits)
        if made is not None:
            _agree(made, card, exits)
            card = made.card
        if made is not None and made.lora is not None:
            from peft import PeftModel

            with dense_only():
                model = PeftModel.from_pretrained(model, str(made.lora)).merge_and_unload()
            parts = model_parts(model)
    model.eval().requires_grad_(False)
    hashes = (made.weights_hash(), made.tuning_hash()) if made else ("", "")
    return TrainableModel(model, tokenizer, parts, ExitHeads.load(parts, made), card, *hashes)


def fresh_card(checkpoint: Checkpoint, parts: ModelParts, exits: Sequence[int] | None) -> ExitCard:
    """The card of a bundle in which nothing has been trained yet."""
    layout = ExitLayout(parts.depth, tuple(exits)) if exits else default_layout(parts.depth)
    registered = checkpoint.name.lower() in models.registry()
    return ExitCard(
        base=BaseModelCard(
            model=checkpoint.name.lower() if registered else checkpoint.location,
            revision=str(checkpoint.revision),
            family=parts.family,
            hidden_size=parts.hidden_size,
            layers=parts.depth,
        ),
        exits=layout.exits,
        head="none",
        notes={},
    )


def _agree(bundle: Bundle, wanted: ExitCard, exits: Sequence[int] | None) -> None:
    have, want = bundle.card.base, wanted.base
    if have.revision != want.revision or (have.hidden_size, have.layers) != (want.hidden_size, want.layers):
        raise UsageError(
            f"{bundle.folder} was made for {have.model} ({have.revision[:19]}), not for {want.model} "
            f"({want.revision[:19]}): give that model, or another --bundle"
        )
    if exits and bundle.card.exits != tuple(exits):
        raise UsageError(
            f"{bundle.folder} has exits {list(bundle.card.exits)}, not {list(exits)}: leave --exits out, or give "
            "another --bundle"
        )
