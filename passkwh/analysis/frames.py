"""Any number of run folders as tidy tables: a row per run, and a row per sample.

Samples come from each run's table (:mod:`passkwh.harness.runs.table`), only the columns that statistics need, so that a
hundred full runs load in about a second. Only complete runs are read: an unfinished one has no energies yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from passkwh.analysis.conventions import OURS, Convention, applied, convention
from passkwh.errors import UsageError
from passkwh.harness.runs.consistency import mismatch
from passkwh.harness.runs.folder import SAMPLES, RunFolder
from passkwh.harness.runs.labels import identity
from passkwh.records import ChannelTotal, Energy, Manifest, Summary


@dataclass(frozen=True)
class Run:
    """One complete run: what is known of it apart from its samples."""

    path: Path
    manifest: Manifest
    summary: Summary

    idle: str = "before"
    """The idle power that net energy is net of: before, mean (of before and after), none, or watts."""
    convention: Convention = OURS
    """By which its summary's energies are, and which of its channels count."""
    convention_note: str | None = None
    """Where the convention could not be kept: what stands in."""

    @property
    def _stages(self) -> tuple[str, ...]:
        return ("generation", "evaluation") if self.convention.scoring else ("generation",)

    @property
    def _counted(self) -> list[ChannelTotal]:
        return [channel for channel in self.summary.channels if channel.counted]

    def energy_se_j(self) -> float | None:
        """Standard error of the run's gross energy from its meter. None where no counted channel has one."""
        parts = [e.se_j for c in self._counted for e in self._energies(c) if e.se_j is not None]
        return float(np.sqrt(np.sum(np.square(parts)))) if parts else None

    def _energies(self, channel: ChannelTotal) -> list[Energy]:
        """Of the stages that the convention counts."""
        return [getattr(channel, stage) for stage in self._stages]

    def common_se_j(self, readings_j: float) -> float:
        """The part of that error which all readings share; ``readings_j`` is what those of generation make by chance.

        Scoring is one reading, whose error is shared by all tasks.
        """
        generation = np.sum(np.square([c.generation.se_j or 0.0 for c in self._counted]))
        scoring = np.sum(np.square([e.se_j or 0.0 for c in self._counted for e in self._energies(c)[1:]]))
        return float(np.sqrt(max(generation - readings_j**2, 0.0) + scoring))

    def idle_se_j(self) -> tuple[float, float]:
        """Standard errors of net energy from reading idle power, and from its drift, over the time metered.

        Power that went from a to b (by more than its error) was anywhere between them: a baseline before the work is
        off by |b - a| / sqrt 3, root mean square, and the mean of both by |b - a| / sqrt 12.
        """
        if self.idle not in ("before", "mean"):
            return 0.0, 0.0
        metered_s = self.summary.metered_s if self.convention.scoring else self.summary.generation_s or 0.0
        read, moved = 0.0, 0.0
        for channel in self._counted:
            before, after = channel.idle_before, channel.idle_after
            both = (before.se_w or 0.0) ** 2 + (after.se_w or 0.0) ** 2
            read += (before.se_w or 0.0) ** 2 if self.idle == "before" else both / 4.0
            if before.mean_w is not None and after.mean_w is not None:
                moved += max((after.mean_w - before.mean_w) ** 2 - both, 0.0) / (3.0 if self.idle == "before" else 12.0)
        return float(np.sqrt(read)) * metered_s, float(np.sqrt(moved)) * metered_s


@dataclass(frozen=True)
class Frames:
    """Runs and their samples.

    ``samples`` has a row per sample with the columns run (position in ``runs``), key, task_id, sample_index, order,
    batch_id, batch_size, prompt_tokens, completion_tokens, finish_reason, latency_s (of the batch), generation_s (this
    sample's share of it), ttft_s, reasoning_tokens (0 without thinking), generation_gross_j, generation_net_j,
    generation_se_j (of gross), evaluation_gross_j, evaluation_net_j, gross_j, net_j (generation plus evaluation over
    counted channels; missing where any of them is) and passed (1, 0, or missing where there is no verdict).
    """

    runs: tuple[Run, ...]
    samples: pd.DataFrame

    def run_table(self) -> pd.DataFrame:
        """One row per run: what was asked, on what it ran, and its headline figures."""
        return pd.DataFrame([_run_row(run) for run in self.runs])


def load(
    paths: Sequence[Path], by: str = OURS.name, count: Callable[[int, int], None] = lambda done, of: None
) -> Frames:
    """Read complete runs; all energies are ``by`` this convention (:mod:`passkwh.analysis.conventions`).

    ``count`` is told how many of the runs are read.

    Raises:
        UsageError: for none, a folder that is no run, an unfinished run, the same run twice, or a damaged file.
    """
    if not paths:
        raise UsageError("no run was given: name one or more run folders that `bench run` made")
    runs = tuple(open_run(path, by) for path in expand(paths))
    seen: dict[Path, Path] = {}
    for run in runs:
        real = run.path.resolve()
        if real in seen:
            raise UsageError(f"{run.path} is given twice: name each run once")
        seen[real] = run.path
    _refuse_copies(runs)
    return Frames(runs, _read_samples(runs, count))


