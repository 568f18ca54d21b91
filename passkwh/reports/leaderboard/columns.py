"""What the board needs of a pack's samples, in columns: read once, when the pack is checked, and kept beside it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from passkwh.harness.meter.series import Floats
from passkwh.records import Manifest
from passkwh.reports.leaderboard.samples import Samples, Stated

SAID = ("task_id", "status", "message")
LONGEST = 160
"""So much of a failure's message is shown."""

Said = Mapping[str, tuple[str, str]]
"""Of each task: its verdicts in words, and the message of a failure where there is one."""


def columns(manifest: Manifest, samples: Samples) -> pa.Table:
    """A row a sample, in order: what frames of :mod:`passkwh.analysis` hold for statistics, and its verdict in words.

    Energies are as the samples state them, over counted channels; missing where that of any of these is.
    """
    counted = [channel.name for channel in manifest.meter.channels if channel.counted]
    found = samples.columns
    generation_j, evaluation_j = (
        _gross_j(samples.energies[part], counted, len(samples)) for part in ("generation_energy", "evaluation_energy")
    )
    scored = np.zeros(len(samples), dtype=np.bool_)
    scored[found.scored] = True
    return pa.table(
        {
            "task_id": pa.array(samples.tasks, pa.string()),
            "completion_tokens": found.completion_tokens,
            "generation_s": samples.latency_s / samples.batch_size,
            "passed": np.where(found.evaluated, found.passed.astype(np.float64), np.nan),
            "generation_gross_j": generation_j,
            "gross_j": generation_j + np.where(scored, evaluation_j, 0.0),
            "status": pa.array(samples.status, pa.string()),
            "message": pa.array([" ".join(text.split())[:LONGEST] for text in samples.detail], pa.string()),
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
    told = [told for table in tables for told in zip(*(table[n].to_pylist() for n in SAID), strict=True) if told[1]]
    once = {task: (status.replace("_", " "), message) for task, status, message in told}
    if len(once) == len(told):
        return once
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    messages: dict[str, dict[str, str]] = defaultdict(dict)
    for task, status, message in told:
        counted[task][status] += 1
        messages[task][status] = min(message, messages[task].get(status, message))
    return {task: (_words(found), max(messages[task].values())) for task, found in counted.items()}


def _words(found: Counter[str]) -> str:
    if found.total() == 1:
        return next(iter(found)).replace("_", " ")
    ordered = sorted(found.items(), key=lambda entry: (-entry[1], entry[0]))
    return ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in ordered)


def _gross_j(energies: Mapping[str, Stated], counted: Sequence[str], count: int) -> Floats:
    """Over the counted channels; NaN where there is none, or one is missing."""
    parts = [energies[name].gross_j for name in counted if name in energies]
    return np.sum(parts, axis=0) if counted and len(parts) == len(counted) else np.full(count, np.nan)
