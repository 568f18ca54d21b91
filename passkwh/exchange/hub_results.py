"""The hub's evaluation results: ``.eval_results/*.yaml`` files for a model's repository.

An entry names a data set and a task of it, a value, a date and notes; it has no field for an energy, so the notes have
it, with what it is. A value is a share from 0 to 1, as pass@k is. Entries are read by ``parse_eval_result_entries`` of
huggingface_hub. Who wants them on a model's page opens a pull request with the file there; nothing is uploaded here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from passkwh.analysis.frames import Frames, Run
from passkwh.clean import one_line
from passkwh.errors import UsageError
from passkwh.exchange.eee import model_id
from passkwh.exchange.of_run import distinct_names, energy_note
from passkwh.exchange.output_files import file_name, writing_to
from passkwh.harness.runs.files import write_atomic
from passkwh.harness.runs.labels import describe
from passkwh.registry import BENCHMARKS

FOLDER = ".eval_results"
DATASETS = {
    "bigcodebench": ("bigcode/bigcodebench", "default"),
    "bigcodebench-full": ("bigcode/bigcodebench", "default"),
    "bigcodebench-hard": ("bigcode/bigcodebench-hard", "default"),
    "humaneval": ("openai/openai_humaneval", "openai_humaneval"),
    "humaneval+": ("evalplus/humanevalplus", "default"),
    "humanevalplus": ("evalplus/humanevalplus", "default"),
    "humanevalpack": ("bigcode/humanevalpack", "python"),
    "livecodebench": ("livecodebench/code_generation_lite", "default"),
    "mbpp": ("google-research-datasets/mbpp", "full"),
    "mbpp+": ("evalplus/mbppplus", "default"),
    "mbppplus": ("evalplus/mbppplus", "default"),
}
"""Data set and configuration on the hub, by the benchmark's name in a manifest."""


class HubResults:
    """The export format ``hf-eval``."""

    summary = "the hub's .eval_results/*.yaml, a file for each run, energies in its notes"

    def write(self, frames: Frames, path: Path) -> list[Path]:
        """``MODEL/.eval_results/BENCHMARK-RUN.yaml`` for each run, MODEL being a folder for the model's repository."""
        entries = [(run, name, _entries(run)) for run, name in distinct_names(frames)]  # all are checked, then written
        files = []
        with writing_to(path):
            for run, name, content in entries:
                file = path / file_name(model_id(run).replace("/", "--")) / FOLDER
                file /= f"{file_name(run.manifest.benchmark.name)}-{name}.yaml"
                file.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(file, "".join(map(_yaml, content)))
                files.append(file)
        return files


def dataset_of(run: Run) -> tuple[str, str]:
    """Data set on the hub and task in it. Raises UsageError for a benchmark, or tasks, that are none of a data set."""
    spec, info = run.manifest.spec, run.manifest.benchmark
    if info.source.startswith("embedded"):
        raise UsageError(
            f"{run.path}: its tasks are those embedded for tries and of no data set on the hub, which .eval_results "
            "names: leave it out, or choose another --format"
        )
    if info.name in DATASETS:
        repository, configuration = DATASETS[info.name]
        return repository, str(info.options.get("language", configuration))
    other = getattr(BENCHMARKS.get(spec.benchmark), "hub_repository", "") if spec.benchmark in BENCHMARKS else ""
    if not other:
        raise UsageError(
            f"{run.path}: {info.name} has no data set on the hub, and .eval_results names one: choose another --format"
        )
    return str(other), "default"


def _entries(run: Run) -> list[dict[str, Any]]:
    repository, task = dataset_of(run)
    summary, manifest = run.summary, run.manifest
    values = {f"pass@{k}": share for k, share in summary.pass_at_k.items()} or summary.metrics
    if not values:
        raise UsageError(f"{run.path}: no sample has a verdict, and .eval_results needs a value: leave it out")
    dataset = {"id": repository, "task_id": task}
    source, _, revision = manifest.benchmark.source.partition(" ")
    if source == repository and revision:
        dataset["revision"] = revision
    session = next(iter(manifest.sessions), None)
    return [
        {
            "dataset": dataset,
            "value": value,
            **({"date": session.started_at} if session else {}),
            "notes": f"{name}; {_setup(run)}; {energy_note(run)}",
        }
        for name, value in values.items()
    ]


def _setup(run: Run) -> str:
    """What was run, in words."""
    manifest, spec = run.manifest, run.manifest.spec
    decoding = "greedy" if spec.temperature == 0 else f"temperature {spec.temperature:g}, top-p {spec.top_p:g}"
    words = [
        describe(manifest.model.name, quant=manifest.model.quant, exit=spec.exit),
        f"{manifest.benchmark.tasks} tasks of {one_line(manifest.benchmark.source, 120)}",
        f"{spec.samples} sample{'s' if spec.samples > 1 else ''} a task",
        decoding,
        f"passkwh {manifest.versions.get('passkwh', 'unknown')}",
    ]  # fmt: skip
    if manifest.imported:
        words.append(f"samples imported from {manifest.imported.origin}, judged by pass@kWh")
    return ", ".join(words)


def _yaml(entry: dict[str, Any]) -> str:
    """An entry of the list: scalars are written as JSON, which YAML 1.2 reads as they are."""
    lines = []
    for name, value in entry.items():
        if isinstance(value, dict):
            lines += [f"{name}:", *(f"  {key}: {_scalar(inner)}" for key, inner in value.items())]
        else:
            lines.append(f"{name}: {_scalar(value)}")
    return "".join(f"{'- ' if number == 0 else '  '}{line}\n" for number, line in enumerate(lines))


def _scalar(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, allow_nan=False)


HUB_RESULTS = HubResults()
