"""``bench train``: make an early-exit model: fine-tuning, heads, the agent, calibrated thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from passkwh.cli.options import AsJson, Meter, grouped
from passkwh.cli.output import note, number, print_json, print_table, table
from passkwh.errors import MissingExtra, UsageError

if TYPE_CHECKING:
    from passkwh.adapters.early_exit.training.agent import PpoSettings
    from passkwh.adapters.early_exit.training.data import TrainingCorpus
    from passkwh.adapters.early_exit.training.job import TrainingJob
    from passkwh.adapters.early_exit.training.supervised import SupervisedSettings
    from passkwh.cli.live import LiveProgress

app = typer.Typer(no_args_is_help=True, help="Train a model's early exits (GREEN-CODE).")


@dataclass(frozen=True)
class Common:
    """Options of every training."""

    model: Annotated[
        str, typer.Option("--model", "-m", help="Registry name (see `bench list`), hub id or local folder.")
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
        typer.Option("--language", "-l", help="python (the default) or java, one for each --data or one for all."),
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
        """The training and the held-out data, read lazily: what is wrong with them shows before a model is loaded."""
        data, languages = self.data or ["embedded"], self.language or ["python"]
        return _corpora(data, languages, "train"), _held_out(data, languages, self.held_out)

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
        from passkwh.harness.progress import Status

        meter_channels(self.meter)  # a wrong name is an error before the work, not after it
        bound_kernel_caches()
        layers = None if self.exits is None else _numbers("--exits", self.exits)
        checkpoint = adapters.prepare(adapters.resolve(self.model), note)
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
    epochs: Annotated[int, typer.Option(help="Times through the data.")] = 1
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


@app.command()
@grouped
def shortcut(
    common: Common,
    options: HeadOptions,
    work: Annotated[
        Path | None, typer.Option(help="Folder for states and finished maps (BUNDLE-training/heads).")
    ] = None,
) -> None:
    """Fit a map from each exit to the last layer of the model as it is: one pass, kept on disk and gone on with."""
    from passkwh.adapters.early_exit.training.distil import DistilSettings
    from passkwh.adapters.early_exit.training.fitting import HeadSettings, fit_shortcut
    from passkwh.cli.live import LiveProgress

    distil = DistilSettings(epochs=options.epochs, learning_rate=options.learning_rate, seed=options.seed)
    settings = HeadSettings(
        options.method, options.tokens, options.length, options.rank, options.candidates, distil=distil
    )
    corpora = common.corpora()
    folder = work or common.bundle.with_name(f"{common.bundle.name}-training") / "heads"
    with LiveProgress(f"shortcut {common.model}") as live:
        notes = fit_shortcut(common.job(corpora, live), settings, folder)
    if common.as_json:
        print_json({"bundle": str(common.bundle), "work": str(folder), **notes})
        return
    rows = []
    for name, quality in notes["agreement_with_last_layer"].items():
        kinds = [kind for kind in quality if kind != "tokens"]
        for layer in quality["plain"]:
            rows.append([name, str(layer), *(f"{quality[kind][layer]:.1%}" for kind in kinds)])
    print_table(table("agreement with the last layer", ["files", "exit", *kinds], rows, right=[1, 2, 3, 4]))
    _note_cost(common.bundle, notes)


@app.command()
@grouped
def lite(
    common: Common,
    options: LiteOptions,
    work: Annotated[Path | None, typer.Option(help="Folder for checkpoints and logs (BUNDLE-training/lite).")] = None,
    checkpoint_every: Annotated[int, typer.Option(help="Steps between checkpoints.", min=1)] = 10,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training in --work.")] = False,
) -> None:
    """Fine-tune a model so that every exit predicts through its one LM head (LITE)."""
    need_extra("bench train lite", "peft", "tensorboard")
    from passkwh.adapters.early_exit.training.finetuning import LiteSettings, TrainingProgress, finetune
    from passkwh.cli.live import LiveProgress
    from passkwh.harness.progress import Status

    settings = LiteSettings(**vars(options))
    corpora = common.corpora()
    folder = work or common.bundle.with_name(f"{common.bundle.name}-training") / "lite"
    with LiveProgress(f"lite {common.model}") as live:

        def show(progress: TrainingProgress) -> None:
            losses = ", ".join(f"{layer}: {loss:.2f}" for layer, loss in progress.exits.items())
            live.update(Status(f"training (loss {progress.loss:.3f}; {losses})", progress.step, progress.total))

        job = common.job(corpora, live, settings.dtype, fresh=True)
        notes = finetune(job, folder, settings, resume, checkpoint_every, show)
    if common.as_json:
        print_json({"bundle": str(common.bundle), "work": str(folder), **notes})
        return
    rows = []
    for layer, loss in notes["before"]["loss"].items():
        after = notes["after"]
        agreed = notes["before"]["agreement"][layer], after["agreement"][layer]
        rows.append([layer, f"{loss:.3f}", f"{after['loss'][layer]:.3f}", *(f"{share:.1%}" for share in agreed)])
    heads = ["exit", "loss before", "after", "agreement before", "after"]
    print_table(table("on held-out files", heads, rows, right=[0, 1, 2, 3, 4]))
    _note_cost(common.bundle, notes)


@app.command()
@grouped
def agent(
    common: Common,
    options: AgentOptions,
    recording: RecordingOptions,
    name: Annotated[str | None, typer.Option(help="Of the agent in the bundle; the language by default.")] = None,
    work: Annotated[
        Path | None, typer.Option(help="Folder for recordings, checkpoints, logs and figures (BUNDLE-training).")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training in --work.")] = False,
) -> None:
    """Record a model at its exits, train the agent that decides where tokens leave, and evaluate it."""
    need_extra("bench train agent", "gymnasium", "stable_baselines3", "tensorboard")
    from passkwh.adapters.early_exit.training.train_agent import AgentTraining, RecordingLimits, train_agent
    from passkwh.cli.live import LiveProgress

    languages = common.language or ["python"]
    if len(languages) > 1:
        raise UsageError(f"--language {', '.join(languages)}: an agent is trained on one language: give one")
    corpora = common.corpora()
    settings = options.settings(languages[0], resume)
    if recording.max_gb <= 0:
        raise UsageError(f"--max-gb is {recording.max_gb}: give a size above 0")
    name = name or languages[0]
    root = work or common.bundle.with_name(f"{common.bundle.name}-training")
    training = AgentTraining(
        name=name,
        settings=settings,
        limits=RecordingLimits(
            int(recording.max_gb * 1e9), recording.max_tokens, recording.files, recording.held_out_files
        ),
        work=root / name,
        recordings=root / "recordings" / languages[0],
        resume=resume,
    )
    with LiveProgress(f"agent {name}") as live:
        notes = train_agent(common.job(corpora, live), training)
    if common.as_json:
        print_json({"bundle": str(common.bundle), "agent": name, "work": str(training.work), **notes})
        return
    rows = [[rule, *(_spread(figures[key]) for key in _FIGURES)] for rule, figures in notes["rules"].items()]
    print_table(table("on held-out files", ["rule", *_FIGURES.values()], rows, right=[1, 2, 3, 4]))
    for metric, gains in notes["ahead_of"].items():
        listed = "; ".join(f"{kind} {_spread(gain)}" for kind, gain in gains.items())
        note(f"{_FIGURES[metric]}: {notes['rivals'][metric]['agent']} is ahead of {listed}")
    note(f"checkpoints, TensorBoard logs and figures: {training.work}; recordings: {training.recordings}")
    _note_cost(common.bundle, notes)


@app.command()
@grouped
def calibrate(
    common: Common,
    rule: Annotated[
        list[str] | None,
        typer.Option(help="agent (the default), agent,agent=NAME, confidence,candidates=N, ...; repeat for more."),
    ] = None,
    files: Annotated[int, typer.Option(help="Validation files of each --data: of its dev split.", min=2)] = 100,
    new_tokens: Annotated[int, typer.Option(help="Tokens that are written of each file.", min=2)] = 15,
) -> None:
    """Find what each threshold of a rule loses, so that `--exit agent:loss=0.05` can be asked for."""
    from passkwh.adapters.early_exit.bundle import Bundle
    from passkwh.adapters.early_exit.training.calibrate import ValidationFile
    from passkwh.adapters.early_exit.training.calibrate import calibrate as calibrated
    from passkwh.benchmarks.completion.cut import cut_fraction
    from passkwh.benchmarks.completion.metrics import pair_metrics
    from passkwh.cli.live import LiveProgress

    need_extra("bench train calibrate", "rouge_score", "codebleu")
    bundle = Bundle.read(common.bundle)
    corpora = _corpora(common.data or ["embedded"], common.language or ["python"], "dev")
    tables = []
    with LiveProgress(f"calibrate {common.model}") as live:
        job = common.job((corpora, []), live)
        for corpus in corpora:
            cuts: list[ValidationFile] = []
            for text in corpus.read():
                offsets = job.trainable.tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
                cut = cut_fraction(text, [end for _, end in offsets], 0.2, 512, new_tokens)
                cuts += [ValidationFile(cut.context, cut.reference)] if cut else []
                if len(cuts) == files:
                    break
            if len(cuts) < 2:
                raise UsageError(f"{corpus.description} has {len(cuts)} files that are long enough: give more --data")
            language = corpus.language
            tables += calibrated(
                job.trainable, bundle, rule or ["agent"], cuts, language, corpus.description,
                lambda reference, text, language=language: pair_metrics(reference, text, language)["rougeL"],  # type: ignore[misc]
                new_tokens, lambda done, total, language=language: job.tick(language, done, total),  # type: ignore[misc]
            )  # fmt: skip
        replaced = {(table.rule, str(table.options), table.language) for table in tables}
        kept = [t for t in bundle.card.calibrations if (t.rule, str(t.options), t.language) not in replaced]
        job.write_card({}, calibrations=(*kept, *tables))
    if common.as_json:
        print_json({"bundle": str(common.bundle), "calibrations": [table.model_dump(mode="json") for table in tables]})
        return
    rows = [
        [t.described, t.language, f"{p.threshold:g}", f"{p.loss:.1%} [{p.loss_low:.1%}, {p.loss_high:.1%}]",
         f"{p.mean_exit_layer:.1f}"]
        for t in tables for p in t.points
    ]  # fmt: skip
    heads = ["rule", "language", "T", "ROUGE-L lost", "exit layer"]
    print_table(table(f"on {tables[0].files} files and more", heads, rows, right=[2, 3, 4]))
    note(f"wrote {common.bundle}; ask for a loss with --exit {tables[0].rule}:loss=0.05")


_FIGURES = {
    "reward_per_token": "reward/token",
    "reward_per_step": "reward/step",
    "agreement": "agreement",
    "mean_exit_layer": "exit layer",
}


def _spread(interval: dict[str, float]) -> str:
    return f"{interval['mean']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"


def _note_cost(bundle: Path, notes: dict[str, Any]) -> None:
    energy = notes.get("energy") or {}
    cost = f"{number(energy.get('gross_j'), 4, 'J')} ({energy.get('provenance') or energy.get('reason')})"
    note(f"wrote {bundle}; {notes['duration_s']:.0f} s, {cost}")


def _corpora(data: list[str], languages: list[str], split: str) -> list[TrainingCorpus]:
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
    return _corpora([name for name, _ in pairs], [language for _, language in pairs], "test")


def _numbers(option: str, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"{option} is {text!r}: give whole numbers separated by commas, as in 4,8,12") from None


def need_extra(what: str, *modules: str) -> None:
    """MissingExtra unless the libraries of the training extra are there."""
    from importlib.util import find_spec

    if any(find_spec(module) is None for module in modules):
        raise MissingExtra(what, "early-exit")
