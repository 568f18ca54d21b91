"""``bench score``: judge the completions of a run again, or those that another harness wrote."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from passkwh.cli import complete
from passkwh.cli.benchmark_options import OPTION_HELP, benchmark_options
from passkwh.cli.options import Since, TaskIds, Until
from passkwh.cli.output import note, number, print_json, print_table, table
from passkwh.errors import UsageError

if TYPE_CHECKING:
    from passkwh.benchmarks.base import Benchmark, Program, Score
    from passkwh.records import Option

_Judging = tuple["Benchmark", dict[str, str], "Iterator[Score]"]
"""The benchmark, the task of each key, and the scores as they come."""

SOURCE_HELP = "A run folder, or a .jsonl file as evaluators read it: task_id and solution, or completion."


def score(
    source: Annotated[Path, typer.Argument(help=SOURCE_HELP)],
    benchmark: Annotated[
        str, typer.Option("--benchmark", "-b", help="Of a .jsonl file.", autocompletion=complete.benchmarks)
    ] = "bigcodebench",
    subset: Annotated[str | None, typer.Option(help="Tasks of a .jsonl file, for example full or hard.")] = None,
    data: Annotated[Path | None, typer.Option(help="Local file with the benchmark's tasks.")] = None,
    option: Annotated[list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help=OPTION_HELP)] = None,
    since: Since = None,
    until: Until = None,
    task_ids: TaskIds = None,
    official_timeout: Annotated[bool, typer.Option("--official-timeout", help="241 s for every program.")] = False,
    no_calibration: Annotated[
        bool, typer.Option("--no-calibration", help="Do not put the task's imports and signature before a program.")
    ] = False,
    allow_network: Annotated[str | None, typer.Option(help="Task ids whose programs may reach the network.")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Programs at a time; 0 is one per core.")] = None,
    unsafe_evaluation: Annotated[
        bool, typer.Option("--unsafe-evaluation", help="Go on where the kernel refuses a layer of the isolation.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write the verdicts to this file, one JSON object a line.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line of stdout.")] = False,
) -> None:
    """Judge completions again, from a run or from another harness; equal programs are not run twice."""
    from passkwh.benchmarks import selection
    from passkwh.cli.live import AFTER_S, LiveProgress

    options = benchmark_options(
        option,
        subset=subset,
        data=data,
        since=since,
        until=until,
        official_timeout=official_timeout or None,
        calibrated=False if no_calibration else None,
        allow_network=allow_network,
        workers=workers,
        unsafe_evaluation=unsafe_evaluation or None,
    )
    chosen = selection.parse(task_ids) if task_ids is not None else ()
    if source.is_dir():
        opened, task_of, scores = _from_run(source, options, chosen)
    else:
        opened, task_of, scores = _from_file(source, benchmark, options, chosen)
    judged: list[dict[str, Any]] = []
    with LiveProgress("score", AFTER_S) as live:
        for one in live.each("run programs", scores, len(task_of)):
            if one.verdict is not None:
                scores_beside = {"scores": one.scores} if one.scores else {}
                verdict = one.verdict.model_dump(mode="json")
                judged.append({"key": one.key, "task_id": task_of[one.key], **verdict, **scores_beside})
    order = {key: index for index, key in enumerate(task_of)}
    judged.sort(key=lambda entry: order[entry["key"]])
    if out is not None:
        out.write_text("".join(json.dumps(entry) + "\n" for entry in judged))
    result = _summary(judged, opened)
    if as_json:
        print_json(result)
        return
    print_table(table(None, ["", str(source)], [[name, _shown(value)] for name, value in result.items()]))


def _from_run(path: Path, options: dict[str, Option], task_ids: Sequence[str]) -> _Judging:
    from passkwh import benchmarks
    from passkwh.benchmarks import selection
    from passkwh.benchmarks.base import Candidate, HasMetrics, Program, ScoresPrograms
    from passkwh.harness.runs.folder import RunFolder

    folder = RunFolder.open(path)
    manifest = folder.manifest()
    name = manifest.spec.benchmark
    spec = manifest.spec
    benchmark = benchmarks.open(name, {**spec.benchmark_options, **options}, spec.limit, spec.task_ids)
    wanted = selection.chosen(name, ((task.task_id, task) for task in benchmark.tasks), task_ids, None)
    samples = [sample for sample in folder.samples() if sample.task_id in wanted]
    if isinstance(benchmark, HasMetrics) and not all(sample.verdict for sample in samples):
        raise UsageError(f"{path} has no verdicts to judge again: benchmark {name} scores by metrics alone")
    if benchmark.info.sha256 != manifest.benchmark.sha256:
        raise UsageError(f"{path} was run on other tasks ({manifest.benchmark.source}): give them with --data FILE")
    is_raw = {task.task_id: task.request.raw for task in benchmark.tasks}
    candidates = [
        Candidate(sample.key, sample.task_id, sample.text, not manifest.model.chat or is_raw[sample.task_id])
        for sample in samples
    ]
    if isinstance(benchmark, ScoresPrograms):
        whole = manifest.imported is not None and manifest.imported.programs
        scores = benchmark.score_programs(
            [(one.key, one.task_id, Program(one.text) if whole else benchmark.program(one)) for one in candidates]
        )
    else:
        scores = benchmark.score(candidates)
    return benchmark, {sample.key: sample.task_id for sample in samples}, scores


def _from_file(path: Path, name: str, options: dict[str, Option], task_ids: Sequence[str]) -> _Judging:
    from passkwh import benchmarks
    from passkwh.benchmarks.base import ScoresPrograms
    from passkwh.registry import BENCHMARKS

    if not path.is_file():
        raise UsageError(f"{path} does not exist: give a run folder or a .jsonl file of samples")
    member = BENCHMARKS.get(name)
    if not isinstance(member, ScoresPrograms):
        raise UsageError(f"benchmark {name} judges no programs of other harnesses: give a run folder")
    benchmark = benchmarks.open(name, {**member.options_for_files, **options}, task_ids=task_ids)
    assert isinstance(benchmark, ScoresPrograms)
    programs = list(read_programs(path, benchmark))
    return benchmark, {key: task_id for key, task_id, _ in programs}, benchmark.score_programs(programs)


_OTHER_SAMPLES = {
    "resps": "lm-evaluation-harness: bench import reads it",
    "filtered_resps": "lm-evaluation-harness: bench import reads it",
    "completions": "MultiPL-E",
    "code_list": "LiveCodeBench",
    "base_status": "EvalPlus's results: bench import reads the whole file",
}
"""What writes samples in another form, by a field of it."""


def read_programs(path: Path, benchmark: Benchmark) -> Iterator[tuple[str, str, Program]]:
    """Key, task and program of each sample, as the official evaluators read them."""
    from passkwh.benchmarks.base import Program
    from passkwh.benchmarks.rows import objects
    from passkwh.exchange.task_names import task_names

    requests = {task.task_id: task.request for task in benchmark.tasks}
    names = task_names(requests)
    left_out: list[str] = []
    in_markdown = samples = 0
    for samples, (where, row) in enumerate(objects(path, "samples")[0], start=1):
        task_id, field = row.get("task_id"), "solution" if row.get("solution") is not None else "completion"
        if task_id is None or not isinstance(row.get(field), str):
            raise UsageError(f"{where}: not a sample with task_id and solution or completion{_what_instead(row)}")
        name = names.get(str(task_id).casefold())
        if name is None:
            left_out.append(str(task_id))
            continue
        in_markdown += field == "solution" and bool(_FENCED.search(row[field]))
        yield f"{samples}", name, Program(row[field] if field == "solution" else requests[name].continued(row[field]))
    if not samples:
        raise UsageError(f"{path} holds no samples: give one JSON object a line, with task_id and solution")
    if len(left_out) == samples:
        raise UsageError(
            f"none of the {samples} samples in {path} is of a task of {benchmark.info.name}: theirs is {left_out[0]}, "
            f"the data's is {next(iter(requests))}; give the benchmark with --benchmark and its tasks with --data"
        )
    if left_out:
        note(f"{len(left_out)} samples are of tasks that are not in the data: left out")
    if in_markdown:
        note(f"{in_markdown} solutions hold fences of markdown and are judged as they are: extract the code before")


_FENCED = re.compile(r"^```", re.MULTILINE)


def _what_instead(row: dict[str, Any]) -> str:
    harness = next((name for field, name in _OTHER_SAMPLES.items() if field in row), None)
    fields = ", ".join(list(row)[:8]) or "nothing"
    return f" but {f'of {harness}' if harness else 'another form'}: it has {fields}"


def _summary(judged: Sequence[dict[str, Any]], benchmark: Benchmark) -> dict[str, Any]:
    from passkwh.benchmarks.base import HasReferences

    by_task: dict[str, list[dict[str, Any]]] = {}
    for entry in judged:
        if entry["status"] != "not_evaluated":
            by_task.setdefault(entry["task_id"], []).append(entry)
    references = {}
    if isinstance(benchmark, HasReferences):
        references = {task_id: benchmark.known_reference(task_id) for task_id in by_task}
    unsound = [task_id for task_id, reference in references.items() if reference and reference.status != "pass"]
    sound = {task_id: entries for task_id, entries in by_task.items() if task_id not in unsound}
    unverified = sum(reference is None for reference in references.values())
    if unverified:
        name = benchmark.info.name.rstrip("+")  # as the registry has it: mbpp+ is mbpp with other data
        note(f"{unverified} tasks were never verified here: `bench verify {name}` says which of them are sound")
    return {
        "tasks": len(by_task),
        "samples": len(judged),
        "not_evaluated": sum(entry["status"] == "not_evaluated" for entry in judged),
        "pass_at_k": _pass_at_k(by_task, trusted=False),
        "pass_at_k_trusted": _pass_at_k(by_task, trusted=True),
        "pass_at_k_sound_tasks": _pass_at_k(sound, trusted=False),
        "unsound_tasks": unsound,
        **({"scores": _mean_scores(judged)} if any("scores" in entry for entry in judged) else {}),
        "suspect": {e["key"]: list(e["suspect"]) for e in judged if e["status"] == "pass" and e["suspect"]},
    }


def _mean_scores(judged: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The mean of each score over the samples that have it."""
    by_name: dict[str, list[float]] = {}
    for entry in judged:
        for name, value in entry.get("scores", {}).items():
            by_name.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in sorted(by_name.items())}


def _pass_at_k(by_task: dict[str, list[dict[str, Any]]], trusted: bool) -> dict[str, float | None]:
    """pass@k for each k that every task has enough samples for; ``trusted`` leaves out suspicious passes."""
    from passkwh.passk import mean_pass_at_k

    counts = [
        (len(entries), sum(e["status"] == "pass" and not (trusted and e["suspect"]) for e in entries))
        for entries in by_task.values()
    ]
    smallest = min((n for n, _ in counts), default=0)
    return {str(k): mean_pass_at_k(counts, k) for k in (1, 5, 10, 100) if k <= smallest}


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {number(v) if isinstance(v, float) else v}" for key, v in value.items()) or "none"
    return str(value)
