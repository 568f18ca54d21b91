"""``bench train agent``: record, train, export, evaluate, and note in the bundle what came out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from passkwh.adapters.early_exit.bundle import AGENTS
from passkwh.adapters.early_exit.policy import PolicyMeta
from passkwh.adapters.early_exit.training import evaluate as evaluation
from passkwh.adapters.early_exit.training import plots
from passkwh.adapters.early_exit.training.agent import PpoSettings, Trained, train
from passkwh.adapters.early_exit.training.data import TrainingCorpus
from passkwh.adapters.early_exit.training.job import TrainingJob
from passkwh.adapters.early_exit.training.log import TrainingLog, moving_rewards
from passkwh.adapters.early_exit.training.recorder import record
from passkwh.adapters.early_exit.training.recording import Recorded, Recording, RecordingSettings
from passkwh.adapters.early_exit.training.supervised import SupervisedSettings, fit

REPORT = "report.json"


@dataclass(frozen=True)
class RecordingLimits:
    """How much is recorded."""

    max_bytes: int
    max_tokens: int
    """Of each file."""
    files: int | None = None
    held_out_files: int | None = None
    written: bool = False
    """Episodes are what the model writes, as in the paper, and not the files' own text."""
    rounds: int = 8
    """Contexts of each file, where the model writes."""


@dataclass(frozen=True)
class AgentTraining:
    """One agent to be trained."""

    name: str
    """Of the agent in the bundle."""
    settings: PpoSettings | SupervisedSettings
    limits: RecordingLimits
    work: Path
    """Folder for checkpoints, logs and figures."""
    recordings: Path
    """Folder for recordings. What it holds already is used again: agents of one language can share them."""
    resume: bool = False
    """Go on with the training in ``work``."""


def train_agent(job: TrainingJob, training: AgentTraining) -> dict[str, Any]:
    """Train an agent of a bundle, by PPO or on labels, and evaluate it; gives what the bundle's card says of it then.

    A recording that was interrupted is finished first.
    """
    start_ns = time.monotonic_ns()
    settings, limits, work = training.settings, training.limits, training.work
    work.mkdir(parents=True, exist_ok=True)
    with job.costed() as cost:
        data = _record(job, training, job.corpora, "train", limits.files, "recording")
        recording_s = (time.monotonic_ns() - start_ns) / 1e9
        held_out = _record(job, training, job.held_out, "held-out", limits.held_out_files, "recording held-out")
        train_ns = time.monotonic_ns()
        tick = _stage(job, "training")
        if isinstance(settings, SupervisedSettings):
            trained = fit(data, settings, tick)
        else:
            trained = train(data, settings, work / "training", training.resume, tick=tick)
        training_s = (time.monotonic_ns() - train_ns) / 1e9
    job.tick("evaluating", 0, 1)
    seen, unseen = (evaluation.EvaluationTokens.of(recorded, settings.rewards) for recorded in (data, held_out))
    report = evaluation.evaluate(trained.policy, seen, unseen, settings.seed)
    (work / REPORT).write_text(report.model_dump_json(indent=2) + "\n", "utf-8")
    card = job.trainable.card
    log = TrainingLog(
        kind="agent",
        model=card.base.model,
        languages=(job.corpora[0].language,),
        exits=card.exits,
        rewards=moving_rewards([episode.reward / episode.length for episode in trained.episodes]),
        optimal_exits=trained.optimal_exits,
    )
    log.write(work)
    plots.save(log, work)
    trained.policy.save(job.bundle / AGENTS / training.name, _meta(job, training, trained))
    named = [*(f"agent:{at:g}" for at in evaluation.THRESHOLDS), "random", "oracle"]
    named += [rule for best in report.rivals.values() for rule in best.values()]
    notes = {
        "data": _described(job.corpora, data),
        "held_out": _described(job.held_out, held_out),
        "method": "supervised" if isinstance(settings, SupervisedSettings) else "ppo",
        "steps": trained.steps,
        "episodes": len(trained.episodes),
        "recording_s": round(recording_s, 1),
        "training_s": round(training_s, 1),
        "duration_s": round((time.monotonic_ns() - start_ns) / 1e9, 1),
        "energy": cost.energy,
        "optimal_exits": trained.optimal_exits,
        "ahead_of": report.model_dump()["ahead"],
        "rivals": report.rivals,
        "rules": {rule: report.rules[rule].model_dump() for rule in dict.fromkeys(named)},
    }
    job.write_card({"agents": dict(card.notes.get("agents", {})) | {training.name: notes}})
    return notes


def _record(
    job: TrainingJob,
    training: AgentTraining,
    corpora: Sequence[TrainingCorpus],
    folder: str,
    files: int | None,
    stage: str,
) -> Recorded:
    """One recording of each corpus, with an equal share of the space and of the files."""
    share = None if files is None else max(1, files // len(corpora))
    tick = _stage(job, stage)

    rounds = training.limits.rounds if training.limits.written else 1

    def progress(looked_at: int, tokens: int) -> None:
        tick(looked_at, (share or 0) * rounds)

    recordings = []
    for place, corpus in enumerate(corpora):
        limits = training.limits
        settings = RecordingSettings(
            corpus=corpus.description,
            language=corpus.language,
            max_tokens=limits.max_tokens,
            written=limits.written,
            rounds=rounds,
        )
        where, max_bytes = training.recordings / folder / str(place), training.limits.max_bytes // len(corpora)
        recordings.append(record(job.trainable, corpus, where, settings, max_bytes, share, progress))
    return Recorded(recordings)


def _stage(job: TrainingJob, stage: str) -> Callable[[int, int], None]:
    return lambda done, total: job.tick(stage, done, total)


def _described(corpora: Sequence[TrainingCorpus], recorded: Recorded) -> list[str]:
    def size(recording: Recording) -> str:
        return f"{len(recording.index.files)} files, {recording.tokens} tokens recorded"

    return [f"{corpus.description}: {size(part)}" for corpus, part in zip(corpora, recorded.recordings, strict=True)]


def _meta(job: TrainingJob, training: AgentTraining, trained: Trained) -> PolicyMeta:
    card, settings = job.trainable.card, training.settings
    options = {key: value for key, value in asdict(settings).items() if isinstance(value, int | float | str)}
    options |= {f"reward_{key}": value for key, value in asdict(settings.rewards).items()}
    return PolicyMeta(
        model=card.base.model,
        revision=card.base.revision,
        hidden_size=card.base.hidden_size,
        layers=card.base.layers,
        exits=card.exits,
        head=card.head,
        weights_hash=job.trainable.weights_hash,
        language=job.corpora[0].language,
        trained_steps=trained.steps,
        hyperparameters=options | {"hidden": json.dumps(list(settings.hidden))},
        seed=settings.seed,
    )
