"""The one metered runner: load, idle, warm up, generate under marks, score under marks, summarise.

The recorder writes the whole trace; this loop only marks when things began and ended. No device is waited for at a
window's edge and no joule is computed before the end (``summarise``).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress

import psutil

from passkwh import adapters
from passkwh.adapters.engines.base import KeepsLog, Model, SupportsTeacherForcing, SupportsTokenOffsets
from passkwh.benchmarks.base import Benchmark, CutByTokens
from passkwh.errors import UsageError
from passkwh.harness.generating import decoding_of, generate_batches
from passkwh.harness.in_flight import generate_in_flight
from passkwh.harness.items import Item, plan_items
from passkwh.harness.meter.base import Channel, opened
from passkwh.harness.meter.block import metered_span
from passkwh.harness.meter.recorder import Recorder
from passkwh.harness.meter.trace import TRACE_SCHEMA
from passkwh.harness.plan import Plan, language, refuse_problems
from passkwh.harness.progress import Progress, Shielded, Silent, Status, Steps
from passkwh.harness.runs.folder import MANIFEST, RunFolder, check_new
from passkwh.harness.same_run import POLL_INTERVAL_S, new_manifest, refuse_foreign, same_run
from passkwh.harness.scoring import score
from passkwh.harness.sessions import ClockJumpError, RunSession, begin_session, end_session, why_ended
from passkwh.harness.summarise import finish
from passkwh.records import Manifest, Spec

MOST_CLOCK_JUMPS = 5
"""So often a run goes on in a new session after a clock has jumped."""


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
            Steps(progress),
            lambda: metered_span(plan.spec.meter),
            plan.exit,
        )
        on = adapters.check_memory(
            checkpoint, plan.spec.at_once, plan.tokens_per_row, plan.spec.devices, plan.spec.engine
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
            parallel=plan.spec.at_once,
            max_tokens=plan.tokens_per_row,
            options=plan.spec.engine_options,
            log=plan.folder.with_name(f"{plan.folder.name}.engine.log"),
            report=lambda stage: progress.update(Status(stage, 0, 0)),
        )
        stack.callback(model.close)
        benchmark = _fitted(plan.benchmark, model, plan.spec.model)
        manifest = new_manifest(plan, benchmark, model, channels)
        if existing is None:
            folder = RunFolder.create(plan.folder, manifest)
            stack.callback(folder.close)
        else:
            folder, manifest = existing, same_run(existing, manifest)
        items = plan_items(plan.spec, model, benchmark.tasks, plan.infill)
        refuse_foreign(folder, manifest, items)
        for _ in range(MOST_CLOCK_JUMPS):
            manifest = begin_session(folder, manifest)
            if isinstance(model, KeepsLog):
                model.move_log(folder.path / f"engine-{len(manifest.sessions) - 1:03}.log")
            try:
                session = _record(plan.spec, benchmark, model, folder, manifest, channels, progress, items)
                break
            except ClockJumpError as error:
                manifest = end_session(folder, str(error))
            except BaseException as error:
                with suppress(UsageError):  # the disk may be what fails
                    end_session(folder, why_ended(error))
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


def _work(session: RunSession, items: Sequence[Item]) -> None:
    """Generate and score what is not on disk yet."""
    done = {sample.key: sample for sample in session.folder.samples()}
    decoding = decoding_of(session)
    _idle(session, "idle_before")
    made = generate_in_flight if session.spec.concurrency > 1 else generate_batches
    for sample in made(session, items, done.keys(), decoding):
        done[sample.key] = sample
    score(session, done, items)
    _idle(session, "idle_after")


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
