"""``bench train lite``: fine-tunes a model so that every exit predicts through its one LM head (GREEN-CODE, III-D)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from passkwh.adapters.early_exit.bundle import CARD, LORA, MODEL
from passkwh.adapters.early_exit.families import model_parts
from passkwh.adapters.early_exit.training import lite, plots
from passkwh.adapters.early_exit.training.job import TrainingJob, check_same
from passkwh.adapters.early_exit.training.log import LossStep, TrainingLog
from passkwh.adapters.early_exit.training.model import TrainableModel
from passkwh.adapters.early_exit.training.quality import agreement
from passkwh.adapters.early_exit.training.states import StateReader
from passkwh.adapters.peft_on_dense import dense_only
from passkwh.errors import UsageError

CHECKPOINT = "checkpoint.pt"
LOGS = "tensorboard"
RATES = {"full": 1e-5, "lora": 3e-4}
"""Learning rates: the paper's, which trains all weights. LoRA's matrices begin at nothing and need a greater one."""
JAVA_EPOCHS = {"opt": 5, "llama": 10}
"""Times that the paper reads JavaCorpus, which has a seventh of PY150's files (III-D); PY150 once."""
MAX_NORM = 1.0
"""Gradients are clipped to this norm: the default of Hugging Face's training API, which the paper uses."""


