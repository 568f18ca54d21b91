"""What the board needs of a pack's samples, in columns: read once, when the pack is checked, and kept beside it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from passkwh.records import Energy, Manifest, Sample

LONGEST = 160
"""So much of a failure's message is shown."""
PASSED = {"pass": 1.0, "fail": 0.0, "timeout": 0.0, "error": 0.0}

Said = Mapping[str, tuple[str, str]]
"""Of each task: its verdicts in words, and the message of a failure where there is one."""


def columns(manifest: Manifest, samples: Sequence[Sample]) -> pa.Table:
    """A row a sample, in order: what frames of :mod:`passkwh.analysis` hold for statistics, and its verdict in words.

    Energies are as the samples state them, over counted channels; missing where that of any of these is.
    """
    counted = [channel.name for channel in manifest.meter.channels if channel.counted]
    generation_j = [_gross_j(sample.generation_energy, counted) for sample in samples]
    evaluation_j = [_gross_j(s.evaluation_energy, counted) if s.evaluation is not None else 0.0 for s in samples]
    verdicts = [sample.verdict for sample in samples]
    return pa.table(
        {
            "task_id": pa.array([sample.task_id for sample in samples], pa.string()),
            "completion_tokens": pa.array([sample.completion_tokens for sample in samples], pa.int64()),
            "generation_s": pa.array([sample.latency_s / sample.batch_size for sample in samples], pa.float64()),
            "passed": np.array([np.nan if v is None else PASSED.get(v.status, np.nan) for v in verdicts]),
            "generation_gross_j": np.array(generation_j),
            "gross_j": np.array(generation_j) + np.array(evaluation_j),
            "status": pa.array([None if v is None else v.status for v in verdicts], pa.string()),
            "message": pa.array(["" if v is None else " ".join(v.detail.split())[:LONGEST] for v in verdicts]),
        }
    )


def frame(tables: Iterable[pa.Table]) -> pd.DataFrame:
    """The samples of runs as :class:`~passkwh.analysis.frames.Frames` holds them, with the columns that are kept."""
    return pd.concat([_frame(table, run) for run, table in enumerate(tables)], ignore_index=True)


def _frame(table: pa.Table, run: int) -> pd.DataFrame:
    numbers = [name for name in table.column_names if name not in ("task_id", "status", "message")]
    # Plain objects: pandas compares its own strings one by one, which took longer than everything else.
    tasks = pd.Series(table["task_id"].to_pylist(), dtype=object)
    return pd.DataFrame({"run": run, "task_id": tasks, **{name: table[name].to_numpy() for name in numbers}})


def verdicts(tables: Sequence[pa.Table]) -> Said:
    """What was said of the tasks of one configuration, over samples and repeats."""
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    messages: dict[str, dict[str, str]] = defaultdict(dict)
    for table in tables:
        told = (table[name].to_pylist() for name in ("task_id", "status", "message"))
        for task, status, message in zip(*told, strict=True):
            if status is not None:
                counted[task][status] += 1
                messages[task][status] = min(message, messages[task].get(status, message))
    return {task: (_words(found), max(messages[task].values())) for task, found in counted.items()}


def _words(found: Counter[str]) -> str:
    if found.total() == 1:
        return next(iter(found)).replace("_", " ")
    ordered = sorted(found.items(), key=lambda entry: (-entry[1], entry[0]))
    return ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in ordered)


def _gross_j(energies: Mapping[str, Energy], counted: Sequence[str]) -> float:
    """Over the counted channels; NaN where there is none, or one is missing."""
    total_j = 0.0
    for name in counted:
        energy = energies.get(name)
        if energy is None or energy.gross_j is None:
            return np.nan
        total_j += energy.gross_j
    return total_j if counted else np.nan
