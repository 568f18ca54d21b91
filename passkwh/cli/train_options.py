"""Options of ``bench train``: the model, its data, and how each step is carried out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from passkwh.cli import complete
from passkwh.cli.options import AsJson, Meter
from passkwh.errors import UsageError

if TYPE_CHECKING:
    from passkwh.adapters.early_exit.training.agent import PpoSettings
    from passkwh.adapters.early_exit.training.data import TrainingCorpus
    from passkwh.adapters.early_exit.training.job import TrainingJob
    from passkwh.adapters.early_exit.training.supervised import SupervisedSettings
    from passkwh.cli.live import LiveProgress


@dataclass(frozen=True)
class Common:
    """Options of every training."""

    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="Registry name (see `bench list`), hub id or local folder.",
            autocompletion=complete.models,
        ),
    ]
    bundle: Annotated[Path, typer.Option(help="Folder of the early-exit bundle, made if need be.")]
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="embedded (the default), hub, or a file or folder in CodeXGLUE's token form; repeat for more."
        ),
    ] = None
    language: Annotated[
        list[str] | None,
        typer.Option(
            "--language",
            "-l",
            help="python (the default) or java, one for each --data or one for all.",
            autocompletion=complete.languages,
        ),
    ] = None
    held_out: Annotated[
        list[str] | None,
        typer.Option(help="What to evaluate on, as --data: its test split (by default of the same data)."),
    ] = None
    exits: Annotated[
        str | None, typer.Option(help="Layers, as in 4,8,12,30, for a new bundle (the paper's by default).")
    ] = None
    meter: Meter = "auto"
    as_json: AsJson = False

    def corpora(self) -> tuple[list[TrainingCorpus], list[TrainingCorpus]]:
        """The training and the held-out data, read lazily: what is wrong with them shows before a model is loaded.

        UsageError for a place of the bundle that cannot be one, too.
        """
        if self.bundle.exists() and not self.bundle.is_dir():
            raise UsageError(f"--bundle {self.bundle} is a file: name a folder, made if need be")
        data, languages = self.data or ["embedded"], self.language or ["python"]
        return open_corpora(data, languages, "train"), _held_out(data, languages, self.held_out)

    def job(
        self,
        corpora: tuple[list[TrainingCorpus], list[TrainingCorpus]],
        live: LiveProgress,
        dtype: str = "",
        fresh: bool = False,
    ) -> TrainingJob:
        """The model with this data; ``fresh``: without what the bundle holds already."""
        from passkwh import adapters
        from passkwh.adapters.device import bound_kernel_caches
        from passkwh.adapters.early_exit.training.job import TrainingJob
        from passkwh.adapters.early_exit.training.model import load_trainable
        from passkwh.harness.meter.base import meter_channels
        from passkwh.harness.meter.block import metered_span
        from passkwh.harness.progress import Status, Steps

        meter_channels(self.meter)  # a wrong name is an error before the work, not after it
        bound_kernel_caches()
        layers = None if self.exits is None else _numbers("--exits", self.exits)
        checkpoint = adapters.prepare(adapters.resolve(self.model), Steps(live))
        return TrainingJob(
            load_trainable(checkpoint, None if fresh else self.bundle, layers, dtype),
            *corpora,
            self.bundle,
            meter=lambda: metered_span(self.meter),
            tick=lambda stage, done, total: live.update(Status(stage, done, total)),
        )


@dataclass(frozen=True)
class LiteOptions:
    """How LITE fine-tunes."""

    method: Annotated[str, typer.Option(help="lora: small matrices beside the weights; full: all of them.")] = "lora"
    rank: Annotated[int, typer.Option(help="Of LoRA's matrices.")] = 16
    learning_rate: Annotated[
        float, typer.Option(help="At the beginning; 0: 1e-5 for full, as the paper, 3e-4 for lora.", min=0)
    ] = 0.0
    batch_size: Annotated[int, typer.Option(help="Rows read together.")] = 4
    accumulation: Annotated[int, typer.Option(help="Batches to a step of the optimizer.")] = 32
    epochs: Annotated[
        int, typer.Option(help="Times through the data; 0: the paper's, on Java alone 10 (OPT: 5), else 1.", min=0)
    ] = 0
    length: Annotated[int, typer.Option(help="Tokens of a row.", min=2)] = 1024
    tokens: Annotated[int | None, typer.Option(help="Tokens of the data to use; all by default.", min=2)] = None
    precision: Annotated[str, typer.Option(help="bf16 or float32.")] = "bf16"
    hold: Annotated[
        float,
        typer.Option(help="Weight of a term that holds the last layer to the model as it was; 0: as published.", min=0),
    ] = 0.0
    seed: Annotated[int, typer.Option(help="Of the order of rows and LoRA's beginning.")] = 0


@dataclass(frozen=True)
class AgentOptions:
    """How an agent is trained."""

    method: Annotated[str, typer.Option(help="ppo, or supervised: trained on labels of the optimal exit.")] = "ppo"
    setting: Annotated[
        str | None, typer.Option(help="Column of table III: large-buffer (the default) or small-buffer.")
    ] = None
    steps: Annotated[int | None, typer.Option(help="Training steps (500,000).", min=1)] = None
    hidden: Annotated[str | None, typer.Option(help="Units of one or two hidden layers, as in 64,64.")] = None
    alpha: Annotated[float | None, typer.Option(help="Price of leaving late (python 0.5, java 1).")] = None
    beta: Annotated[float | None, typer.Option(help="Price of leaving early (python 0.5, java 1).")] = None
    gamma: Annotated[float | None, typer.Option(help="Price of going on too far (python 0.5, java 1).")] = None
    epsilon: Annotated[float | None, typer.Option(help="Price of a wrong token from too deep (0.1).")] = None
    seed: Annotated[int, typer.Option(help="Of weights, episodes and actions.")] = 0

    def settings(self, language: str, resume: bool) -> PpoSettings | SupervisedSettings:
        """Checked and completed with the paper's for this language."""
        from passkwh.adapters.early_exit.training.agent import with_overrides
        from passkwh.adapters.early_exit.training.rewards import of_language
        from passkwh.adapters.early_exit.training.supervised import SupervisedSettings

        rewards = of_language(language, alpha=self.alpha, beta=self.beta, gamma=self.gamma, epsilon=self.epsilon)
        widths = None if self.hidden is None else tuple(_numbers("--hidden", self.hidden))
        changes: dict[str, Any] = {"hidden": widths, "seed": self.seed, "rewards": rewards}
        if self.method == "ppo":
            return with_overrides(self.setting or "large-buffer", steps=self.steps, **changes)
        if self.method != "supervised":
            raise UsageError(f"--method is {self.method!r}: use ppo or supervised")
        if self.setting or self.steps or resume:
            raise UsageError(
                "--setting, --steps and --resume are of --method ppo: leave them out, supervised takes seconds"
            )
        return SupervisedSettings(**{name: value for name, value in changes.items() if value is not None})


