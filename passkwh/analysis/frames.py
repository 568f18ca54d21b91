"""Any number of run folders as tidy tables: a row per run, and a row per sample.

Samples are read by DuckDB straight from ``samples.jsonl``, only the columns that statistics need, so that a hundred
full runs load in seconds. Only complete runs are read: an unfinished one has no energies yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import duckdb
import numpy as np
import pandas as pd

from passkwh.errors import UsageError
from passkwh.harness.runs.folder import SAMPLES, RunFolder
from passkwh.records import Manifest, Summary

_ENERGY = "MAP(VARCHAR, STRUCT(gross_j DOUBLE, net_j DOUBLE))"
_COLUMNS = {
    "key": "VARCHAR",
    "task_id": "VARCHAR",
    "sample_index": "INTEGER",
    "order": "BIGINT",
    "batch_id": "BIGINT",
    "batch_size": "INTEGER",
    "prompt_tokens": "BIGINT",
    "completion_tokens": "BIGINT",
    "finish_reason": "VARCHAR",
    "latency_s": "DOUBLE",
    "ttft_s": "DOUBLE",
    "generation_energy": _ENERGY,
    "evaluation": "STRUCT(session INTEGER)",
    "evaluation_energy": _ENERGY,
    "verdict": "STRUCT(status VARCHAR)",
}


@dataclass(frozen=True)
class Run:
    """One complete run: what is known of it apart from its samples."""

    path: Path
    manifest: Manifest
    summary: Summary

    def energy_se_j(self, kind: Literal["gross", "net"] = "gross") -> float | None:
        """Standard error of the run's energy from its meter, and for net that of idle power over the time metered.

        None where no counted channel has one.
        """
        counted = [channel for channel in self.summary.channels if channel.counted]
        parts = [energy.se_j for c in counted for energy in (c.generation, c.evaluation) if energy.se_j is not None]
        if kind == "net":
            metered_s = self.summary.generation_s + self.summary.evaluation_s
            parts += [c.idle_before.se_w * metered_s for c in counted if c.idle_before.se_w is not None]
        return float(np.sqrt(np.sum(np.square(parts)))) if parts else None


@dataclass(frozen=True)
class Frames:
    """Runs and their samples.

    ``samples`` has a row per sample with the columns run (position in ``runs``), key, task_id, sample_index, order,
    batch_id, batch_size, prompt_tokens, completion_tokens, finish_reason, latency_s (of the batch), generation_s (this
    sample's share of it), ttft_s, generation_gross_j, generation_net_j, evaluation_gross_j, evaluation_net_j, gross_j,
    net_j (generation plus evaluation over counted channels; missing where any of them is) and passed (1, 0, or missing
    where there is no verdict).
    """

    runs: tuple[Run, ...]
    samples: pd.DataFrame

    def run_table(self) -> pd.DataFrame:
        """One row per run: what was asked, on what it ran, and its headline figures."""
        return pd.DataFrame([_run_row(run) for run in self.runs])


def load(paths: Sequence[Path]) -> Frames:
    """Read complete runs.

    Raises:
        UsageError: for none, a folder that is no run, an unfinished run, the same run twice, or a damaged file.
    """
    if not paths:
        raise UsageError("no run was given: name one or more run folders that `bench run` made")
    runs = tuple(open_run(path) for path in expand(paths))
    seen: dict[Path, Path] = {}
    for run in runs:
        real = run.path.resolve()
        if real in seen:
            raise UsageError(f"{run.path} is given twice: name each run once")
        seen[real] = run.path
    return Frames(runs, _read_samples(runs))


def expand(paths: Sequence[Path]) -> list[Path]:
    """Run folders as given; a folder that is no run but holds runs stands for all complete ones in it, sorted."""
    found: list[Path] = []
    for path in paths:
        inside = [] if (path / "manifest.json").exists() else sorted(p.parent for p in path.glob("*/summary.json"))
        found.extend(inside or [path])
    return found


def open_run(path: Path) -> Run:
    """One complete run. Raises UsageError for what is no run, or not complete."""
    folder = RunFolder.open(path)
    return Run(path, folder.manifest(), folder.summary())


def _read_samples(runs: Sequence[Run]) -> pd.DataFrame:
    files = [str(run.path / SAMPLES) for run in runs]
    for file in files:
        if not Path(file).is_file():
            raise UsageError(f"{file} is missing: the run folder is damaged, restore it or leave the run out")
    channels = pd.DataFrame(
        {
            "filename": files,
            "run": range(len(runs)),
            "counted": [[c.name for c in run.manifest.meter.channels if c.counted] for run in runs],
        }
    )
    with reading("samples") as connection:
        connection.register("channels", channels)
        frame: pd.DataFrame = connection.execute(_QUERY, {"files": files}).df()
    _check_samples(frame, runs)
    return frame


@contextmanager
def reading(what: object) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to read files of run folders with. Raises UsageError for a file that cannot be read."""
    with duckdb.connect() as connection:
        try:
            yield connection
        except duckdb.Error as error:
            text = str(error).strip().splitlines()[0]
            raise UsageError(f"{what} cannot be read: {text}; restore the file or leave the run out") from error


def _energies(stage: str) -> str:
    """SQL for a stage's gross and net energy over the counted channels: missing unless every one of them is there."""
    entries = f"list_filter(map_entries({stage}_energy), lambda e: list_contains(counted, e.key))"
    parts = []
    for kind in ("gross", "net"):
        values = f"list_transform({entries}, lambda e: e.value.{kind}_j)"
        parts.append(
            f"CASE WHEN len(counted) > 0 AND list_count({values}) = len(counted) "
            f"THEN list_sum({values}) END AS {stage}_{kind}_j"
        )
    return ", ".join(parts)


_QUERY = f"""
WITH raw AS (
    SELECT * FROM read_json($files, format = 'newline_delimited', filename = true, columns = {_COLUMNS!r})
    JOIN channels USING (filename)
), measured AS (
    SELECT run, key, task_id, sample_index, "order", batch_id, batch_size, prompt_tokens, completion_tokens,
        finish_reason, latency_s, latency_s / batch_size AS generation_s, ttft_s,
        CASE WHEN verdict.status = 'pass' THEN 1.0 WHEN verdict.status IN ('fail', 'timeout', 'error') THEN 0.0 END
            AS passed,
        evaluation IS NULL AS unscored,
        {_energies("generation")},
        {_energies("evaluation")}
    FROM raw
)
SELECT * EXCLUDE (unscored),
    generation_gross_j + CASE WHEN unscored THEN 0.0 ELSE evaluation_gross_j END AS gross_j,
    generation_net_j + CASE WHEN unscored THEN 0.0 ELSE evaluation_net_j END AS net_j
FROM measured ORDER BY run, "order"
"""


def _check_samples(frame: pd.DataFrame, runs: Sequence[Run]) -> None:
    nameless = frame[frame["key"].isna() | frame["task_id"].isna()]
    if len(nameless):
        file = runs[int(nameless["run"].iloc[0])].path / SAMPLES
        raise UsageError(f"{file} holds a line without key or task_id: restore the file or leave the run out")
    twice = frame[frame.duplicated(["run", "key"])]
    if len(twice):
        run = runs[int(twice["run"].iloc[0])]
        raise UsageError(
            f"{run.path / SAMPLES} holds sample {twice['key'].iloc[0]} more than once, so the run is not finished "
            "properly: continue it with --resume, or leave it out"
        )
    found = frame["run"].value_counts()
    for position, run in enumerate(runs):
        if (count := int(found.get(position, 0))) != run.summary.samples:
            raise UsageError(
                f"{run.path / SAMPLES} holds {count} samples and its summary is of {run.summary.samples}: restore the "
                "file or leave the run out"
            )


def _run_row(run: Run) -> dict[str, Any]:
    spec, model, summary = run.manifest.spec, run.manifest.model, run.summary
    return {
        "run": str(run.path),
        "run_id": run.manifest.run_id,
        "model": model.name,
        "adapter": model.adapter,
        "quant": model.quant,
        "exit": run.manifest.spec.exit,
        "parameters": model.parameters,
        "dtype": model.dtype,
        "device": model.device,
        "benchmark": run.manifest.benchmark.name,
        "benchmark_version": run.manifest.benchmark.version,
        "batch_size": spec.batch_size,
        "samples_per_task": spec.samples,
        "max_new_tokens": spec.max_new_tokens,
        "temperature": spec.temperature,
        "top_p": spec.top_p,
        "seed": spec.seed,
        "repeat": spec.repeat,
        "tasks": summary.tasks,
        "samples": summary.samples,
        "not_evaluated": summary.not_evaluated,
        "pass_at_1": summary.pass_at_k.get("1"),
        "gross_energy_j": summary.gross_energy_j,
        "net_energy_j": summary.net_energy_j,
        "energy_se_j": run.energy_se_j(),
        "generation_s": summary.generation_s,
        "evaluation_s": summary.evaluation_s,
        "completion_tokens": summary.completion_tokens,
        "pass_at_kwh": summary.pass_at_kwh,
        "solved_per_kwh": summary.solved_per_kwh,
        "tokens_per_s": summary.tokens_per_s,
        "joules_per_token": summary.joules_per_token,
        "mean_exit_layer": summary.mean_exit_layer,
        "layers_skipped": summary.layers_skipped,
        "provenance": summary.provenance,
    }
