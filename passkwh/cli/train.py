"""``bench train``: teach a model to be left early: fine-tuning, shortcut heads, the agent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from passkwh.cli.options import AsJson, Meter
from passkwh.cli.output import note, number, print_json, print_table, table
from passkwh.errors import MissingExtra, UsageError

if TYPE_CHECKING:
    from passkwh.adapters.checkpoint import Checkpoint
    from passkwh.adapters.early_exit.training.agent import Hyperparameters
    from passkwh.adapters.early_exit.training.data import Corpus
    from passkwh.adapters.early_exit.training.supervised import Supervision
    from passkwh.adapters.quantization.make import OpenSpan

app = typer.Typer(no_args_is_help=True, help="Teach a model to be left early (GREEN-CODE).")

Model = Annotated[str, typer.Option("--model", "-m", help="Registry name (see `bench list`), hub id or local folder.")]
Bundle = Annotated[Path, typer.Option(help="Folder of the early-exit bundle, made if need be.")]
Data = Annotated[
    list[str], typer.Option(help="embedded, hub, or a file or folder in CodeXGLUE's token form; repeat for more.")
]
Languages = Annotated[list[str], typer.Option("--language", "-l", help="python or java, one for each --data.")]
HeldOut = Annotated[
    list[str] | None, typer.Option(help="What to judge on, as --data: its test split (the same data by default).")
]
Exits = Annotated[str | None, typer.Option(help="Layers, as in 4,8,12,30, for a new bundle (the paper's by default).")]


@app.command()
def shortcut(
    model: Model,
    bundle: Bundle,
    data: Data = ["embedded"],  # noqa: B006  (typer copies it)
    language: Languages = ["python"],  # noqa: B006
    held_out: HeldOut = None,
    tokens: Annotated[int, typer.Option(help="Tokens to fit to.", min=1)] = 100_000,
    length: Annotated[int, typer.Option(help="Tokens read together.", min=2)] = 512,
    rank: Annotated[int | None, typer.Option(help="Rank of smaller maps; whole ones by default.", min=1)] = None,
    exits: Exits = None,
    meter: Meter = "auto",
    as_json: AsJson = False,
) -> None:
    """Fit a linear map from each exit to the last layer, in closed form: one pass, no gradients, no GPU."""
    from passkwh.adapters.early_exit.training import model as students
    from passkwh.adapters.early_exit.training.fitting import fit_shortcut
    from passkwh.cli.live import LiveProgress
    from passkwh.harness.progress import Status

    corpora = _corpora(data, language, "train")
    judged = _held_out(data, language, held_out)
    checkpoint = _checkpoint(model)
    with LiveProgress(f"shortcut {model}") as live:
        notes = fit_shortcut(
            students.load(checkpoint, bundle, _layers(exits)),
            corpora,
            judged,
            bundle,
            tokens,
            length,
            rank,
            meter=_meter(meter),
            tick=lambda stage, done, total: live.update(Status(stage, done, total)),
        )
    if as_json:
        print_json({"bundle": str(bundle), **notes})
        return
    rows = []
    for name, quality in notes["agreement_with_last_layer"].items():
        for layer, before in quality["before"].items():
            rows.append([name, str(layer), f"{before:.1%}", f"{quality['after'][layer]:.1%}"])
    print_table(table("agreement with the last layer", ["files", "exit", "before", "after"], rows, right=[1, 2, 3]))
    _said(bundle, notes)


@app.command()
def lite(
    model: Model,
    bundle: Bundle,
    data: Data = ["embedded"],  # noqa: B006
    language: Languages = ["python"],  # noqa: B006
    held_out: HeldOut = None,
    work: Annotated[Path | None, typer.Option(help="Folder for checkpoints and logs (BUNDLE-training/lite).")] = None,
    method: Annotated[str, typer.Option(help="lora: small matrices beside the weights; full: all of them.")] = "lora",
    rank: Annotated[int, typer.Option(help="Of LoRA's matrices.")] = 16,
    learning_rate: Annotated[
        float, typer.Option(help="At the beginning; 0: 1e-5 for full, as the paper, 3e-4 for lora.", min=0)
    ] = 0.0,
    batch_size: Annotated[int, typer.Option(help="Rows read together.")] = 4,
    accumulation: Annotated[int, typer.Option(help="Batches to a step of the optimizer.")] = 32,
    epochs: Annotated[int, typer.Option(help="Times through the data.")] = 1,
    length: Annotated[int, typer.Option(help="Tokens of a row.", min=2)] = 1024,
    tokens: Annotated[int | None, typer.Option(help="Tokens of the data to use; all by default.", min=2)] = None,
    precision: Annotated[str, typer.Option(help="bf16 or float32.")] = "bf16",
    seed: Annotated[int, typer.Option(help="Of the order of rows and LoRA's beginning.")] = 0,
    checkpoint_every: Annotated[int, typer.Option(help="Steps between checkpoints.", min=1)] = 10,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training in --work.")] = False,
    exits: Exits = None,
    meter: Meter = "auto",
    as_json: AsJson = False,
) -> None:
    """Fine-tune a model so that every exit speaks through its one LM head (LITE)."""
    need_extra("bench train lite", "peft", "tensorboard")
    from passkwh.adapters.early_exit.training import model as students
    from passkwh.adapters.early_exit.training.finetuning import Plan, Progress, finetune
    from passkwh.cli.live import LiveProgress
    from passkwh.harness.progress import Status

    plan = Plan(method, rank, learning_rate, batch_size, accumulation, epochs, length, tokens, precision, seed)
    corpora = _corpora(data, language, "train")
    judged = _held_out(data, language, held_out)
    checkpoint = _checkpoint(model)
    folder = work or bundle.with_name(f"{bundle.name}-training") / "lite"
    with LiveProgress(f"lite {model}") as live:

        def show(progress: Progress) -> None:
            losses = ", ".join(f"{layer}: {loss:.2f}" for layer, loss in progress.exits.items())
            live.update(Status(f"training (loss {progress.loss:.3f}; {losses})", progress.step, progress.total))

        notes = finetune(
            students.load(checkpoint, None, _layers(exits), plan.dtype),
            corpora,
            judged,
            bundle,
            folder,
            plan,
            resume,
            checkpoint_every,
            meter=_meter(meter),
            tick=show,
        )
    if as_json:
        print_json({"bundle": str(bundle), "work": str(folder), **notes})
        return
    rows = []
    for layer, loss in notes["before"]["loss"].items():
        after = notes["after"]
        agreed = notes["before"]["agreement"][layer], after["agreement"][layer]
        rows.append([layer, f"{loss:.3f}", f"{after['loss'][layer]:.3f}", *(f"{share:.1%}" for share in agreed)])
    heads = ["exit", "loss before", "after", "agreement before", "after"]
    print_table(table("on held-out files", heads, rows, right=[0, 1, 2, 3, 4]))
    _said(bundle, notes)


@app.command()
def agent(
    model: Model,
    bundle: Bundle,
    data: Data = ["embedded"],  # noqa: B006
    language: Annotated[str, typer.Option("--language", "-l", help="python or java.")] = "python",
    held_out: HeldOut = None,
    name: Annotated[str | None, typer.Option(help="Of the agent in the bundle; the language by default.")] = None,
    work: Annotated[
        Path | None, typer.Option(help="Folder for recordings, checkpoints, logs and figures (BUNDLE-training).")
    ] = None,
    method: Annotated[str, typer.Option(help="ppo, or supervised: told the answers instead of rewarded.")] = "ppo",
    setting: Annotated[
        str | None, typer.Option(help="Column of table III: large-buffer (the default) or small-buffer.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Training steps (500,000).", min=1)] = None,
    hidden: Annotated[str | None, typer.Option(help="Units of one or two hidden layers, as in 64,64.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Price of leaving late (python 0.5, java 1).")] = None,
    beta: Annotated[float | None, typer.Option(help="Price of leaving early (python 0.5, java 1).")] = None,
    gamma: Annotated[float | None, typer.Option(help="Price of going on too far (python 0.5, java 1).")] = None,
    epsilon: Annotated[float | None, typer.Option(help="Price of a wrong token from too deep (0.1).")] = None,
    seed: Annotated[int, typer.Option(help="Of weights, episodes and actions.")] = 0,
    max_gb: Annotated[float, typer.Option(help="Most disk for the recordings, and as much for held-out ones.")] = 2.0,
    max_tokens: Annotated[int, typer.Option(help="Tokens read of each file.", min=40)] = 1024,
    files: Annotated[int | None, typer.Option(help="Files recorded at most.", min=1)] = None,
    held_out_files: Annotated[int | None, typer.Option(help="Held-out files recorded at most.", min=1)] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training in --work.")] = False,
    exits: Exits = None,
    meter: Meter = "auto",
    as_json: AsJson = False,
) -> None:
    """Record a model at its exits, train the agent that decides where tokens leave, and judge it."""
    need_extra("bench train agent", "gymnasium", "stable_baselines3", "tensorboard")
    from passkwh.adapters.early_exit.training import model as students
    from passkwh.adapters.early_exit.training.rewards import of_language
    from passkwh.adapters.early_exit.training.train_agent import Space, teach_agent
    from passkwh.cli.live import LiveProgress
    from passkwh.harness.progress import Status

    corpora = _corpora(data, [language], "train")
    judged = _held_out(data, [language], held_out)
    rewards = of_language(language, alpha=alpha, beta=beta, gamma=gamma, epsilon=epsilon)
    widths = None if hidden is None else tuple(_numbers("--hidden", hidden))
    plan = _plan(method, setting, steps, resume, {"hidden": widths, "seed": seed, "rewards": rewards})
    if max_gb <= 0:
        raise UsageError(f"--max-gb is {max_gb}: give a size above 0")
    space = Space(int(max_gb * 1e9), max_tokens, files, held_out_files)
    name = name or language
    root = work or bundle.with_name(f"{bundle.name}-training")
    folder = root / name
    checkpoint = _checkpoint(model)
    with LiveProgress(f"agent {name}") as live:
        notes = teach_agent(
            students.load(checkpoint, bundle, _layers(exits)),
            corpora,
            judged,
            bundle,
            folder,
            root / "recordings" / language,
            name,
            plan,
            space,
            resume,
            _meter(meter),
            lambda stage, done, total: live.update(Status(stage, done, total)),
        )
    if as_json:
        print_json({"bundle": str(bundle), "agent": name, "work": str(folder), **notes})
        return
    rows = [[rule, *(_spread(figures[key]) for key in _FIGURES)] for rule, figures in notes["rules"].items()]
    print_table(table("on held-out files", ["rule", *_FIGURES.values()], rows, right=[1, 2, 3, 4]))
    for metric, gains in notes["ahead_of"].items():
        told = "; ".join(f"{kind} {_spread(gain)}" for kind, gain in gains.items())
        note(f"{_FIGURES[metric]}: {notes['rivals'][metric]['agent']} is ahead of {told}")
    note(f"checkpoints, TensorBoard logs and figures: {folder}; recordings: {root / 'recordings' / language}")
    _said(bundle, notes)


_FIGURES = {
    "reward_per_token": "reward/token",
    "reward_per_step": "reward/step",
    "agreement": "agreement",
    "mean_exit_layer": "exit layer",
}


def _spread(interval: dict[str, float]) -> str:
    return f"{interval['mean']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"


def _said(bundle: Path, notes: dict[str, Any]) -> None:
    energy = notes.get("energy") or {}
    cost = f"{number(energy.get('gross_j'), 4, 'J')} ({energy.get('provenance') or energy.get('reason')})"
    note(f"wrote {bundle}; {notes['duration_s']:.0f} s, {cost}")


def _plan(
    method: str, setting: str | None, steps: int | None, resume: bool, changes: dict[str, Any]
) -> Hyperparameters | Supervision:
    from passkwh.adapters.early_exit.training.agent import with_overrides
    from passkwh.adapters.early_exit.training.supervised import Supervision

    if method == "ppo":
        return with_overrides(setting or "large-buffer", steps=steps, **changes)
    if method != "supervised":
        raise UsageError(f"--method is {method!r}: use ppo or supervised")
    if setting or steps or resume:
        raise UsageError(
            "--setting, --steps and --resume are of --method ppo: leave them out, supervised takes seconds"
        )
    return Supervision(**{name: value for name, value in changes.items() if value is not None})


def _checkpoint(model: str) -> Checkpoint:
    from passkwh import adapters
    from passkwh.adapters.device import bound_kernel_caches

    bound_kernel_caches()
    return adapters.prepare(adapters.resolve(model), note)


def _corpora(data: list[str], languages: list[str], split: str) -> list[Corpus]:
    """The files that each ``--data`` names, read lazily; what is plainly of another language is refused."""
    from passkwh.adapters.early_exit.training.data import Corpus
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
        corpus = Corpus(where, language, lambda source=source: (file.text for file in source.read()))  # type: ignore[misc]
        corpus.check()
        corpora.append(corpus)
    return corpora


def _held_out(data: list[str], languages: list[str], held_out: list[str] | None) -> list[Corpus]:
    """What to judge on: the test splits of ``held_out`` in every language, or else of the data; none of them twice."""
    pairs = [(name, language) for name in held_out for language in dict.fromkeys(languages)] if held_out else []
    pairs = pairs or list(zip(data, languages * (len(data) if len(languages) == 1 else 1), strict=True))
    pairs = list(dict.fromkeys(pairs))
    return _corpora([name for name, _ in pairs], [language for _, language in pairs], "test")


def _layers(exits: str | None) -> list[int] | None:
    return None if exits is None else _numbers("--exits", exits)


def _numbers(option: str, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"{option} is {text!r}: give whole numbers separated by commas, as in 4,8,12") from None


def _meter(name: str) -> OpenSpan:
    """The meter for what training spends; a wrong name is an error before the work, not after it."""
    from passkwh.harness.meter.base import meter_channels
    from passkwh.harness.meter.block import metered_span

    meter_channels(name)
    return lambda: metered_span(name)


def need_extra(what: str, *modules: str) -> None:
    """MissingExtra unless the libraries of the training extra are there."""
    from importlib.util import find_spec

    if any(find_spec(module) is None for module in modules):
        raise MissingExtra(what, "early-exit")
