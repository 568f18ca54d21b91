"""The one metered runner: load, idle, warm up, generate under marks, score under marks, summarise.

The recorder writes the whole trace; this loop only marks when things began and ended. No device is waited for at a
window's edge and no joule is computed before the end (``summarise``).
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import psutil

from passkwh import adapters
from passkwh.adapters.engines.base import (
    Completion,
    Decoding,
    KeepsLog,
    Model,
    SupportsTeacherForcing,
    SupportsTokenOffsets,
)
from passkwh.benchmarks.base import Benchmark, Candidate, CutByTokens, Task
from passkwh.errors import UsageError
from passkwh.harness.host import host_info, package_versions
from passkwh.harness.meter.base import Channel, opened
from passkwh.harness.meter.block import metered_span
from passkwh.harness.meter.recorder import Recorder
from passkwh.harness.meter.trace import TRACE_SCHEMA
from passkwh.harness.meter.visibility import visible_channels
from passkwh.harness.plan import Plan, language, refuse_problems
from passkwh.harness.progress import Progress, Shielded, Silent, Status, Stop
from passkwh.harness.runs.folder import MANIFEST, SAMPLES, RunFolder, check_new
from passkwh.harness.summarise import finish
from passkwh.prompts import ChatPrompt, Prompt, TextPrompt
from passkwh.records import (
    Manifest,
    MeterInfo,
    Sample,
    Session,
    Spec,
    Verdict,
    Window,
    sample_key,
    storable,
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


MOST_CLOCK_JUMPS = 5
"""So often a run goes on in a new session after a clock has jumped."""


class ClockJumpError(Exception):
    """Moments before and after cannot be compared: the session ends, and what was under way is made again."""


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

    spec: Spec
    benchmark: Benchmark
    model: Model
    folder: RunFolder
    manifest: Manifest
    recorder: Recorder
    progress: Progress
    windows: list[Window] = field(default_factory=list)
    busy: float = 0.0

    @property
    def index(self) -> int:
        """Place among the manifest's sessions."""
        return len(self.manifest.sessions) - 1

    def mark(self) -> int:
        """This moment in ns. Raises ClockJumpError where it cannot be compared with earlier ones."""
        now_ns = self.recorder.mark()
        if (jump := self.recorder.clock_jump) is not None:
            raise ClockJumpError(jump)
        return now_ns

    def window(self, kind: str, start_ns: int) -> Window:
        """A window of this session from ``start_ns`` to now."""
        return Window.model_validate({"kind": kind, "session": self.index, "start_ns": start_ns, "end_ns": self.mark()})

    def note(self, window: Window) -> None:
        """Keep an idle or warm-up window in the manifest, on disk at once."""
        self.windows.append(window)
        *others, mine = self.manifest.sessions
        mine = mine.model_copy(update={"windows": tuple(self.windows), "busy": self.busy})
        self.manifest = self.manifest.model_copy(update={"sessions": (*others, mine)})
        self.folder.write_manifest(self.manifest)

    def report_progress(self, stage: str, done: int, total: int, passes: int | None = None) -> None:
        """Hand on the progress, with the live figures of the counted channels."""
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
        UsageError: if the plan has problems, the folder cannot be used, memory is too little, or a resumed run was
            made with another model, benchmark, host or meter (naming the field).
    """
    refuse_problems([plan])
    assert plan.checkpoint is not None
    assert plan.benchmark is not None
    progress = Shielded(progress or Silent())
    existing = RunFolder.resume(plan.folder) if resume and (plan.folder / MANIFEST).exists() else None
    if existing is None:
        check_new(plan.folder)
    with ExitStack() as stack:
        if existing is not None:
            stack.callback(existing.close)
        checkpoint = adapters.prepare(
            plan.checkpoint,
            lambda stage: progress.update(Status(stage, 0, 0)),
            lambda: metered_span(plan.spec.meter),
            plan.exit,
        )
        on = adapters.check_memory(
            checkpoint, plan.spec.batch_size, plan.tokens_per_row, plan.spec.devices, plan.spec.engine
        )
        channels = stack.enter_context(opened(plan.spec.meter))
        progress.update(Status("loading the model", 0, 0))
        writes = language(plan.benchmark)
        model = adapters.load(
            checkpoint,
            on,
            plan.exit,
            writes,
            plan.spec.engine,
            thinking=plan.spec.thinking,
            parallel=plan.spec.batch_size,
            max_tokens=plan.tokens_per_row,
            options=plan.spec.engine_options,
            log=plan.folder.with_name(f"{plan.folder.name}.engine.log"),
            report=lambda stage: progress.update(Status(stage, 0, 0)),
        )
        stack.callback(model.close)
        benchmark = _fitted(plan.benchmark, model, plan.spec.model)
        manifest = _manifest(plan, benchmark, model, channels)
        if existing is None:
            folder = RunFolder.create(plan.folder, manifest)
            stack.callback(folder.close)
        else:
            folder, manifest = existing, _same_run(existing, manifest)
        items = plan_items(plan.spec, model, benchmark.tasks)
        _refuse_foreign(folder, manifest, items)
        for _ in range(MOST_CLOCK_JUMPS):
            manifest = _begin_session(folder, manifest)
            if isinstance(model, KeepsLog):
                model.move_log(folder.path / f"engine-{len(manifest.sessions) - 1:03}.log")
            try:
                session = _record(plan.spec, benchmark, model, folder, manifest, channels, progress, items)
                break
            except ClockJumpError as error:
                manifest = _end_session(folder, str(error))
            except BaseException as error:
                with suppress(UsageError):  # the disk may be what fails
                    _end_session(folder, _why(error))
                raise
        else:
            raise UsageError(
                f"{manifest.sessions[-1].ended}, {MOST_CLOCK_JUMPS} times: let the machine run on, then --resume"
            )
        progress.update(Status("integrating the trace", 0, 0))
        samples = {sample.key: sample for sample in folder.samples()}
        finish(folder, session.manifest, [samples[item.key] for item in items], benchmark)
    return folder


def _fitted(benchmark: Benchmark, model: Model, name: str) -> Benchmark:
    """The benchmark for this model: cut in its tokens where it is cut in tokens. UsageError for what it cannot do."""
    if isinstance(benchmark, CutByTokens) and isinstance(model, SupportsTokenOffsets):
        benchmark = benchmark.cut_by(model.token_ends)
    if any(task.request.forced for task in benchmark.tasks) and not isinstance(model, SupportsTeacherForcing):
        raise UsageError(
            f"{name} only writes text and cannot say what it would have written, which task=token asks: leave it out"
        )
    return benchmark


def _record(
    spec: Spec,
    benchmark: Benchmark,
    model: Model,
    folder: RunFolder,
    manifest: Manifest,
    channels: Sequence[Channel],
    progress: Progress,
    items: Sequence[Item],
) -> RunSession:
    """A session, from its first reading to its last. Raises ClockJumpError; only what was under way is lost."""
    writer = folder.trace_writer(len(manifest.sessions) - 1, TRACE_SCHEMA)
    with Recorder(channels, writer.write, len(manifest.sessions) - 1, POLL_INTERVAL_S) as recorder:
        session = RunSession(spec, benchmark, model, folder, manifest, recorder, progress)
        _work(session, items)
        recorder.flush()
    writer.close()
    return session


def _refuse_foreign(folder: RunFolder, manifest: Manifest, items: Sequence[Item]) -> None:
    """UsageError where the folder holds a sample that is none of this run's, or of a session that it never had."""
    places = {item.key: (item.task.task_id, item.sample_index, item.order, item.seed) for item in items}
    for sample in folder.samples():
        windows = [window for window in (sample.generation, sample.evaluation) if window is not None]
        place = (sample.task_id, sample.sample_index, sample.order, sample.seed)
        if places.get(sample.key) != place or any(window.session >= len(manifest.sessions) for window in windows):
            raise UsageError(
                f"{folder.path / SAMPLES} holds a sample of another run (key {sample.key[:40]}, task "
                f"{sample.task_id[:60]}): remove its line, and --resume makes what is missing"
            )


