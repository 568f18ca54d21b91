"""inspect_ai's logs: written as ``.eval`` archives, and read from ``.eval`` and ``.json``, as log version 2 has them.

A run's records go with the log: its manifest and summary stand in the log's metadata, each sample's record in that
sample's, under :data:`OURS`. So energies and what they are can be looked at with inspect_ai's own reader, and a log
that was exported here is read back as the run that it was, but for the trace, which is not in it.

An archive has ``header.json`` and ``samples/ID_epoch_N.json``. inspect_ai writes Zstandard and reads deflate, too,
which is what is written here.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from passkwh.analysis.frames import Frames, Run
from passkwh.errors import UsageError
from passkwh.exchange import foreign_files
from passkwh.exchange.contract import ForeignRun, ForeignSample, OwnRun
from passkwh.exchange.foreign_files import ForeignFile, count_of, name_of, number_of, text_of
from passkwh.exchange.of_run import distinct_names, energy_texts, prompt_text, requests_of, samples_of
from passkwh.exchange.output_files import writing_to
from passkwh.exchange.task_names import benchmark_named
from passkwh.harness.runs.files import replacing
from passkwh.harness.runs.folder import RunFolder
from passkwh.prompts import Request
from passkwh.records import FinishReason, Manifest, Sample, Summary

OURS = "passkwh"
"""Where our records stand in metadata."""
VERSION = 2
"""Of inspect_ai's log."""
SCORER = "passkwh"
STOP_REASONS: dict[FinishReason, str] = {
    "stop": "stop", "length": "max_tokens", "context": "model_length", "content_filter": "content_filter",
}  # fmt: skip
_FINISH_REASONS = {theirs: ours for ours, theirs in STOP_REASONS.items()}


# ---------------------------------------------------------------- writing


class InspectLogs:
    """The export format ``inspect``."""

    summary = "an inspect_ai log (.eval) for each run, energies in its metadata; bench import reads it back"

    def write(self, frames: Frames, path: Path) -> list[Path]:
        """``RUN.eval`` for each run."""
        files = []
        with writing_to(path):
            for run, name in distinct_names(frames):
                files.append(path / f"{name}.eval")
                with replacing(files[-1]) as file:
                    file.write(_archive(run))
        return files


def _archive(run: Run) -> bytes:
    requests, _ = requests_of(run)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        summaries = []
        for sample in samples_of(run):
            content = _sample(run, sample, requests)
            archive.writestr(f"samples/{sample.task_id}_epoch_{content['epoch']}.json", _json(content))
            kept = ("id", "epoch", "input", "target", "scores", "model_usage", "total_time", "uuid")
            summaries.append({name: content[name] for name in kept if name in content} | {"metadata": {}})
        archive.writestr("summaries.json", _json(summaries))
        archive.writestr("header.json", _json(_header(run)))
    return packed.getvalue()


def _json(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, allow_nan=False)


def _header(run: Run) -> dict[str, Any]:
    manifest, summary, folder = run.manifest, run.summary, RunFolder.open(run.path)
    if not manifest.sessions:
        raise UsageError(f"{run.path}: it does not say when it ran, which a log must: leave it out")
    spec, started = manifest.spec, manifest.sessions[0].started_at
    config = {
        "temperature": spec.temperature,
        "top_p": spec.top_p,
        "seed": spec.seed,
        "max_tokens": spec.max_new_tokens,
    }
    metrics = {f"pass@{k}": share for k, share in summary.pass_at_k.items()} or summary.metrics
    scored = summary.samples - summary.not_evaluated
    return {
        "version": VERSION,
        "status": "success",
        "eval": {
            "eval_id": manifest.run_id,
            "run_id": manifest.run_id,
            "created": started,
            "task": manifest.benchmark.name,
            "task_id": manifest.run_id,
            "task_version": 0,
            "dataset": {
                "name": manifest.benchmark.name, "location": manifest.benchmark.source,
                "samples": manifest.benchmark.tasks, "shuffled": False,
            },
            "model": manifest.model.name,
            "model_generate_config": {name: value for name, value in config.items() if value is not None},
            "config": {"epochs": spec.samples},
            "packages": {"passkwh": manifest.versions.get("passkwh", "unknown")},
            "metadata": {
                OURS: {
                    "energy": energy_texts(run),
                    # As they stand in the folder, whatever convention the energies above are by.
                    "manifest": folder.manifest().model_dump(mode="json"),
                    "summary": folder.summary().model_dump(mode="json"),
                }
            },
        },
        "plan": {"name": "plan", "steps": [], "config": {}},
        "results": {
            "total_samples": summary.samples,
            "completed_samples": summary.samples,
            "scores": [
                {
                    "name": SCORER, "scorer": SCORER, "scored_samples": scored,
                    "unscored_samples": summary.not_evaluated, "params": {},
                    "metrics": {
                        name: {"name": name, "value": value, "params": {}} for name, value in metrics.items()
                    },
                }
            ],
        },
        "stats": {"started_at": started, "model_usage": {}},  # when it ended is not recorded
    }  # fmt: skip


