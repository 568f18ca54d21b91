"""Every Eval Ever: an evaluation log for each run, and its samples beside it as JSON lines.

Schema 0.3.0 (``eval.schema.json`` and ``instance_level_eval.schema.json`` of the package every-eval-ever). It refuses
fields that it does not know, so energies stand where it takes texts by any name: a run's in the ``details`` of its
scores, a sample's in the ``additional_details`` of its performance. A sample without a verdict that counts has no score
there, so it is left out, and the log says how many were.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from passkwh.analysis.frames import Frames, Run
from passkwh.exchange.of_run import energy_texts, prompt_text, requests_of, sample_energy, samples_of
from passkwh.exchange.output_files import file_name, write_json, writing_to
from passkwh.harness.runs.files import write_atomic
from passkwh.prompts import Request
from passkwh.records import Sample, content_hash

SCHEMA = "0.3.0"
SCORED = ("pass", "fail", "timeout", "error")


class EveryEvalEver:
    """The export format ``eee``."""

    summary = f"Every Eval Ever's evaluation log and samples, schema {SCHEMA}, energies in its details"

    def write(self, frames: Frames, path: Path) -> list[Path]:
        """``data/BENCHMARK/DEVELOPER/MODEL/UUID.json`` and ``UUID_samples.jsonl`` for each run."""
        files: list[Path] = []
        with writing_to(path):
            for run in frames.runs:
                files += _write(run, path)
        return files


def _write(run: Run, root: Path) -> list[Path]:
    manifest, now = run.manifest, int(time.time())
    developer, _, name = model_id(run).rpartition("/")
    folder = f"data/{file_name(manifest.benchmark.name)}/{file_name(developer)}/{file_name(name)}"
    number = _uuid(manifest.run_id, manifest.benchmark.sha256, run.convention.name)
    evaluation_id = f"{manifest.benchmark.name}/{model_id(run)}/{number}"
    requests, why_no_prompts = requests_of(run)
    judged = [one for one in samples_of(run) if one.verdict is not None and one.verdict.status in SCORED]
    lines = "".join(
        json.dumps(_instance(run, one, evaluation_id, requests), ensure_ascii=False, allow_nan=False) + "\n"
        for one in judged
    )
    companion, log = root / folder / f"{number}_samples.jsonl", root / folder / f"{number}.json"
    companion.parent.mkdir(parents=True, exist_ok=True)
    content = _log(run, evaluation_id, now, len(judged), why_no_prompts)
    if judged:
        write_atomic(companion, lines)
        content["detailed_evaluation_results"] = {
            "format": "jsonl", "file_path": f"{folder}/{companion.name}", "hash_algorithm": "sha256",
            "checksum": hashlib.sha256(companion.read_bytes()).hexdigest(), "total_rows": len(judged),
        }  # fmt: skip
    write_json(log, content)
    return [log, companion] if judged else [log]


def model_id(run: Run) -> str:
    """A model as ``developer/name``; ``unknown`` for the developer of a local folder or a name without one."""
    checkpoint = run.manifest.model.checkpoint
    parts = [part for part in checkpoint.split("/") if part]
    is_hub_id = len(parts) == 2 and not checkpoint.startswith(("/", ".", "~")) and "#" not in checkpoint
    return checkpoint if is_hub_id else f"unknown/{file_name(run.manifest.model.name.rsplit('/', 1)[-1])}"


def _uuid(*parts: object) -> str:
    """A UUID of version 4's form that is the same whenever a run is exported."""
    return str(uuid.UUID(bytes=bytes.fromhex(content_hash("eee", *parts)[:32]), version=4))


def _log(run: Run, evaluation_id: str, now: int, rows: int, why_no_prompts: str | None) -> dict[str, Any]:
    manifest, summary = run.manifest, run.summary
    spec, model = manifest.spec, manifest.model
    started = next((session.started_at for session in manifest.sessions), None)
    content: dict[str, Any] = {
        "schema_version": SCHEMA,
        "evaluation_id": evaluation_id,
        "retrieved_timestamp": str(now),
        "source_metadata": {
            "source_name": "pass@kWh",
            "source_type": "evaluation_run",
            "source_organization_name": "unknown",
            "evaluator_relationship": "other",
            "additional_details": {"run_id": manifest.run_id},
        },
        "eval_library": {
            "name": "passkwh",
            "version": manifest.versions.get("passkwh", "unknown"),
            "additional_details": {
                f"version_{name}": version for name, version in manifest.versions.items() if name != "passkwh"
            },
        },
        "model_info": {
            "name": model.name,
            "id": model_id(run),
            "inference_engine": {"name": model.engine, "version": str(model.engine_info.get("version", "unknown"))},
            "additional_details": {
                "deployment_type": "unknown" if model.place == "elsewhere" else "self_deployed",
                "model_availability": "unknown" if model_id(run).startswith("unknown/") else "open_weights",
                "revision": model.revision, "quant": model.quant, "dtype": model.dtype, "device": model.device,
                "adapter": model.adapter,
            },
        },
        "evaluation_results": _results(run, rows),
    }  # fmt: skip
    if started:
        content["evaluation_timestamp"] = started
    for result in content["evaluation_results"]:
        generation: dict[str, Any] = {}
        if not manifest.imported:  # another tool's settings are not all known
            generation |= {
                "temperature": spec.temperature, "top_p": spec.top_p, "reasoning": bool(summary.reasoning_tokens),
            }  # fmt: skip
        if spec.max_new_tokens is not None:
            generation["max_tokens"] = spec.max_new_tokens
        details = {"seed": str(spec.seed), "batch_size": str(spec.batch_size), "concurrency": str(spec.concurrency)}
        if spec.exit:
            details["early_exit"] = spec.exit
        if why_no_prompts:
            details["prompts"] = why_no_prompts
        result["generation_config"] = {"generation_args": generation, "additional_details": details}
    return content