def _work(session: RunSession, items: Sequence[Item]) -> None:
    """Generate and score what is not on disk yet."""
    spec = session.spec
    done = {sample.key: sample for sample in session.folder.samples()}
    batches = [items[start : start + spec.batch_size] for start in range(0, len(items), spec.batch_size)]
    # A batch is made whole or not at all: a half-written one would come back with other padding.
    pending = [number for number, batch in enumerate(batches) if any(item.key not in done for item in batch)]

    decoding = _decoding(session)
    _idle(session, "idle_before")
    if pending:
        _warm_up(session, batches[pending[0]], decoding)
    for count, number in enumerate(pending):
        session.report_progress("generating", len(items) - sum(len(batches[n]) for n in pending[count:]), len(items))
        for sample in _generate(session, number, batches[number], decoding):
            done[sample.key] = sample
    _score(session, done, items)
    _idle(session, "idle_after")


def plan_items(spec: Spec, model: Model, tasks: Sequence[Task]) -> list[Item]:
    """Every sample of a run in its order: all tasks once, then all tasks again for the next sample."""
    items: list[Item] = []
    prompts = [task.request.prompt(model.info.chat, spec.system) for task in tasks]
    texts = [model.render(prompt) for prompt in prompts]
    for index in range(spec.samples):
        for task, prompt, text in zip(tasks, prompts, texts, strict=True):
            key = sample_key(spec, model.info, task.task_id, text, index)
            digest = hashlib.sha256(f"{spec.seed}/{spec.repeat}/{task.task_id}/{index}".encode()).digest()
            items.append(Item(task, index, len(items), prompt, key, int.from_bytes(digest[:4])))
    return items


