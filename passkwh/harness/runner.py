"""The one metered runner: load, idle, warm up, generate under marks, score under marks, summarise.

The recorder writes the whole trace; this loop only marks when things began and ended. No device is waited for at a
window's edge and no joule is computed before the end (``summarise``).
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import psutil

from passkwh import adapters
from passkwh.adapters.checkpoint import Checkpoint
from passkwh.adapters.engines.base import Completion, Decoding, Model, SupportsTeacherForcing, SupportsTokenOffsets
from passkwh.benchmarks.base import Candidate, CutByTokens, Task
from passkwh.errors import UsageError
from passkwh.harness.host import host_info, package_versions
from passkwh.harness.meter.base import open_meter
from passkwh.harness.meter.block import metered_span
from passkwh.harness.meter.recorder import Recorder
from passkwh.harness.meter.trace import TRACE_SCHEMA
from passkwh.harness.meter.visibility import visible_channels
from passkwh.harness.plan import Plan, language
from passkwh.harness.progress import Progress, Silent, Status
from passkwh.harness.runs.folder import RunFolder, check_new
from passkwh.harness.summarise import finish
from passkwh.prompts import Prompt
from passkwh.records import (
    Manifest,
    MeterInfo,
    ModelInfo,
    Sample,
    Session,
    Spec,
    Window,
    sample_key,
)
from passkwh.units import ns_to_s

POLL_INTERVAL_S = 0.02
"""Time between readings of every channel."""
WARMUP_CV = 0.05
"""Warm-up ends when the last three batch latencies vary by less than this (standard deviation / mean) ..."""
WARMUP_BATCHES = 10
"""... or after so many batches."""
WARMUP_TOKENS = 16
"""Warm-up completions are short: they exist to settle clocks, caches and lazy kernels, not to be scored."""


@dataclass(frozen=True)
class Item:
    """One sample to be made: its place, its prompt and its identity."""

    task: Task
    sample_index: int
    order: int
    prompt: Prompt
    key: str
    seed: int


@dataclass
class RunSession:
    """One process's work on a run."""

    plan: Plan
    adapter: Model
    folder: RunFolder
    manifest: Manifest
    recorder: Recorder
    progress: Progress
    index: int
    windows: list[Window] = field(default_factory=list)
    busy: float = 0.0

    def window(self, kind: str, start_ns: int) -> Window:
        """A window of this session from ``start_ns`` to now."""
        return Window.model_validate(
            {"kind": kind, "session": self.index, "start_ns": start_ns, "end_ns": self.recorder.mark()}
        )

    def note(self, window: Window) -> None:
        """Keep an idle or warm-up window in the manifest, on disk at once."""
        self.windows.append(window)
        sessions = list(self.manifest.sessions)
        sessions[self.index] = sessions[self.index].model_copy(
            update={"windows": tuple(self.windows), "busy": self.busy}
        )
        self.manifest = self.manifest.model_copy(update={"sessions": tuple(sessions)})
        self.folder.write_manifest(self.manifest)

    def tell(self, stage: str, done: int, total: int, passes: int | None = None) -> None:
        """Report progress with the live figures of the counted channels."""
        counted = {channel.name for channel in self.manifest.meter.channels if channel.counted}
        live = [value for name, value in self.recorder.live().items() if name in counted]
        energies = [energy_j for energy_j, _ in live if energy_j is not None]
        powers = [power_w for _, power_w in live if power_w is not None]
        self.progress.update(
            Status(stage, done, total, passes, sum(energies) if energies else None, sum(powers) if powers else None)
        )


def run(plan: Plan, *, resume: bool = False, progress: Progress | None = None) -> RunFolder:
    """Carry out a plan and return its complete run folder.

    A run that is killed loses at most the batch in flight; called again with ``resume`` it goes on from there.

    Raises:
        UsageError: if the folder cannot be used, memory is too little, or a resumed run was made with another
            model, benchmark, host or meter (naming the field).
    """
    progress = progress or Silent()
    existing = RunFolder.resume(plan.folder) if resume and (plan.folder / "manifest.json").exists() else None
    if existing is None:
        check_new(plan.folder)
    try:
        checkpoint = adapters.prepare(
            plan.checkpoint,
            lambda stage: progress.update(Status(stage, 0, 0)),
            lambda: metered_span(plan.spec.meter),
            plan.exit,
        )
        adapters.check_memory(checkpoint, plan.spec.batch_size, plan.tokens_per_row, engine=plan.spec.engine)
        return _run_metered(plan, checkpoint, existing, progress)
    finally:
        if existing is not None:
            existing.close()