def _refuse_copies(runs: Sequence[Run]) -> None:
    """Refuse runs of one configuration under one run id: a copy of a run teaches nothing, and is no repeat of it."""
    seen: dict[tuple[str, str], Run] = {}
    for run in runs:
        known = seen.setdefault((run.manifest.run_id, identity(run.manifest)), run)
        if known is not run:
            raise _copy(known, run, f"both are run {run.manifest.run_id}")


def _copy(first: Run, other: Run, why: str) -> UsageError:
    return UsageError(
        f"{other.path} is {first.path} once more ({why}): leave one out; a repeat is made by bench run --repeats"
    )


def expand(paths: Sequence[Path]) -> list[Path]:
    """Run folders as given; a folder that is no run but holds runs stands for all complete ones in it, sorted."""
    folders: list[Path] = []
    for path in paths:
        inside = [] if (path / "manifest.json").exists() else sorted(p.parent for p in path.glob("*/summary.json"))
        folders.extend(inside or [path])
    return folders


def open_run(path: Path, by: str = OURS.name) -> Run:
    """One complete run, by a convention. Raises UsageError for what is no run, or not complete."""
    folder, chosen = RunFolder.open(path), convention(by)
    manifest, summary = folder.manifest(), folder.summary()
    _refuse(path, mismatch(manifest, summary))
    manifest, summary, note = applied(manifest, summary, chosen)
    return Run(path, manifest, summary, convention=chosen, convention_note=note)


def _refuse(path: Path, why: str | None) -> None:
    if why is not None:
        raise UsageError(f"{path} is not one run ({why}): restore its files or leave the run out")


def _read_samples(runs: Sequence[Run], count: Callable[[int, int], None]) -> pd.DataFrame:
    tables = []
    with ThreadPoolExecutor() as threads:  # the reader of lines works outside of the interpreter
        for table in threads.map(_statistics, runs):
            tables.append(table)
            count(len(tables), len(runs))
    owners: dict[tuple[str, str], Run] = {}
    for run, table in zip(runs, tables, strict=True):
        # One key is enough: it holds the repeat, so that two runs of a configuration have all of them or none.
        of_run = (str(table["key"][0]), identity(run.manifest)) if len(table) else (run.manifest.run_id, "")
        if owners.setdefault(of_run, run) is not run:
            raise _copy(owners[of_run], run, "their samples have the same keys")
    return sample_frame(tables)


def _statistics(run: Run) -> pa.Table:
    """A run's samples, each once and as many as its summary is of. Raises UsageError for a run that is not so."""
    file = run.path / SAMPLES
    counted = [channel.name for channel in run.manifest.meter.channels if channel.counted]
    samples = RunFolder.open(run.path).table(counted)
    if samples.distinct_keys < len(samples):
        twice = next(key for key, count in Counter(samples.keys).items() if count > 1)
        raise UsageError(
            f"{file} holds sample {twice} more than once, so the run is not finished properly: continue it with "
            "--resume, or leave it out"
        )
    if len(samples) != run.summary.samples:
        raise UsageError(
            f"{file} holds {len(samples)} samples and its summary is of {run.summary.samples}: restore the file or "
            "leave the run out"
        )
    if run.convention == OURS:  # by another, the summary no longer states what stands in the file
        _refuse(run.path, mismatch(run.manifest, run.summary, samples))
    table = samples.statistics(counted, run.summary.generation_s if run.manifest.spec.concurrency > 1 else None)
    return table if run.convention.scoring else generation_only(table)


def generation_only(table: pa.Table) -> pa.Table:
    """Samples whose whole energy is that of generating them."""
    for kind in ("gross", "net"):
        at = table.schema.get_field_index(f"{kind}_j")
        table = table.set_column(at, f"{kind}_j", table[f"generation_{kind}_j"])
    return table


def sample_frame(tables: Sequence[pa.Table]) -> pd.DataFrame:
    """Samples of runs (:meth:`~passkwh.harness.runs.table.SampleTable.statistics`), in order, with their ``run``."""
    numbered = [table.add_column(0, "run", pa.array(np.full(len(table), i))) for i, table in enumerate(tables)]
    frame: pd.DataFrame = pa.concat_tables(numbered).to_pandas()
    return frame


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
        "concurrency": spec.concurrency,
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
        "thinking": spec.thinking,
        "reasoning_tokens": summary.reasoning_tokens,
        "reasoning_energy_j": summary.reasoning_energy_j,
        "reasoning_share": summary.reasoning_share,
        "pass_at_kwh": summary.pass_at_kwh,
        "solved_per_kwh": summary.solved_per_kwh,
        "tokens_per_s": summary.tokens_per_s,
        "joules_per_token": summary.joules_per_token,
        "mean_exit_layer": summary.mean_exit_layer,
        "layers_skipped": summary.layers_skipped,
        "tokens_per_check": summary.tokens_per_check,
        "draft_acceptance": summary.draft_acceptance,
        "provenance": summary.provenance,
    }
