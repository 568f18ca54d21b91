"""``bench train lite``: fine-tunes a model so that every exit speaks through its one LM head (GREEN-CODE, III-D)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from passkwh.adapters.early_exit.bundle import CARD, LORA, MODEL
from passkwh.adapters.early_exit.lora import dense_only
from passkwh.adapters.early_exit.training import lite
from passkwh.adapters.early_exit.training.data import Corpus, packed
from passkwh.adapters.early_exit.training.model import Student
from passkwh.adapters.early_exit.training.quality import agreement
from passkwh.adapters.early_exit.training.states import StateReader
from passkwh.adapters.quantization.make import OpenSpan
from passkwh.errors import UsageError

CHECKPOINT = "checkpoint.pt"
LOGS = "tensorboard"
RATES = {"full": 1e-5, "lora": 3e-4}
"""Learning rates: the paper's, which trains all weights. LoRA's matrices begin at nothing and need a greater one."""
MAX_NORM = 1.0
"""Gradients are clipped to this norm: the default of Hugging Face's training API, which the paper uses."""


@dataclass(frozen=True)
class Plan:
    """Hyperparameters; the defaults are the paper's, or its training library's where it names none."""

    method: str = "lora"
    """``full`` as in the paper, or ``lora``: small matrices beside the weights, for small machines and small files."""
    rank: int = 16
    learning_rate: float = 0.0
    """At the beginning, falling linearly to nothing; 0 is that of the method."""
    batch_size: int = 4
    accumulation: int = 32
    epochs: int = 1
    length: int = 1024
    tokens: int | None = None
    """Use no more than these of the data."""
    precision: str = "bf16"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (("method", ("full", "lora")), ("precision", ("bf16", "float32"))):
            if getattr(self, name) not in allowed:
                raise UsageError(f"--{name} is {getattr(self, name)!r}: use {' or '.join(allowed)}")
        for name in ("rank", "batch_size", "accumulation", "epochs"):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name.replace('_', '-')} is {getattr(self, name)}: give 1 or more")

    @property
    def rate(self) -> float:
        """The learning rate at the beginning."""
        return self.learning_rate or RATES[self.method]

    @property
    def dtype(self) -> str:
        """What the weights are loaded in: all-weights training keeps them in 32 bits, or small steps would be lost."""
        return "bfloat16" if self.precision == "bf16" and self.method == "lora" else "float32"


@dataclass(frozen=True)
class Progress:
    """One step of the optimizer."""

    step: int
    total: int
    loss: float
    exits: dict[int, float]


def finetune(
    student: Student,
    corpora: list[Corpus],
    held_out: list[Corpus],
    bundle: Path,
    work: Path,
    plan: Plan,
    resume: bool = False,
    checkpoint_every: int = 10,
    judged_tokens: int = 2048,
    meter: OpenSpan | None = None,
    tick: Callable[[Progress], None] = lambda progress: None,
) -> dict[str, Any]:
    """Train with LITE and write a bundle; ``work`` gets checkpoints and TensorBoard logs.

    An interrupted training goes on, with ``resume``, from its last checkpoint with the losses it would have had.

    Args:
        student: loaded in ``plan.dtype``, nothing taught.
        corpora: each gives an equal share of ``plan.tokens``.

    Returns:
        what the bundle's card then says of the fine-tuning.

    Raises:
        UsageError: the bundle is there already, ``work`` holds another training, or there is too little data.
    """
    if (bundle / CARD).exists():
        raise UsageError(f"{bundle} is a bundle already, and fine-tuning comes first: give another --bundle")
    work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(plan.seed)
    share = None if plan.tokens is None else plan.tokens // len(corpora)
    rows = np.concatenate([packed(corpus, student.tokenizer, plan.length, share) for corpus in corpora])
    judged = np.concatenate([packed(corpus, student.tokenizer, plan.length, judged_tokens) for corpus in held_out])
    course = _Course(student, rows, plan, work)
    course.begin(resume, judged)
    start_ns, began_at = time.monotonic_ns(), course.step
    with meter() if meter else nullcontext(None) as spent:
        course.run(checkpoint_every, tick)
    duration_s = (time.monotonic_ns() - start_ns) / 1e9
    notes = {
        "data": [corpus.description for corpus in corpora],
        "held_out": [corpus.description for corpus in held_out],
        "tokens": int(rows.size) * plan.epochs,
        "steps": course.step,
        "hyperparameters": asdict(plan) | {"learning_rate": plan.rate},
        "resumed_at_step": began_at or None,
        "duration_s": round(duration_s, 1),
        "energy": spent().model_dump(mode="json") if spent else None,
        "before": course.before,
        "after": course.judge(judged),
    }
    course.export(bundle)
    card = student.card.model_copy(
        update={"lora": plan.method == "lora", "notes": student.card.notes | {"lite": notes}}
    )
    card.write(bundle)
    return notes