@dataclass(frozen=True)
class LiteSettings:
    """How LITE fine-tunes; the defaults are the paper's, or its training library's where it names none."""

    method: str = "lora"
    """``full`` as in the paper, or ``lora``: small matrices beside the weights, for small machines and small files."""
    rank: int = 16
    learning_rate: float = 0.0
    """At the beginning, falling linearly to nothing; 0 is that of the method."""
    batch_size: int = 4
    accumulation: int = 32
    epochs: int = 0
    """Times through the data; 0 is the paper's for model and language (:func:`paper_epochs`)."""
    length: int = 1024
    tokens: int | None = None
    """Use no more than these of the data."""
    precision: str = "bf16"
    hold: float = 0.0
    """Weight of the term that holds the last layer's distribution to the model's as it was; 0 is LITE as published."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (("method", ("full", "lora")), ("precision", ("bf16", "float32"))):
            if getattr(self, name) not in allowed:
                raise UsageError(f"--{name} is {getattr(self, name)!r}: use {' or '.join(allowed)}")
        for name, least in (("rank", 1), ("batch_size", 1), ("accumulation", 1), ("epochs", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"--{name.replace('_', '-')} is {getattr(self, name)}: give 1 or more")

    @property
    def rate(self) -> float:
        """The learning rate at the beginning."""
        return self.learning_rate or RATES[self.method]

    @property
    def dtype(self) -> str:
        """What the weights are loaded in: all-weights training keeps them in 32 bits, or small steps would be lost."""
        return "bfloat16" if self.precision == "bf16" and self.method == "lora" else "float32"


def paper_epochs(family: str, languages: Sequence[str]) -> int:
    """Times through the data in GREEN-CODE (III-D): on Java alone 5 for OPT and 10 for Llama, else once.

    Other families are taken as the paper's Llama is.
    """
    return JAVA_EPOCHS.get(family, JAVA_EPOCHS["llama"]) if set(languages) == {"java"} else 1


@dataclass(frozen=True)
class TrainingProgress:
    """One step of the optimizer."""

    step: int
    total: int
    loss: float
    exits: dict[int, float]


def finetune(
    job: TrainingJob,
    work: Path,
    settings: LiteSettings,
    resume: bool = False,
    checkpoint_every: int = 10,
    on_step: Callable[[TrainingProgress], None] = lambda progress: None,
) -> dict[str, Any]:
    """Train with LITE and write a bundle; ``work`` gets checkpoints and TensorBoard logs.

    An interrupted training goes on, with ``resume``, from its last checkpoint with the losses it would have had.

    Args:
        job: its model is loaded in ``settings.dtype``, nothing trained.
        checkpoint_every: steps of the optimizer between checkpoints.

    Returns:
        what the bundle's card then says of the fine-tuning.

    Raises:
        UsageError: the bundle is there already, ``work`` holds another training, or there is too little data.
    """
    if (job.bundle / CARD).exists():
        raise UsageError(f"{job.bundle} is a bundle already, and fine-tuning comes first: give another --bundle")
    languages = [corpus.language for corpus in job.corpora]
    epochs = settings.epochs or paper_epochs(job.trainable.card.base.family, languages)
    settings = replace(settings, epochs=epochs)
    work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    rows = job.rows(settings.length, settings.tokens)
    held_out = np.concatenate(job.held_out_rows(settings.length))
    training = _LiteTraining(job.trainable, rows, settings, work)
    training.begin(resume, held_out)
    began_at = training.step
    with job.costed() as cost:
        training.run(checkpoint_every, on_step)
    notes = {
        "data": [corpus.description for corpus in job.corpora],
        "held_out": [corpus.description for corpus in job.held_out],
        "tokens": int(rows.size) * settings.epochs,
        "steps": training.step,
        "hyperparameters": asdict(settings) | {"learning_rate": settings.rate},
        "resumed_at_step": began_at or None,
        "duration_s": cost.duration_s,
        "energy": cost.energy,
        "before": training.before,
        "after": training.evaluate(held_out),
    }
    training.export(job.bundle)
    plots.save(training.log(job), work)
    job.write_card({"lite": notes}, lora=settings.method == "lora")
    return notes


class _LiteTraining:
    """A training under way."""

    def __init__(self, trainable: TrainableModel, rows: NDArray[np.int64], settings: LiteSettings, work: Path) -> None:
        self._trainable, self._rows, self._settings, self._work = trainable, rows, settings, work
        self._per_step = settings.batch_size * settings.accumulation
        self._steps_an_epoch = math.ceil(len(rows) / self._per_step)
        self.total = self._steps_an_epoch * settings.epochs
        self.step = 0
        self.before: dict[str, Any] = {}
        self._losses: list[LossStep] = []
        self._model = trainable.model
        # LoRA's model is the original with its adapter off; training all weights needs the original beside it.
        self._original = copy.deepcopy(trainable.model) if settings.hold and settings.method == "full" else None
        if settings.method == "lora":
            from peft import LoraConfig, get_peft_model

            config = LoraConfig(r=settings.rank, lora_alpha=2 * settings.rank, target_modules="all-linear")
            with dense_only():
                self._model = get_peft_model(trainable.model, config)
        else:
            self._model.requires_grad_(True)
        self._trained = {name: weight for name, weight in self._model.named_parameters() if weight.requires_grad}
        self._optimizer = torch.optim.AdamW(self._trained.values(), lr=settings.rate, weight_decay=0.0)
        self._reader = StateReader(self._model, trainable.card.exits)
        self._weights = trainable.card.layout.weights()

    # ------------------------------------------------------------ going on

    def begin(self, resume: bool, held_out: NDArray[np.int64]) -> None:
        """From the beginning, or from the checkpoint."""
        file = self._work / CHECKPOINT
        if file.exists() and not resume:
            raise UsageError(f"{self._work} already holds a training: add --resume to go on with it, or give another")
        if not file.exists():
            self.before = self.evaluate(held_out)
            return
        kept = torch.load(file, weights_only=True)
        where, fix = f"the training in {self._work}", "resume it as it was, or give another --work"
        check_same(where, kept["identity"], self._identity(), fix)
        with torch.no_grad():
            for name, weight in self._trained.items():
                weight.copy_(kept["weights"][name])
        self._optimizer.load_state_dict(kept["optimizer"])
        torch.set_rng_state(kept["random"])
        self.step, self.before = kept["step"], kept["before"]
        self._losses = [LossStep.model_validate(step) for step in kept.get("losses", ())]

    def save(self) -> None:
        """A checkpoint, whole or not at all."""
        draft = self._work / f".{CHECKPOINT}"
        torch.save(
            {
                "identity": self._identity(),
                "step": self.step,
                "before": self.before,
                "losses": [step.model_dump() for step in self._losses],
                "weights": {name: weight.detach().cpu() for name, weight in self._trained.items()},
                "optimizer": self._optimizer.state_dict(),
                "random": torch.get_rng_state(),
            },
            draft,
        )
        draft.replace(self._work / CHECKPOINT)

    def _identity(self) -> dict[str, Any]:
        card = self._trainable.card
        return asdict(self._settings) | {
            "model": card.base.model,
            "revision": card.base.revision,
            "exits": list(card.exits),
            "rows": len(self._rows),
        }

    # ------------------------------------------------------------ learning

    def run(self, checkpoint_every: int, on_step: Callable[[TrainingProgress], None]) -> None:
        """All steps that are left."""
        from torch.utils.tensorboard import SummaryWriter

        exits = self._trainable.card.exits
        self._model.train()
        writer: Any = SummaryWriter(str(self._work / LOGS))
        try:
            while self.step < self.total:
                losses = self._learn()
                self.step += 1
                weighted = sum(weight * loss for weight, loss in zip(self._weights, losses, strict=True))
                by_exit = dict(zip(exits, losses, strict=True))
                self._losses.append(LossStep(step=self.step, weighted=weighted, exits=tuple(losses)))
                writer.add_scalar("loss/weighted", weighted, self.step)
                writer.add_scalar("learning_rate", self._optimizer.param_groups[0]["lr"], self.step)
                for layer, loss in by_exit.items():
                    writer.add_scalar(f"loss/exit_{layer}", loss, self.step)
                if self.step % checkpoint_every == 0 or self.step == self.total:
                    self.save()
                on_step(TrainingProgress(self.step, self.total, weighted, by_exit))
        finally:
            writer.close()
        self._model.eval()

    def _learn(self) -> list[float]:
        """One step of the optimizer; gives the mean loss of each exit over its batches."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._settings.rate * (1 - self.step / self.total)
        batches = list(self._batches())
        tokens = sum(batch.numel() - len(batch) for batch in batches)
        losses = np.zeros(len(self._weights))
        for batch in batches:
            share = (batch.numel() - len(batch)) / tokens
            with self._precision():
                held = self._held(batch)
                states = self._reader(batch)
                parts = lite.backward(states, batch, self._weights, self._lm_head, share, held=held)
            losses += share * np.asarray(parts)
        torch.nn.utils.clip_grad_norm_(self._trained.values(), MAX_NORM)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return [float(loss) for loss in losses]

    def _batches(self) -> Iterator[torch.Tensor]:
        """The batches of this step: the order depends on seed, epoch and step alone."""
        epoch, place = divmod(self.step, self._steps_an_epoch)
        order = np.random.default_rng([self._settings.seed, epoch]).permutation(len(self._rows))
        chosen = order[place * self._per_step : (place + 1) * self._per_step]
        for begin in range(0, len(chosen), self._settings.batch_size):
            rows = self._rows[chosen[begin : begin + self._settings.batch_size]]
            yield torch.from_numpy(rows).to(self._trainable.device)

    @torch.no_grad()
    def _held(self, batch: torch.Tensor) -> lite.Held | None:
        """The last layer's states of the model as it was."""
        if not self._settings.hold:
            return None
        depth = (self._trainable.card.base.layers,)
        if self._original is not None:
            parts = model_parts(self._original)
            states = StateReader(self._original, depth)(batch)
            return lite.Held(self._settings.hold, states[0], lambda raw: parts.head(parts.finish(raw)))
        with self._model.disable_adapter():
            states = StateReader(self._model, depth)(batch)
        return lite.Held(self._settings.hold, states[0], self._lm_head)  # no adapter is on norm or head

    def _lm_head(self, states: torch.Tensor) -> torch.Tensor:
        return self._trainable.parts.head(self._trainable.parts.finish(states))

    def _precision(self) -> AbstractContextManager[Any]:
        """Computes in 16 bits where weights are kept in 32."""
        if self._settings.precision == "bf16" and self._settings.dtype == "float32":
            return torch.autocast(self._trainable.device.type, torch.bfloat16)
        return nullcontext()

    # ------------------------------------------------------------ results

    def evaluate(self, rows: NDArray[np.int64]) -> dict[str, Any]:
        """Loss and agreement with the last layer of each exit, on held-out rows."""
        self._model.eval()
        exits = self._trainable.card.exits
        tensors = [torch.from_numpy(row)[None].to(self._trainable.device) for row in rows]
        losses = np.zeros(len(exits))
        with torch.no_grad(), self._precision():
            for row in tensors:
                losses += np.asarray(lite.losses(self._reader(row), row, self._lm_head)) / len(tensors)
            agreed = agreement(self._reader, tensors, exits, {"exits": self._trainable.heads})["exits"]
        by_exit = {str(layer): round(float(loss), 4) for layer, loss in zip(exits, losses, strict=True)}
        return {"loss": by_exit, "agreement": {str(layer): share for layer, share in agreed.items()}}

    def log(self, job: TrainingJob) -> TrainingLog:
        """The course of the training, also written into its folder."""
        card = self._trainable.card
        languages = tuple(dict.fromkeys(corpus.language for corpus in job.corpora))
        log = TrainingLog(
            kind="lite", model=card.base.model, languages=languages, exits=card.exits, losses=tuple(self._losses)
        )
        log.write(self._work)
        return log

    def export(self, bundle: Path) -> None:
        """The LoRA adapter in 16 bits, or the whole model."""
        if self._settings.method == "full":
            self._model.save_pretrained(bundle / MODEL)
            self._trainable.tokenizer.save_pretrained(bundle / MODEL)
            return
        from peft import get_peft_model_state_dict
        from safetensors.torch import save_file

        folder = bundle / LORA
        folder.mkdir(parents=True, exist_ok=True)
        weights = get_peft_model_state_dict(self._model)
        halves = {name: weight.detach().half().cpu().contiguous() for name, weight in weights.items()}
        save_file(halves, folder / "adapter_model.safetensors", {"format": "pt"})
        config = self._model.peft_config["default"]
        config.base_model_name_or_path, config.inference_mode = self._trainable.card.base.model, True
        config.save_pretrained(folder)
