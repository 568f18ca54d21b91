"""lm-evaluation-harness's samples, as ``--log_samples`` writes them: ``samples_TASK_TIME.jsonl``.

A row is a document with all of its completions: ``filtered_resps`` are what the task's filter made of them, for tasks
of code the programs that it judged. ``results_TIME.json``, which lies beside, has the version, model and decoding.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from passkwh.clean import one_line
from passkwh.errors import UsageError
from passkwh.exchange.contract import ForeignRun, ForeignSample
from passkwh.exchange.foreign_files import ForeignFile, count_of, name_of, number_of, text_of
from passkwh.exchange.task_names import benchmark_named

_NAME = re.compile(r"^samples_(?P<task>.+)_(?P<time>\d{4}-\d{2}-\d{2}T[\d-]+(?:\.\d+)?)\.jsonl$")


class LmEvalSamples:
    """The import format ``lm-eval``."""

    summary = "lm-evaluation-harness's samples_*.jsonl (--log_samples): programs of humaneval and mbpp tasks"

    def recognises(self, file: ForeignFile) -> bool:
        """Rows with a document, responses and filtered responses."""
        return {"doc", "resps", "filtered_resps"} <= file.first_row.keys()

    def read(self, file: ForeignFile) -> ForeignRun:
        """Its programs, with the verdict where each row has one for all of its completions."""
        named = _NAME.match(file.path.name)
        results, notes = _results(file.path, named["time"] if named else None)
        task = named["task"] if named else next(iter(results.get("configs") or {"unknown": None}))
        samples: list[ForeignSample] = []
        filters = set()
        for where, row in file.rows():
            filters.add(str(row.get("filter")))
            samples += _samples(row, where)
        if not samples:
            raise UsageError(f"{file.path} holds no samples: run the task with --log_samples")
        if len(filters) > 1:
            raise UsageError(
                f"{file.path} has every document once for each of several filters "
                f"({one_line(', '.join(sorted(filters)), 80)}): keep the rows of one"
            )
        configuration = _mapping(_mapping(results.get("configs")).get(task))
        decoding, config = _mapping(configuration.get("generation_kwargs")), _mapping(results.get("config"))
        version, model = results.get("lm_eval_version"), results.get("model_name") or config.get("model")
        return ForeignRun(
            tool="lm-evaluation-harness",
            version=None if version is None else name_of(version, file.name, "lm_eval_version"),
            samples=tuple(samples),
            benchmark=benchmark_named(task),
            benchmark_in_file=one_line(task, 80),
            model=name_of(model, file.name, "model") if isinstance(model, str) and model else None,
            programs=True,
            started_at=None,
            temperature=0.0 if decoding.get("do_sample") is False else number_of(decoding.get("temperature"), 100.0),
            top_p=number_of(decoding.get("top_p"), 1.0),
            max_new_tokens=count_of(decoding.get("max_gen_toks")),
            notes=notes,
        )


def _samples(row: Mapping[str, Any], where: str) -> list[ForeignSample]:
    doc = row.get("doc")
    if not isinstance(doc, dict) or doc.get("task_id") is None:
        raise UsageError(f"{where}: its document has no task_id, so it is of no benchmark of ours (humaneval, mbpp)")
    task_id = name_of(doc["task_id"], where, "doc.task_id")
    texts = _flat(row.get("filtered_resps"))
    if not texts:
        raise UsageError(f"{where}: filtered_resps holds no completion")
    metrics = row.get("metrics")
    names = metrics if isinstance(metrics, list) else [name for name in row if name.startswith("pass")]
    reported = {}
    for name in names if len(texts) == 1 else ():  # of several completions a row states only their mean
        value = row.get(name) if isinstance(name, str) else None
        if isinstance(value, int | float) and value in (0, 1):
            reported[one_line(name, 40)] = "pass" if value == 1 else "fail"
    return [ForeignSample(task_id, text_of(text, where, "filtered_resps"), reported=reported) for text in texts]


def _flat(value: Any) -> list[Any]:
    """Completions of a document: a text, a list of them, or a list in a list."""
    if isinstance(value, list):
        return [text for inner in value for text in (inner if isinstance(inner, list) else [inner])]
    return [] if value is None else [value]


def _results(path: Path, time: str | None) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The results of the same time beside the samples; where there are none, what is not known then."""
    beside = path.with_name(f"results_{time}.json") if time else None
    if beside is None or not beside.is_file():
        missing = beside.name if beside else "results_TIME.json"
        return {}, (f"no {missing} beside it: version, model and decoding of lm-evaluation-harness are not known",)
    return ForeignFile(beside).object, ()


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


LM_EVAL = LmEvalSamples()