class _Course:
    """A training under way."""

    def __init__(self, student: Student, rows: NDArray[np.int64], plan: Plan, work: Path) -> None:
        self._student, self._rows, self._plan, self._work = student, rows, plan, work
        self._per_step = plan.batch_size * plan.accumulation
        self._steps_an_epoch = math.ceil(len(rows) / self._per_step)
        self.total = self._steps_an_epoch * plan.epochs
        self.step = 0
        self.before: dict[str, Any] = {}
        self._model = student.model
        if plan.method == "lora":
            from peft import LoraConfig, get_peft_model

            config = LoraConfig(r=plan.rank, lora_alpha=2 * plan.rank, target_modules="all-linear")
            with dense_only():
                self._model = get_peft_model(student.model, config)
        else:
            self._model.requires_grad_(True)
        self._trained = {name: weight for name, weight in self._model.named_parameters() if weight.requires_grad}
        self._optimizer = torch.optim.AdamW(self._trained.values(), lr=plan.rate, weight_decay=0.0)
        self._reader = StateReader(self._model, student.card.exits)
        self._weights = student.card.layout.weights()

    # ------------------------------------------------------------ going on

    def begin(self, resume: bool, judged: NDArray[np.int64]) -> None:
        """From the beginning, or from the checkpoint."""
        file = self._work / CHECKPOINT
        if file.exists() and not resume:
            raise UsageError(f"{self._work} already holds a training: add --resume to go on with it, or give another")
        if not file.exists():
            self.before = self.judge(judged)
            return
        kept = torch.load(file, weights_only=True)
        for name, value in self._identity().items():
            if kept["identity"].get(name) != value:
                raise UsageError(
                    f"the training in {self._work} was begun with {name} {kept['identity'].get(name)}, not {value}: "
                    "resume it as it was, or give another --work"
                )
        with torch.no_grad():
            for name, weight in self._trained.items():
                weight.copy_(kept["weights"][name])
        self._optimizer.load_state_dict(kept["optimizer"])
        torch.set_rng_state(kept["random"])
        self.step, self.before = kept["step"], kept["before"]

    def save(self) -> None:
        """A checkpoint, whole or not at all."""
        draft = self._work / f".{CHECKPOINT}"
        torch.save(
            {
                "identity": self._identity(),
                "step": self.step,
                "before": self.before,
                "weights": {name: weight.detach().cpu() for name, weight in self._trained.items()},
                "optimizer": self._optimizer.state_dict(),
                "random": torch.get_rng_state(),
            },
            draft,
        )
        draft.replace(self._work / CHECKPOINT)

    def _identity(self) -> dict[str, Any]:
        card = self._student.card
        return asdict(self._plan) | {
            "model": card.base.model,
            "revision": card.base.revision,
            "exits": list(card.exits),
            "rows": len(self._rows),
        }

    # ------------------------------------------------------------ learning

    def run(self, checkpoint_every: int, tick: Callable[[Progress], None]) -> None:
        """All steps that are left."""
        from torch.utils.tensorboard import SummaryWriter

        exits = self._student.card.exits
        self._model.train()
        writer: Any = SummaryWriter(str(self._work / LOGS))
        try:
            while self.step < self.total:
                found = self._learn()
                self.step += 1
                weighted = sum(weight * loss for weight, loss in zip(self._weights, found, strict=True))
                by_exit = dict(zip(exits, found, strict=True))
                writer.add_scalar("loss/weighted", weighted, self.step)
                writer.add_scalar("learning_rate", self._optimizer.param_groups[0]["lr"], self.step)
                for layer, loss in by_exit.items():
                    writer.add_scalar(f"loss/exit_{layer}", loss, self.step)
                if self.step % checkpoint_every == 0 or self.step == self.total:
                    self.save()
                tick(Progress(self.step, self.total, weighted, by_exit))
        finally:
            writer.close()
        self._model.eval()

    def _learn(self) -> list[float]:
        """One step of the optimizer; gives the mean loss of each exit over its batches."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._plan.rate * (1 - self.step / self.total)
        batches = list(self._batches())
        tokens = sum(batch.numel() - len(batch) for batch in batches)
        found = np.zeros(len(self._weights))
        for batch in batches:
            share = (batch.numel() - len(batch)) / tokens
            with self._precision():
                states = self._reader(batch)
                parts = lite.backward(states, batch, self._weights, self._speak, share)
            found += share * np.asarray(parts)
        torch.nn.utils.clip_grad_norm_(self._trained.values(), MAX_NORM)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return [float(loss) for loss in found]

    def _batches(self) -> Iterator[torch.Tensor]:
        """The batches of this step: the order depends on seed, epoch and step alone."""
        epoch, place = divmod(self.step, self._steps_an_epoch)
        order = np.random.default_rng([self._plan.seed, epoch]).permutation(len(self._rows))
        chosen = order[place * self._per_step : (place + 1) * self._per_step]
        for begin in range(0, len(chosen), self._plan.batch_size):
            rows = self._rows[chosen[begin : begin + self._plan.batch_size]]
            yield torch.from_numpy(rows).to(self._student.device)

    def _speak(self, states: torch.Tensor) -> torch.Tensor:
        return self._student.anatomy.head(self._student.anatomy.finish(states))

    def _precision(self) -> AbstractContextManager[Any]:
        """Computes in 16 bits where weights are kept in 32."""
        if self._plan.precision == "bf16" and self._plan.dtype == "float32":
            return torch.autocast(self._student.device.type, torch.bfloat16)
        return nullcontext()

    # ------------------------------------------------------------ results

    def judge(self, rows: NDArray[np.int64]) -> dict[str, Any]:
        """Loss and agreement with the last layer of each exit, on held-out rows."""
        self._model.eval()
        exits = self._student.card.exits
        tensors = [torch.from_numpy(row)[None].to(self._student.device) for row in rows]
        found = np.zeros(len(exits))
        with torch.no_grad(), self._precision():
            for row in tensors:
                found += np.asarray(lite.losses(self._reader(row), row, self._speak)) / len(tensors)
            agreed = agreement(self._reader, tensors, exits, {"exits": self._student.heads})["exits"]
        by_exit = {str(layer): round(float(loss), 4) for layer, loss in zip(exits, found, strict=True)}
        return {"loss": by_exit, "agreement": {str(layer): share for layer, share in agreed.items()}}

    def export(self, bundle: Path) -> None:
        """The LoRA adapter in 16 bits, or the whole model."""
        if self._plan.method == "full":
            self._model.save_pretrained(bundle / MODEL)
            self._student.tokenizer.save_pretrained(bundle / MODEL)
            return
        from peft import get_peft_model_state_dict
        from safetensors.torch import save_file

        folder = bundle / LORA
        folder.mkdir(parents=True, exist_ok=True)
        weights = get_peft_model_state_dict(self._model)
        halves = {name: weight.detach().half().cpu().contiguous() for name, weight in weights.items()}
        save_file(halves, folder / "adapter_model.safetensors", {"format": "pt"})
        config = self._model.peft_config["default"]
        config.base_model_name_or_path, config.inference_mode = self._student.card.base.model, True
        config.save_pretrained(folder)
