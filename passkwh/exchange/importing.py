"""From another tool's samples to a run folder with our verdicts.

The folder is complete: statistics, reports and ``bench score`` read it as any other. What the tool did not record is
missing with its reason, energies above all, and its own verdicts stand apart in ``reported.jsonl``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from passkwh import benchmarks
from passkwh.benchmarks.base import Benchmark, Candidate, HasMetrics, Program, Score, ScoresPrograms
from passkwh.errors import UsageError
from passkwh.exchange.contract import ForeignRun, ForeignSample, Import, OwnRun
from passkwh.exchange.foreign_files import ForeignFile
from passkwh.exchange.task_names import task_names
from passkwh.harness.host import host_info, package_versions
from passkwh.harness.meter.trace import TRACE_SCHEMA
from passkwh.harness.runs.consistency import mismatch
from passkwh.harness.runs.files import write_atomic
from passkwh.harness.runs.folder import RunFolder, check_new
from passkwh.harness.runs.table import SampleTable
from passkwh.harness.summarise import summarise
from passkwh.records import (
    BenchmarkInfo,
    Imported,
    Manifest,
    MeterInfo,
    ModelInfo,
    Option,
    Sample,
    Session,
    Spec,
    Summary,
    Window,
    content_hash,
    storable,
)  # fmt: skip
from passkwh.registry import BENCHMARKS, IMPORTS

REPORTED = "reported.jsonl"
"""The tool's own verdicts, a line a sample: key, task and verdicts by the tool's names for them."""
IMPORTED = "imported"
"""Stands for engine, adapter and meter of what was imported."""


@dataclass(frozen=True)
class ImportResult:
    """What an import made."""

    path: Path
    summary: Summary
    imported: Imported
    differing: tuple[str, ...]
    """Tasks of samples that one of the tool's verdicts calls passed and ours does not, or the other way round."""
    notes: tuple[str, ...]


def format_of(file: ForeignFile, name: str | None = None) -> str:
    """The import format of a file: the one that was asked for, else the one that recognises it.

    Raises:
        UsageError: unknown, none recognises it, or several do.
    """
    if name is not None:
        IMPORTS.provider(name)
        return name
    _ = file.content  # a file that cannot be read is no unknown format
    matching = [known for known in IMPORTS.by_preference() if _member(known).recognises(file)]
    if len(matching) != 1:
        seen = f"could be {' or '.join(matching)}" if matching else f"is of none of {', '.join(IMPORTS.names())}"
        raise UsageError(f"{file.path} {seen}, by its content: name its format with --format")
    return matching[0]


def _member(name: str) -> Import:
    member: Import = IMPORTS.get(name)
    return member