def _idle(session: RunSession, kind: str) -> None:
    if session.spec.idle_s <= 0:
        return
    session.report_progress("measuring idle power", 0, 0)
    psutil.cpu_percent()  # what it returns next is the mean since now
    start_ns = session.recorder.mark()
    time.sleep(session.spec.idle_s)
    window = session.window(kind, start_ns)
    session.busy = max(session.busy, psutil.cpu_percent() / 100)
    session.note(window)


def _warm_up(session: RunSession, batch: Sequence[Item], decoding: Decoding) -> None:
    """Short batches until their latency settles; recorded as windows, never counted.

    Their prompts begin otherwise than the run's, so that an engine that keeps what it has computed of a prompt (a
    prefix cache) does not know those of the run.
    """
    short = replace(decoding, max_new_tokens=WARMUP_TOKENS)
    latencies_s: list[float] = []
    while len(latencies_s) < WARMUP_BATCHES:
        session.report_progress("warming up", len(latencies_s), WARMUP_BATCHES)
        start_ns = session.recorder.mark()
        run_batch(session, [_other_prompt(item, len(latencies_s)) for item in batch], short)
        window = session.window("warmup", start_ns)
        session.recorder.flush()
        session.note(window)
        latencies_s.append(ns_to_s(window.end_ns - window.start_ns))
        recent = latencies_s[-3:]
        if len(recent) == 3 and statistics.stdev(recent) < WARMUP_CV * statistics.mean(recent):
            return


def _other_prompt(item: Item, number: int) -> Item:
    """The item with another prompt, of about the same length and never more tokens."""
    mark = f"# warm-up {number}:\n"

    def other(text: str) -> str:
        return mark + text[4 * len(mark) :]  # no tokenizer makes more of the mark than of four times as many characters

    prompt = item.prompt
    if isinstance(prompt, ChatPrompt):
        return replace(item, prompt=replace(prompt, user=other(prompt.user)))
    request = replace(item.task.request, text=other(item.task.request.text))
    return replace(item, prompt=TextPrompt(other(prompt.text)), task=replace(item.task, request=request))


def _decoding(session: RunSession) -> Decoding:
    spec = session.spec
    assert spec.max_new_tokens is not None  # filled in by plan()
    chat = session.model.info.chat
    stops = {text: None for task in session.benchmark.tasks for text in task.request.stops(chat)}  # in order, each once
    return Decoding(spec.max_new_tokens, spec.temperature, spec.top_p, tuple(stops))


def run_batch(session: RunSession, batch: Sequence[Item], decoding: Decoding) -> list[Completion]:
    """What the model makes of a batch: completions, or the answers of teacher forcing where tasks ask for that."""
    if all(item.task.request.forced for item in batch):
        assert isinstance(session.model, SupportsTeacherForcing)  # checked when the model was loaded
        return session.model.teacher_force([item.task.request.text for item in batch])
    return session.model.generate([item.prompt for item in batch], decoding, [item.seed for item in batch])


def _generate(session: RunSession, number: int, batch: Sequence[Item], decoding: Decoding) -> list[Sample]:
    start_ns = session.recorder.mark()
    completions = run_batch(session, batch, decoding)
    window = session.window("generate", start_ns).model_copy(update={"batch_id": number})
    samples = [
        _sample(item, completion, window, len(batch)) for item, completion in zip(batch, completions, strict=True)
    ]
    session.recorder.flush()  # the trace reaches the disk before the samples whose energy is in it
    return session.folder.append(samples)


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
        cached_tokens=completion.cached_tokens,
        retries=completion.retries,
        completion_tokens=completion.completion_tokens,
        text=completion.text,
        reasoning=completion.reasoning,
        finish_reason=completion.finish_reason,
        failure=completion.failure,
        latency_s=ns_to_s(window.end_ns - window.start_ns),
        ttft_s=None if first_ns is None else ns_to_s(first_ns - window.start_ns),
        exit_layers=completion.exit_layers,
        generation=window,
    )


