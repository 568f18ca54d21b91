"""``bench train agent``: record, train, export, judge, and note in the bundle what came out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from passkwh.adapters.early_exit.bundle import AGENTS
from passkwh.adapters.early_exit.policy import PolicyMeta
from passkwh.adapters.early_exit.training import evaluate as judging
from passkwh.adapters.early_exit.training import plots
from passkwh.adapters.early_exit.training.agent import Hyperparameters, Trained, train
from passkwh.adapters.early_exit.training.data import Corpus
from passkwh.adapters.early_exit.training.environment import Recorded
from passkwh.adapters.early_exit.training.model import Student
from passkwh.adapters.early_exit.training.recording import Recording, Settings, record
from passkwh.adapters.early_exit.training.supervised import Supervision, fit
from passkwh.adapters.quantization.make import OpenSpan

REPORT = "report.json"
CURVE, EXITS = "reward-per-step.svg", "optimal-exits.svg"


@dataclass(frozen=True)
class Space:
    """How much is recorded."""

    max_bytes: int
    max_tokens: int
    files: int | None = None
    held_out_files: int | None = None


def teach_agent(
    student: Student,
    corpora: list[Corpus],
    held_out: list[Corpus],
    bundle: Path,
    work: Path,
    recordings: Path,
    name: str,
    plan: Hyperparameters | Supervision,
    space: Space,
    resume: bool = False,
    meter: OpenSpan | None = None,
    tick: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Train the agent ``name`` of a bundle, by PPO or told the answers; checkpoints, logs and figures stay in ``work``.

    What is in ``recordings`` already is used again, and a recording that was interrupted is finished: agents of one
    language can share them.

    Returns:
        what the bundle's card then says of the agent.
    """
    start_ns = time.monotonic_ns()
    work.mkdir(parents=True, exist_ok=True)
    with meter() if meter else nullcontext(None) as spent:
        seen = Recorded(_recordings(student, corpora, recordings / "train", space, space.files, "recording", tick))
        recorded_s = (time.monotonic_ns() - start_ns) / 1e9
        unseen = Recorded(
            _recordings(
                student, held_out, recordings / "held-out", space, space.held_out_files, "recording held-out", tick
            )
        )
        train_ns = time.monotonic_ns()

        def told(done: int, total: int) -> None:
            tick("training", done, total)

        if isinstance(plan, Supervision):
            trained = fit(seen, plan, told)
        else:
            trained = train(seen, plan, work / "training", resume, tick=told)
        trained_s = (time.monotonic_ns() - train_ns) / 1e9
    tick("judging", 0, 1)
    report = judging.judge(
        trained.policy, judging.Held.of(seen, plan.rewards), judging.Held.of(unseen, plan.rewards), plan.seed
    )
    (work / REPORT).write_text(report.model_dump_json(indent=2) + "\n", "utf-8")
    title = f"{student.card.base.model}, {corpora[0].language}"
    if trained.episodes:
        plots.reward_curve(trained.episodes, title, work / CURVE)
    plots.optimal_exits(trained.optimal_exits, title, work / EXITS)
    _export(trained, student, corpora[0].language, plan, bundle, name)
    notes = {
        "data": [f"{corpus.description}: {_size(part)}" for corpus, part in zip(corpora, seen.recordings, strict=True)],
        "held_out": [
            f"{corpus.description}: {_size(part)}" for corpus, part in zip(held_out, unseen.recordings, strict=True)
        ],
        "method": "supervised" if isinstance(plan, Supervision) else "ppo",
        "steps": trained.steps,
        "episodes": len(trained.episodes),
        "recording_s": round(recorded_s, 1),
        "training_s": round(trained_s, 1),
        "duration_s": round((time.monotonic_ns() - start_ns) / 1e9, 1),
        "energy": spent().model_dump(mode="json") if spent else None,
        "optimal_exits": trained.optimal_exits,
        "ahead_of": {
            metric: {kind: gain.model_dump() for kind, gain in gains.items()} for metric, gains in report.ahead.items()
        },
        "rivals": report.rivals,
        "rules": {
            rule: report.rules[rule].model_dump()
            for rule in dict.fromkeys(
                [*(f"agent:{at:g}" for at in judging.THRESHOLDS), "random", "oracle"]
                + [rule for best in report.rivals.values() for rule in best.values()]
            )
        },
    }
    agents = dict(student.card.notes.get("agents", {})) | {name: notes}
    student.card.model_copy(update={"notes": student.card.notes | {"agents": agents}}).write(bundle)
    return notes


def _recordings(
    student: Student,
    corpora: list[Corpus],
    folder: Path,
    space: Space,
    files: int | None,
    stage: str,
    tick: Callable[[str, int, int], None],
) -> list[Recording]:
    """One recording of each corpus, with an equal share of the space."""
    made = []
    for place, corpus in enumerate(corpora):
        settings = Settings(corpus=corpus.description, language=corpus.language, max_tokens=space.max_tokens)
        share = None if files is None else max(1, files // len(corpora))

        def told(looked_at: int, tokens: int, share: int | None = share) -> None:
            tick(stage, looked_at, share or 0)

        made.append(
            record(student, corpus, folder / str(place), settings, space.max_bytes // len(corpora), share, told)
        )
    return made


def _size(recording: Recording) -> str:
    return f"{len(recording.index.files)} files, {recording.tokens} tokens recorded"


def _export(
    trained: Trained, student: Student, language: str, plan: Hyperparameters | Supervision, bundle: Path, name: str
) -> None:
    card = student.card
    options = {key: value for key, value in asdict(plan).items() if isinstance(value, int | float | str)}
    options |= {f"reward_{key}": value for key, value in asdict(plan.rewards).items()}
    meta = PolicyMeta(
        model=card.base.model,
        revision=card.base.revision,
        hidden_size=card.base.hidden_size,
        layers=card.base.layers,
        exits=card.exits,
        head=card.head,
        taught=student.taught,
        language=language,
        trained_steps=trained.steps,
        hyperparameters=options | {"hidden": json.dumps(list(plan.hidden))},
        seed=plan.seed,
    )
    trained.policy.save(bundle / AGENTS / name, meta)