def _sample(run: Run, sample: Sample, requests: Mapping[str, Request]) -> dict[str, Any]:
    model = run.manifest.model.name
    text: Any = sample.text
    if sample.reasoning is not None:
        text = [{"type": "reasoning", "reasoning": sample.reasoning.text}, {"type": "text", "text": sample.text}]
    answer = {"role": "assistant", "content": text, "source": "generate", "model": model}
    asked = prompt_text(run, requests, sample.task_id)
    usage = {}
    if sample.prompt_tokens is not None and sample.completion_tokens is not None:
        counts = {
            "input_tokens": sample.prompt_tokens, "output_tokens": sample.completion_tokens,
            "total_tokens": sample.prompt_tokens + sample.completion_tokens,
            "input_tokens_cache_read": sample.cached_tokens,
            "reasoning_tokens": sample.reasoning.tokens if sample.reasoning else None,
        }  # fmt: skip
        usage = {model: {name: count for name, count in counts.items() if count is not None}}
    verdict = sample.verdict
    content: dict[str, Any] = {
        "id": sample.task_id,
        "epoch": sample.sample_index + 1,
        "input": asked,
        "target": "",
        "messages": [{"role": "user", "content": asked, "source": "input"}, answer],
        "output": {
            "model": model,
            "choices": [{"message": answer, "stop_reason": STOP_REASONS[sample.finish_reason]}],
            "completion": sample.text,
            **({"usage": usage[model]} if usage else {}),
            **({} if sample.latency_s is None else {"time": sample.latency_s}),
        },
        "scores": {},
        "metadata": {OURS: sample.model_dump(mode="json", exclude={"text"})},
        "store": {},
        "events": [],
        "model_usage": usage,
        "uuid": sample.key,
        "attachments": {},
    }
    if verdict is not None and verdict.status != "not_evaluated":
        passed = verdict.status == "pass"
        score = {"value": "C" if passed else "I", "explanation": verdict.detail}
        content["scores"] = {SCORER: {**score, "metadata": {"status": verdict.status}}}
    if sample.latency_s is not None:
        content["total_time"] = sample.latency_s
    return content


# ---------------------------------------------------------------- reading


class InspectReader:
    """The import format ``inspect``."""

    summary = "inspect_ai's logs, .eval and .json: answers of humaneval, mbpp and bigcodebench tasks"

    def recognises(self, file: ForeignFile) -> bool:
        """An archive with a header, or JSON that begins as a log does."""
        if file.is_zip:
            return b"header.json" in file.content or b"samples/" in file.content
        return file.head.lstrip().startswith(b"{") and all(name in file.head for name in (b'"version"', b'"eval_id"'))

    def read(self, file: ForeignFile) -> ForeignRun:
        """Its samples; of a log that was exported here, the run."""
        header, samples = _log_of(file)
        where = str(file.path)
        if header.get("version") != VERSION:
            shown = header.get("version")
            raise UsageError(f"{where}: a log of version {str(shown)[:20]}, and {VERSION} is read: write it again")
        evaluation, notes = _object(header, "eval", where), []
        ours = (evaluation.get("metadata") or {}).get(OURS) if isinstance(evaluation.get("metadata"), dict) else None
        if isinstance(ours, dict):
            return _own(file, ours, samples)
        if header.get("status") != "success":
            notes.append(
                f"{file.name} is of an evaluation that ended as {name_of(header.get('status'), where, 'status')}"
            )
        task = name_of(evaluation.get("task"), where, "eval.task")
        read = tuple(one for place, content in samples if (one := _foreign(content, place, notes)) is not None)
        config = evaluation.get("model_generate_config")
        config = config if isinstance(config, dict) else {}
        packages = evaluation.get("packages")
        version = packages.get("inspect_ai") if isinstance(packages, dict) else None
        started = evaluation.get("created")
        return ForeignRun(
            tool="inspect_ai",
            version=name_of(version, where, "version") if version is not None else None,
            samples=read,
            benchmark=benchmark_named(task),
            benchmark_in_file=task,
            model=name_of(evaluation.get("model"), where, "eval.model"),
            started_at=started if isinstance(started, str) else None,
            temperature=number_of(config.get("temperature"), 100.0),
            top_p=number_of(config.get("top_p"), 1.0),
            max_new_tokens=count_of(config.get("max_tokens")),
            notes=tuple(dict.fromkeys(notes)),
        )