def _run_metered(plan: Plan, checkpoint: Checkpoint, existing: RunFolder | None, progress: Progress) -> RunFolder:
    channels = open_meter(plan.spec.meter)
    try:
        progress.update(Status("loading the model", 0, 0))
        adapter = adapters.load(checkpoint, exit=plan.exit, language=language(plan.benchmark), engine=plan.spec.engine)
        try:
            if isinstance(plan.benchmark, CutByTokens) and isinstance(adapter, SupportsTokenOffsets):
                plan = replace(plan, benchmark=plan.benchmark.cut_by(adapter.token_ends))
            forced = any(task.request.forced for task in plan.benchmark.tasks)
            if forced and not isinstance(adapter, SupportsTeacherForcing):
                raise UsageError(
                    f"{plan.spec.model} only writes text and cannot say what it would have written, which task=token "
                    "asks: leave it out"
                )
            manifest = _manifest(
                plan, adapter.info, visible_channels([channel.info for channel in channels], adapter.info)
            )
            folder = existing or RunFolder.create(plan.folder, manifest)
            try:
                manifest = _next_session(folder, manifest)
                index = len(manifest.sessions) - 1
                writer = folder.trace_writer(index, TRACE_SCHEMA)
                with Recorder(channels, writer.write, index, POLL_INTERVAL_S) as recorder:
                    session = RunSession(plan, adapter, folder, manifest, recorder, progress, index)
                    _work(session)
                    recorder.flush()
                writer.close()
                progress.update(Status("integrating the trace", 0, 0))
                finish(folder, session.manifest, plan.benchmark)
            finally:
                folder.close()
        finally:
            adapter.close()
    finally:
        for channel in channels:
            channel.close()
    return folder


def _work(session: RunSession) -> None:
    plan, spec = session.plan, session.plan.spec
    items = plan_items(spec, session.adapter, plan.benchmark.tasks)
    done = {sample.key: sample for sample in session.folder.samples()}
    batches = [items[start : start + spec.batch_size] for start in range(0, len(items), spec.batch_size)]
    # A batch is made whole or not at all: a half-written one would come back with other padding.
    pending = [number for number, batch in enumerate(batches) if any(item.key not in done for item in batch)]

    decoding = _decoding(plan)
    _idle(session, "idle_before")
    if pending:
        _warm_up(session, batches[pending[0]], decoding)
    for count, number in enumerate(pending):
        session.tell("generating", len(items) - sum(len(batches[n]) for n in pending[count:]), len(items))
        for sample in _generate(session, number, batches[number], decoding):
            done[sample.key] = sample
    _score(session, [done[item.key] for item in items], {item.key: item for item in items})
    _idle(session, "idle_after")


def plan_items(spec: Spec, adapter: Model, tasks: Sequence[Task]) -> list[Item]:
    """Every sample of a run in its order: all tasks once, then all tasks again for the next sample."""
    items: list[Item] = []
    prompts = [task.request.prompt(adapter.info.chat) for task in tasks]
    texts = [adapter.render(prompt) for prompt in prompts]
    for index in range(spec.samples):
        for task, prompt, text in zip(tasks, prompts, texts, strict=True):
            key = sample_key(spec, adapter.info, task.task_id, text, index)
            digest = hashlib.sha256(f"{spec.seed}/{spec.repeat}/{task.task_id}/{index}".encode()).digest()
            items.append(Item(task, index, len(items), prompt, key, int.from_bytes(digest[:4])))
    return items


def _idle(session: RunSession, kind: str) -> None:
    if session.plan.spec.idle_s <= 0:
        return
    session.tell("measuring idle power", 0, 0)
    psutil.cpu_percent()  # what it returns next is the mean since now
    start_ns = session.recorder.mark()
    time.sleep(session.plan.spec.idle_s)
    window = session.window(kind, start_ns)
    session.busy = max(session.busy, psutil.cpu_percent() / 100)
    session.note(window)


def _warm_up(session: RunSession, batch: Sequence[Item], decoding: Decoding) -> None:
    """Short batches until their latency settles; recorded as windows, never counted."""
    short = replace(decoding, max_new_tokens=WARMUP_TOKENS)
    latencies_s: list[float] = []
    while len(latencies_s) < WARMUP_BATCHES:
        session.tell("warming up", len(latencies_s), WARMUP_BATCHES)
        start_ns = session.recorder.mark()
        _answer(session, batch, short)
        window = session.window("warmup", start_ns)
        session.recorder.flush()
        session.note(window)
        latencies_s.append(ns_to_s(window.end_ns - window.start_ns))
        recent = latencies_s[-3:]
        if len(recent) == 3 and statistics.stdev(recent) < WARMUP_CV * statistics.mean(recent):
            return