@dataclass(frozen=True)
class RecordingOptions:
    """How much of the data is recorded."""

    max_gb: Annotated[float, typer.Option(help="Most disk for the recordings, and as much for held-out ones.")] = 2.0
    max_tokens: Annotated[int, typer.Option(help="Tokens read of each file.", min=40)] = 1024
    files: Annotated[int | None, typer.Option(help="Files recorded at most.", min=1)] = None
    held_out_files: Annotated[int | None, typer.Option(help="Held-out files recorded at most.", min=1)] = None
    online: Annotated[
        bool,
        typer.Option(
            "--online", help="Episodes over tokens that the model writes, as in the paper, not over the files' text."
        ),
    ] = False
    rounds: Annotated[int, typer.Option(help="With --online: contexts of each file.", min=1)] = 8


@dataclass(frozen=True)
class HeadOptions:
    """How heads are fitted."""

    method: Annotated[
        str, typer.Option(help="distilled: to the last layer's distribution; ridge: to its state, in closed form.")
    ] = "distilled"
    tokens: Annotated[int, typer.Option(help="Tokens to fit to.", min=1)] = 100_000
    length: Annotated[int, typer.Option(help="Tokens read together.", min=2)] = 512
    rank: Annotated[int | None, typer.Option(help="Rank of smaller maps; whole ones by default.", min=1)] = None
    candidates: Annotated[
        int, typer.Option(help="Common tokens to compare distributions over, and to list in the bundle.", min=2)
    ] = 4096
    epochs: Annotated[int, typer.Option(help="Times through the states, of distilled.", min=1)] = 1
    learning_rate: Annotated[float, typer.Option(help="At the beginning, of distilled.", min=0)] = 0.01
    seed: Annotated[int, typer.Option(help="Of the order of tokens, of distilled.")] = 0


def open_corpora(data: list[str], languages: list[str], split: str) -> list[TrainingCorpus]:
    """The files that each ``--data`` names, read lazily; what is plainly of another language is refused."""
    from passkwh.adapters.early_exit.training.data import TrainingCorpus
    from passkwh.benchmarks.completion.codexglue import SUFFIXES
    from passkwh.benchmarks.completion.data import Files, open_data

    if len(languages) == 1:
        languages = languages * len(data)
    if len(languages) != len(data):
        raise UsageError(f"{len(data)} --data but {len(languages)} --language: give one for each, or one for all")
    corpora = []
    for name, language in zip(data, languages, strict=True):
        if language not in SUFFIXES:
            raise UsageError(f"language is {language!r}: use one of {', '.join(SUFFIXES)}")
        source = open_data(name, language, split)
        if not isinstance(source, Files):
            raise UsageError(f"{source.description} holds line-level samples: training needs whole files")
        where = source.description if name in ("embedded", "hub") else f"{Path(name).name}/{source.description}"
        corpus = TrainingCorpus(where, language, lambda source=source: (file.text for file in source.read()))  # type: ignore[misc]
        corpus.check()
        corpora.append(corpus)
    return corpora


def _held_out(data: list[str], languages: list[str], held_out: list[str] | None) -> list[TrainingCorpus]:
    """What to evaluate on: the test splits of ``held_out`` in every language, or else of the data; none twice."""
    pairs = [(name, language) for name in held_out for language in dict.fromkeys(languages)] if held_out else []
    pairs = pairs or list(zip(data, languages * (len(data) if len(languages) == 1 else 1), strict=True))
    pairs = list(dict.fromkeys(pairs))
    return open_corpora([name for name, _ in pairs], [language for _, language in pairs], "test")


def _numbers(option: str, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"{option} is {text!r}: give whole numbers separated by commas, as in 4,8,12") from None
