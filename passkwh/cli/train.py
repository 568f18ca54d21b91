"""``bench train``: make an early-exit model: fine-tuning, heads, the agent, calibrated thresholds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from passkwh.cli import complete
from passkwh.cli.options import grouped
from passkwh.cli.output import note, number, print_json, print_table, table
from passkwh.cli.train_options import (
    AgentOptions,
    Common,
    HeadOptions,
    LiteOptions,
    RecordingOptions,
    open_corpora,
)
from passkwh.errors import MissingExtra, UsageError

app = typer.Typer(no_args_is_help=True, help="Train a model's early exits (GREEN-CODE).")


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
            detail = f"loss {progress.loss:.3f}; {losses}"
            live.update(Status("training", progress.step, progress.total, detail=detail))

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
            int(recording.max_gb * 1e9),
            recording.max_tokens,
            recording.files,
            recording.held_out_files,
            recording.online,
            recording.rounds,
        ),
        work=root / name,
        recordings=root / "recordings" / (f"{languages[0]}-online" if recording.online else languages[0]),
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
        typer.Option(
            help="agent (the default), agent,agent=NAME, confidence,candidates=N, ...; repeat for more.",
            autocompletion=complete.exit_rules,
        ),
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
    corpora = open_corpora(common.data or ["embedded"], common.language or ["python"], "dev")
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


def need_extra(what: str, *modules: str) -> None:
    """MissingExtra unless the libraries of the training extra are there."""
    from importlib.util import find_spec

    if any(find_spec(module) is None for module in modules):
        raise MissingExtra(what, "early-exit")