def _decoding(plan: Plan) -> Decoding:
    spec = plan.spec
    assert spec.max_new_tokens is not None  # filled in by plan()
    stops = {text: None for task in plan.benchmark.tasks for text in task.request.stop}  # in order, each once
    return Decoding(spec.max_new_tokens, spec.temperature, spec.top_p, tuple(stops))


def _answer(session: RunSession, batch: Sequence[Item], decoding: Decoding) -> list[Completion]:
    """What the model makes of a batch: completions, or the answers of teacher forcing where tasks ask for that."""
    if all(item.task.request.forced for item in batch):
        assert isinstance(session.adapter, SupportsTeacherForcing)  # checked when the model was loaded
        return session.adapter.teacher_force([item.task.request.text for item in batch])
    return session.adapter.generate([item.prompt for item in batch], decoding, [item.seed for item in batch])


def _generate(session: RunSession, number: int, batch: Sequence[Item], decoding: Decoding) -> list[Sample]:
    start_ns = session.recorder.mark()
    completions = _answer(session, batch, decoding)
    window = session.window("generate", start_ns).model_copy(update={"batch_id": number})
    samples = [
        _sample(item, completion, window, len(batch)) for item, completion in zip(batch, completions, strict=True)
    ]
    session.recorder.flush()  # the trace reaches the disk before the samples whose energy is in it
    session.folder.append(samples)
    return samples


def _sample(item: Item, completion: Completion, window: Window, batch_size: int) -> Sample:
    first_ns = completion.first_token_ns
    assert window.batch_id is not None
    return Sample(
        key=item.key,
        task_id=item.task.task_id,
        sample_index=item.sample_index,
        order=item.order,
        batch_id=window.batch_id,
        batch_size=batch_size,
        seed=item.seed,
        prompt_tokens=completion.prompt_tokens,
        completion_tokens=completion.completion_tokens,
        text=completion.text,
        finish_reason=completion.finish_reason,
        latency_s=ns_to_s(window.end_ns - window.start_ns),
        ttft_s=None if first_ns is None else ns_to_s(first_ns - window.start_ns),
        exit_layers=completion.exit_layers,
        generation=window,
    )


def _score(session: RunSession, samples: Sequence[Sample], items: dict[str, Item]) -> None:
    chat = session.adapter.info.chat
    by_key = {sample.key: sample for sample in samples}
    todo = [sample for sample in samples if sample.evaluation is None]
    candidates = [
        Candidate(s.key, s.task_id, s.text, continues=not chat or items[s.key].task.request.raw) for s in todo
    ]
    passes = sum(s.verdict is not None and s.verdict.status == "pass" for s in samples)
    session.tell("scoring", len(samples) - len(todo), len(samples), passes)
    session.recorder.mark()
    for done, score in enumerate(session.plan.benchmark.score(candidates), start=len(samples) - len(todo) + 1):
        window = Window(kind="score", session=session.index, start_ns=score.start_ns, end_ns=score.end_ns)
        scored = by_key[score.key].model_copy(
            update={
                "evaluation": window,
                "evaluation_cpu_s": score.cpu_s,
                "verdict": score.verdict,
                "scores": score.scores,
            }
        )
        session.recorder.mark()
        session.recorder.flush()
        session.folder.append([scored])
        passes += score.verdict is not None and score.verdict.status == "pass"
        session.tell("scoring", done, len(samples), passes)


# ---------------------------------------------------------------- manifest


def _manifest(plan: Plan, model: ModelInfo, channels: Sequence[object]) -> Manifest:
    return Manifest(
        run_id=plan.folder.name,
        status="running",
        spec=plan.spec,
        model=model,
        benchmark=plan.benchmark.info,
        host=host_info(),
        meter=MeterInfo.model_validate(
            {"name": plan.spec.meter, "interval_s": POLL_INTERVAL_S, "channels": tuple(channels)}
        ),
        versions=package_versions(),
    )


def _next_session(folder: RunFolder, fresh: Manifest) -> Manifest:
    """Open the next session of a run, refusing to go on with anything that would change what is measured."""
    stored = folder.manifest()
    for name in ("spec", "model", "benchmark", "host", "meter"):
        old, new = getattr(stored, name), getattr(fresh, name)
        differing = (f for f in type(old).model_fields if getattr(old, f) != getattr(new, f) and f != "schema_version")
        if (changed := next(differing, None)) is not None:
            raise UsageError(
                f"{folder.path} was begun with another {name}.{changed} ({getattr(old, changed)!r}, now "
                f"{getattr(new, changed)!r}): resume it as it was, or start a new run with another --out"
            )
    session = Session(index=len(stored.sessions), started_at=datetime.now(UTC).isoformat(timespec="seconds"))
    manifest = stored.model_copy(update={"sessions": (*stored.sessions, session)})
    folder.write_manifest(manifest)
    return manifest