def _results(run: Run, rows: int) -> list[dict[str, Any]]:
    """A result for each k of pass@k, or each metric of a benchmark without verdicts."""
    manifest, summary = run.manifest, run.summary
    details = {**energy_texts(run), "samples": str(summary.samples), "samples_scored": str(rows)}
    details["not_evaluated"] = str(summary.not_evaluated)
    if manifest.imported:
        details |= {
            f"reported_by_{manifest.imported.tool}_{name}": f"{passed} of {of} passed"
            for name, (passed, of) in manifest.imported.reported.items()
        }
    scores = [(f"pass@{k}", share, {"k": int(k)}) for k, share in summary.pass_at_k.items()]
    bounded = True
    if not scores:
        scores, bounded = [(name, value, {}) for name, value in summary.metrics.items()], False
    return [
        {
            "evaluation_result_id": _result_id(run, name),
            "evaluation_name": manifest.benchmark.name,
            "source_data": {
                "dataset_name": manifest.benchmark.name,
                "source_type": "other",
                "additional_details": {
                    "source": manifest.benchmark.source, "sha256": manifest.benchmark.sha256,
                    "tasks": str(manifest.benchmark.tasks), "version": manifest.benchmark.version,
                },
            },
            "metric_config": {
                "metric_id": name,
                "metric_name": name,
                "metric_kind": "pass_rate" if bounded else name,
                "metric_parameters": parameters,
                "lower_is_better": False,
                "score_type": "continuous",
                "min_score": 0.0 if bounded else "-Infinity",
                "max_score": 1.0 if bounded else "Infinity",
            },
            "score_details": {"score": value, "details": details},
        }
        for name, value, parameters in scores
    ]  # fmt: skip


def _result_id(run: Run, metric: str) -> str:
    return f"{run.manifest.run_id}:{metric}"


def _instance(run: Run, sample: Sample, evaluation_id: str, requests: Mapping[str, Request]) -> dict[str, Any]:
    manifest, summary = run.manifest, run.summary
    verdict = sample.verdict
    assert verdict is not None
    raw, passed = prompt_text(run, requests, sample.task_id), verdict.status == "pass"
    instance: dict[str, Any] = {
        "schema_version": SCHEMA,
        "evaluation_id": evaluation_id,
        "model_id": model_id(run),
        "evaluation_name": manifest.benchmark.name,
        "sample_id": sample.task_id,
        "sample_hash": hashlib.sha256(raw.encode()).hexdigest(),
        "interaction_type": "single_turn",
        "input": {"raw": raw, "reference": []},
        "output": {"raw": [sample.text]},
        "messages": None,
        "answer_attribution": [],
        "evaluation": {"score": float(passed), "is_correct": passed},
        "error": sample.failure or None,
        "metadata": {
            "key": sample.key, "sample_index": str(sample.sample_index), "status": verdict.status,
            "detail": verdict.detail, "finish_reason": sample.finish_reason, "suspect": "; ".join(verdict.suspect),
        },
    }  # fmt: skip
    if "1" in summary.pass_at_k:
        instance["evaluation_result_id"] = _result_id(run, "pass@1")
    if sample.reasoning is not None:
        instance["output"]["reasoning_trace"] = [sample.reasoning.text]
    if sample.prompt_tokens is not None and sample.completion_tokens is not None:
        instance["token_usage"] = {
            "input_tokens": sample.prompt_tokens,
            "output_tokens": sample.completion_tokens,
            "total_tokens": sample.prompt_tokens + sample.completion_tokens,
            "input_tokens_cache_read": sample.cached_tokens,
            "reasoning_tokens": sample.reasoning.tokens if sample.reasoning else None,
        }
    instance["performance"] = {
        "latency_ms": None if sample.latency_s is None else sample.latency_s * 1000.0,
        "time_to_first_token_ms": None if sample.ttft_s is None else sample.ttft_s * 1000.0,
        "additional_details": _sample_energies(run, sample),
    }
    return instance


def _sample_energies(run: Run, sample: Sample) -> dict[str, str]:
    """A sample's joules as texts, with what they are, or why they are missing."""
    texts = {"energy_provenance": run.summary.provenance, "energy_convention": run.convention.describe()}
    stages: Sequence[tuple[str, Any]] = [("generation", sample.generation_energy)]
    if run.convention.scoring and sample.evaluation is not None:
        stages = [*stages, ("evaluation", sample.evaluation_energy)]
    for stage, energies in stages:
        energy = sample_energy(run, energies)
        for name in ("gross_j", "net_j", "se_j"):
            if (value := getattr(energy, name)) is not None:
                texts[f"{stage}_{name}"] = repr(float(value))
        if energy.reason:
            texts[f"{stage}_reason"] = energy.reason
            texts["energy_provenance"] = "missing"
    return texts


EEE = EveryEvalEver()