def _score(session: RunSession, samples: dict[str, Sample], items: Sequence[Item]) -> None:
    """Score what has no evaluation yet: each sample in ``samples``, by key, is replaced by the scored one."""
    chat = session.model.info.chat
    todo = [item for item in items if samples[item.key].evaluation is None]
    candidates = [
        Candidate(item.key, item.task.task_id, samples[item.key].text, continues=not chat or item.task.request.raw)
        for item in todo
    ]
    verdicts = [samples[item.key].verdict for item in items]
    passes = sum(verdict is not None and verdict.status == "pass" for verdict in verdicts)
    done = len(items) - len(todo)
    session.report_progress("scoring", done, len(items), passes)
    session.mark()
    for count, score in enumerate(session.benchmark.score(candidates), start=done + 1):
        session.mark()
        window = Window(kind="score", session=session.index, start_ns=score.start_ns, end_ns=score.end_ns)
        sample, verdict = samples[score.key], score.verdict
        if sample.failure and verdict is not None and verdict.status != "not_evaluated":
            verdict = Verdict(status="fail", detail=f"{sample.finish_reason}: {sample.failure}")
        scored = sample.model_copy(
            update={
                "evaluation": window,
                "evaluation_cpu_s": score.cpu_s,
                "verdict": verdict,
                "scores": score.scores,
            }
        )
        session.recorder.flush()
        (samples[score.key],) = session.folder.append([scored])
        passes += verdict is not None and verdict.status == "pass"
        session.report_progress("scoring", count, len(items), passes)


# ---------------------------------------------------------------- manifest


def _manifest(plan: Plan, benchmark: Benchmark, model: Model, channels: Sequence[Channel]) -> Manifest:
    infos = visible_channels([channel.info for channel in channels], model.info)
    return Manifest(
        run_id=plan.folder.name,
        status="running",
        spec=plan.spec,
        model=model.info,
        benchmark=benchmark.info,
        host=host_info(),
        meter=MeterInfo(name=plan.spec.meter, interval_s=POLL_INTERVAL_S, channels=infos),
        versions=package_versions(),
    )


def _same_run(folder: RunFolder, fresh: Manifest) -> Manifest:
    """The manifest of a run that goes on; UsageError where anything that changes what is measured is another now."""
    stored, fresh = folder.manifest(), storable(fresh)
    for name in ("spec", "model", "benchmark", "host", "meter"):
        old, new = getattr(stored, name), getattr(fresh, name)
        known = old.model_fields_set - {"schema_version"}  # what an older program did not write cannot be compared
        differing = (f for f in type(old).model_fields if f in known and getattr(old, f) != getattr(new, f))
        if (changed := next(differing, None)) is not None:
            raise UsageError(
                f"{folder.path} was begun with another {name}.{changed} ({getattr(old, changed)!r}, now "
                f"{getattr(new, changed)!r}): resume it as it was, or start a new run with another --out"
            )
    return stored.model_copy(update={"schema_version": fresh.schema_version})  # what is written now is of this version


def _begin_session(folder: RunFolder, manifest: Manifest) -> Manifest:
    session = Session(index=len(manifest.sessions), started_at=datetime.now(UTC).isoformat(timespec="seconds"))
    manifest = manifest.model_copy(
        update={"sessions": (*manifest.sessions, session), "status": "running", "failure": None}
    )
    folder.write_manifest(manifest)
    return manifest


def _why(error: BaseException) -> str:
    """Why a session ended, in a line for the manifest."""
    if isinstance(error, KeyboardInterrupt | Stop):
        return "interrupted"
    text = str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:300]


def _end_session(folder: RunFolder, why: str) -> Manifest:
    """Note why the session that goes on ended before the run was complete."""
    manifest = folder.manifest()
    *others, mine = manifest.sessions
    sessions = (*others, mine.model_copy(update={"ended": why}))
    manifest = manifest.model_copy(update={"sessions": sessions, "status": "failed", "failure": why})
    folder.write_manifest(manifest)
    return manifest