def import_file(
    path: Path,
    out: Path,
    *,
    format: str | None = None,
    benchmark: str | None = None,
    options: Mapping[str, Option] | None = None,
    model: str | None = None,
    tool_version: str | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> ImportResult:
    """Read a file of another tool's samples, judge them, and write a run folder at ``out``.

    Args:
        path: what the tool wrote.
        format: name in the registry of imports; by the file's content when None.
        benchmark: ours; as the file names it when None.
        options: of the benchmark, for example ``data``.
        model: what to call the model; as the file names it, else the file's name, when None.
        tool_version: of the tool, for files that do not state it.
        progress: called with samples judged and all samples.

    Raises:
        UsageError: the file cannot be read, is of no known format or benchmark, or ``out`` is taken.
    """
    check_new(out)
    file = ForeignFile(path)
    name = format_of(file, format)
    foreign = _member(name).read(file)
    if foreign.version is None and tool_version is not None:
        foreign = replace(foreign, version=tool_version)
    if foreign.own is not None:
        return _restore(foreign, foreign.own, file, name, out)
    chosen = benchmark or foreign.benchmark
    if chosen is None:
        raise UsageError(
            f"{path}: {foreign.benchmark_in_file!r} of {foreign.tool} is no benchmark that pass@kWh has: give one of "
            f"{', '.join(BENCHMARKS.names())} with --benchmark if its tasks are meant"
        )
    return _judge(foreign, file, name, out, chosen, dict(options or {}), model, progress)


# ---------------------------------------------------------------- samples of another tool


def _judge(
    foreign: ForeignRun,
    file: ForeignFile,
    format: str,
    out: Path,
    benchmark_name: str,
    options: dict[str, Option],
    model: str | None,
    progress: Callable[[int, int], None],
) -> ImportResult:
    member = BENCHMARKS.get(benchmark_name)
    defaults = dict(member.options_for_files) if foreign.programs and hasattr(member, "options_for_files") else {}
    options = {**defaults, **options}
    benchmark = benchmarks.open(benchmark_name, options)
    if foreign.programs and not isinstance(benchmark, ScoresPrograms):
        raise UsageError(f"{file.path}: benchmark {benchmark_name} judges no programs of other tools")
    placed, notes = _placed(foreign, benchmark, file)
    covered = {task_id for task_id, _, _ in placed}
    limit = None
    if len(covered) < len(benchmark.tasks) and covered == {t.task_id for t in benchmark.tasks[: len(covered)]}:
        limit = len(covered)
        benchmark = benchmarks.open(benchmark_name, options, limit)
    imported = Imported(
        tool=foreign.tool, version=foreign.version, format=format, file=file.name, sha256=file.sha256,
        programs=foreign.programs, reported=_reported([sample for _, _, sample in placed]),
    )  # fmt: skip
    manifest = _manifest(foreign, imported, out, benchmark, benchmark_name, options, model, len(covered), placed, limit)
    texts, samples = {}, {}
    requests = {task.task_id: task.request for task in benchmark.tasks}
    for order, (task_id, index, one) in enumerate(placed):
        text = requests[task_id].continued(one.text) if one.continues else one.text
        key = content_hash("imported", imported.sha256, task_id, index)[:32]
        texts[key] = one
        window = Window(kind="generate", session=0, start_ns=0, end_ns=0, batch_id=order)  # empty: not timed here
        samples[key] = Sample(
            key=key, task_id=task_id, sample_index=index, order=order, batch_id=order, batch_size=1, seed=0,
            prompt_tokens=one.prompt_tokens, completion_tokens=one.completion_tokens, text=text,
            finish_reason=one.finish_reason, latency_s=one.latency_s, generation=window,
        )  # fmt: skip
    for count, score in enumerate(_scores(benchmark, foreign.programs, list(samples.values())), start=1):
        samples[score.key] = _scored(samples[score.key], score)
        progress(count, len(samples))
    judged = [storable(sample) for sample in samples.values()]
    quality = benchmark.quality if isinstance(benchmark, HasMetrics) else ()
    summary = summarise(manifest, SampleTable.of(judged), (), benchmark.summarise(judged), quality)
    _write(out, manifest, judged, summary)
    if any(one.reported for one in texts.values()):
        lines = ({"key": key, "task_id": samples[key].task_id, "verdicts": dict(texts[key].reported)} for key in texts)
        write_atomic(out / REPORTED, "".join(json.dumps(line) + "\n" for line in lines))
    return ImportResult(out, summary, imported, _differing(samples, texts), (*foreign.notes, *notes))


def _placed(
    foreign: ForeignRun, benchmark: Benchmark, file: ForeignFile
) -> tuple[list[tuple[str, int, ForeignSample]], list[str]]:
    """Task, index and sample, in the order of the benchmark's tasks; and what was left out."""
    names = task_names(task.task_id for task in benchmark.tasks)
    by_task: dict[str, list[ForeignSample]] = {}
    left_out = []
    for sample in foreign.samples:
        name = names.get(sample.task_id.casefold())
        if name is None:
            left_out.append(sample.task_id)
        else:
            by_task.setdefault(name, []).append(sample)
    if not by_task:
        theirs = left_out[0] if left_out else "none"
        raise UsageError(
            f"none of the {len(foreign.samples)} samples in {file.path} is of a task of {benchmark.info.name}: "
            f"theirs is {theirs}, the data's is {benchmark.tasks[0].task_id}; give the benchmark with --benchmark and "
            "its tasks with --data"
        )
    notes = [f"{len(left_out)} samples are of tasks that are not in the data: left out"] if left_out else []
    if len(by_task) < len(benchmark.tasks):
        notes.append(f"samples are of {len(by_task)} of the {len(benchmark.tasks)} tasks: pass@k is over those")
    if len(counts := {len(samples) for samples in by_task.values()}) > 1:
        notes.append(f"tasks have from {min(counts)} to {max(counts)} samples: pass@k is for k up to {min(counts)}")
    order = [task.task_id for task in benchmark.tasks if task.task_id in by_task]
    return [(task_id, index, one) for task_id in order for index, one in enumerate(by_task[task_id])], notes


def _manifest(
    foreign: ForeignRun,
    imported: Imported,
    out: Path,
    benchmark: Benchmark,
    benchmark_name: str,
    options: dict[str, Option],
    model: str | None,
    tasks: int,
    placed: Sequence[tuple[str, int, ForeignSample]],
    limit: int | None,
) -> Manifest:
    name = model or foreign.model or Path(imported.file).stem
    samples = 1 + max(index for _, index, _ in placed)
    guesses = tuple(
        f"{what} is not in the file: the default stands"
        for what, value in (("temperature", foreign.temperature), ("top_p", foreign.top_p))
        if value is None
    )
    spec = Spec(
        model=name, benchmark=benchmark_name, benchmark_options=options, samples=samples,
        limit=limit, idle_s=0.0, meter=IMPORTED,
        max_new_tokens=foreign.max_new_tokens or None, temperature=foreign.temperature or 0.0,
        top_p=foreign.top_p or 1.0,
    )  # fmt: skip
    info: BenchmarkInfo = benchmark.info.model_copy(update={"tasks": tasks})
    return Manifest(
        run_id=out.resolve().name,
        status="complete",
        spec=spec,
        model=ModelInfo(
            name=name, adapter=IMPORTED, engine=IMPORTED, chat=not foreign.programs, checkpoint=name,
            revision="unknown",
            dtype="unknown", device="unknown", parameters=None, place="elsewhere", guesses=guesses,
        ),
        benchmark=info,
        host=host_info(),
        meter=MeterInfo(name=IMPORTED, interval_s=1.0, channels=()),
        versions=package_versions(),
        sessions=(Session(index=0, started_at=_time(foreign.started_at)),),
        imported=imported,
    )  # fmt: skip


def _time(stated: str | None) -> str:
    """When the file says that it was made, else now, when it is judged."""
    try:
        return datetime.fromisoformat(stated or "").astimezone(UTC).isoformat()
    except ValueError:
        return datetime.now(UTC).isoformat()


def _scores(benchmark: Benchmark, programs: bool, samples: Sequence[Sample]) -> Iterator[Score]:
    """Every sample judged anew, so that times are of this call."""
    if programs and isinstance(benchmark, ScoresPrograms):
        return benchmark.score_programs([(one.key, one.task_id, Program(one.text)) for one in samples], anew=True)
    return benchmark.score([Candidate(one.key, one.task_id, one.text, continues=False) for one in samples])


def _scored(sample: Sample, score: Score) -> Sample:
    window = Window(kind="score", session=0, start_ns=score.start_ns, end_ns=score.end_ns)
    return sample.model_copy(
        update={
            "evaluation": window, "evaluation_cpu_s": score.cpu_s, "verdict": score.verdict, "scores": score.scores,
        }
    )  # fmt: skip


def _reported(samples: Sequence[ForeignSample]) -> dict[str, tuple[int, int]]:
    """The tool's own verdicts: how many passed, of how many, by the tool's name for them."""
    counts: dict[str, tuple[int, int]] = {}
    for sample in samples:
        for name, verdict in sample.reported.items():
            passed, of = counts.get(name, (0, 0))
            counts[name] = (passed + (verdict == "pass"), of + 1)
    return counts


def _differing(samples: Mapping[str, Sample], foreign: Mapping[str, ForeignSample]) -> tuple[str, ...]:
    tasks = []
    for key, sample in samples.items():
        verdict = sample.verdict
        if verdict is None or verdict.status == "not_evaluated" or not foreign[key].reported:
            continue
        theirs = {name: word == "pass" for name, word in foreign[key].reported.items()}
        ours, so_far = {}, True
        for name in theirs:  # each of the tool's holds where those before it hold
            so_far = so_far and (sample.scores[name] == 1.0 if name in sample.scores else verdict.status == "pass")
            ours[name] = so_far
        if ours != theirs:
            words = "pass" if verdict.status == "pass" else "fail"
            listed = ", ".join(f"{name} {'pass' if passed else 'fail'}" for name, passed in theirs.items())
            tasks.append(f"{sample.task_id} sample {sample.sample_index}: ours {words}, theirs {listed}")
    return tuple(tasks)


# ---------------------------------------------------------------- a run that was exported here


def _restore(foreign: ForeignRun, own: OwnRun, file: ForeignFile, format: str, out: Path) -> ImportResult:
    """The run as it was, under its own run id; its trace did not come with it, and a warning says so."""
    imported = own.manifest.imported or Imported(
        tool=foreign.tool, version=foreign.version, format=format, file=file.name, sha256=file.sha256, energies="stated"
    )
    manifest = own.manifest.model_copy(update={"imported": imported})
    why = mismatch(manifest, own.summary, SampleTable.of(own.samples))
    if why is None and len(own.samples) != own.summary.samples:
        why = f"it holds {len(own.samples)} samples and its summary is of {own.summary.samples}"
    if why is None and len({sample.key for sample in own.samples}) < len(own.samples):
        why = "it holds a sample twice"
    if why is not None:
        raise UsageError(f"{file.path} is not one run ({why}): export it again")
    warning = f"imported from {file.name}: energies are as it states them; the trace behind them is not in it"
    summary = own.summary.model_copy(update={"warnings": (*own.summary.warnings, warning)})
    _write(out, manifest, own.samples, summary)
    return ImportResult(out, summary, imported, (), foreign.notes)


def _write(out: Path, manifest: Manifest, samples: Sequence[Sample], summary: Summary) -> None:
    folder = RunFolder.create(out, manifest.model_copy(update={"status": "running"}))
    try:
        folder.finish(manifest, samples, TRACE_SCHEMA.empty_table(), summary)
    finally:
        folder.close()