def _log_of(file: ForeignFile) -> tuple[dict[str, Any], Iterator[tuple[str, dict[str, Any]]]]:
    """The header of a log, and its samples with where each stands."""
    if not file.is_zip:
        samples = file.object.get("samples")
        if not isinstance(samples, list):
            raise UsageError(f"{file.path}: a log without samples: write it with log_samples")
        if len(samples) > foreign_files.MOST_SAMPLES:
            raise UsageError(f"{file.path} has more than {foreign_files.MOST_SAMPLES} samples: give a part of them")
        rows = ((f"{file.path}, sample {number}", row) for number, row in enumerate(samples, start=1))
        return file.object, ((where, _checked(row, where)) for where, row in rows)
    names = sorted(name for name in file.members if name.startswith("samples/") and name.endswith(".json"))
    if not names:
        raise UsageError(f"{file.path}: a log without samples: write it with log_samples")
    if "header.json" not in file.members:
        raise UsageError(
            f"{file.path}: a log without header.json, of an evaluation that did not end: run it to its end"
        )
    return file.member("header.json"), ((f"{file.path}, {name}", file.member(name)) for name in names)


def _checked(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise UsageError(f"{where}: not a sample")
    return row


def _object(content: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    value = content.get(name)
    if not isinstance(value, dict):
        raise UsageError(f"{where}: {name} is missing, so it is no log of inspect_ai")
    return value


def _answer(content: Mapping[str, Any], where: str) -> tuple[str, FinishReason]:
    """The text of an answer without its thinking, and why it ended."""
    output = _object(content, "output", where)
    choices = output.get("choices")
    if not isinstance(choices, list) or not choices:
        return "", "stop"  # an error in place of an answer
    choice = _checked(choices[0], where)
    message = _object(choice, "message", where)
    parts = message.get("content")
    if isinstance(parts, list):
        texts = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "text"]
        parts = "".join(text_of(text, where, "content") for text in texts)
    reason = choice.get("stop_reason")
    return text_of(parts, where, "content"), _FINISH_REASONS.get(reason, "stop") if isinstance(reason, str) else "stop"


def _foreign(content: Mapping[str, Any], where: str, notes: list[str]) -> ForeignSample | None:
    if content.get("error"):
        notes.append("samples that ended in an error have no answer and are left out")
        return None
    text, finish_reason = _answer(content, where)
    output = _object(content, "output", where)
    usage = output.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    scores = content.get("scores")
    scores = scores if isinstance(scores, dict) else {}
    reported = {
        name_of(name, where, "scorer"): verdict_of(score.get("value"))
        for name, score in scores.items()
        if isinstance(score, dict)
    }
    return ForeignSample(
        task_id=name_of(content.get("id"), where, "id"),
        text=text,
        reported=reported,
        prompt_tokens=count_of(usage.get("input_tokens")),
        completion_tokens=count_of(usage.get("output_tokens")),
        latency_s=number_of(output.get("time")),
        finish_reason=finish_reason,
    )


def verdict_of(value: Any) -> str:
    """A score as ``pass`` (C, 1, true) or in the tool's own writing."""
    if value in ("C", 1, True):
        return "pass"
    return "fail" if value in ("I", 0, False) else str(value)[:40]


def _own(file: ForeignFile, ours: Mapping[str, Any], samples: Iterator[tuple[str, dict[str, Any]]]) -> ForeignRun:
    """A run that was exported here, with its records."""
    where = str(file.path)
    try:
        manifest = Manifest.model_validate_json(_json(ours.get("manifest")))
        summary = Summary.model_validate_json(_json(ours.get("summary")))
        records = []
        for where, content in samples:
            metadata = content.get("metadata")
            record = metadata.get(OURS) if isinstance(metadata, dict) else None
            if not isinstance(record, dict):
                raise UsageError(f"{where}: without its record, which every sample of a log by pass@kWh has")
            records.append(Sample.model_validate_json(_json({**record, "text": _answer(content, where)[0]})))
    except (ValidationError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise UsageError(f"{where}: not the records of a run that can be read ({first[:160]})") from None
    return ForeignRun(
        tool=OURS,
        version=manifest.versions.get("passkwh"),
        samples=(),
        benchmark=manifest.spec.benchmark,
        benchmark_in_file=manifest.benchmark.name,
        own=OwnRun(manifest, summary, tuple(sorted(records, key=lambda sample: sample.order))),
    )


INSPECT = InspectLogs()
READER = InspectReader()
