"""Outcome and predictors of the regression: what each row is, and which rows belong together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from passkwh.analysis.domains import REGRESSION_DOMAINS
from passkwh.analysis.units_of_measurement import batches, numbered

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DesignMatrix:
    """Outcome and predictors of one configuration, runs one after the other, each in the order of time."""

    outcome: Floats
    predictors: Floats
    names: tuple[str, ...]
    dropped: tuple[str, ...]
    series: NDArray[np.int64]
    """The run of each row."""
    cluster: NDArray[np.int64]
    """What each row belongs to: rows of a task, or of tasks that shared a batch, are one observation of others."""

    @property
    def clustered(self) -> bool:
        """Whether some rows belong together."""
        return len(np.unique(self.cluster)) < len(self.cluster)


def design_matrix(samples: pd.DataFrame, *, lag: bool, intercept: bool, energy: str = "gross") -> DesignMatrix:
    """Log energy and its predictors.

    ``samples`` needs run, order, generation_gross_j (or _net_j), completion_tokens and a 0/1 column for each domain it
    has; task_id and batch_id say which rows belong together. The lag stays within a run; samples without an energy, or
    without one before them, are left out. Predictors that are zero everywhere or a combination of those before them are
    dropped.
    """
    ordered = samples.sort_values(["run", "order"], kind="stable")
    joules = ordered[f"generation_{energy}_j"].to_numpy(dtype=np.float64)
    series = ordered["run"].to_numpy(dtype=np.int64)
    outcome = np.log(np.where(joules > 0, joules, np.nan))
    columns = {"intercept": np.ones(len(outcome))} if intercept else {}
    columns["solution tokens"] = ordered["completion_tokens"].to_numpy(dtype=np.float64)
    if lag:
        before = np.full(len(outcome), np.nan)
        before[1:] = np.where(series[1:] == series[:-1], outcome[:-1], np.nan)
        columns["log_energy_lag1"] = before
    columns |= {d: ordered[d].to_numpy(dtype=np.float64) for d in REGRESSION_DOMAINS if d in ordered}
    predictors = np.column_stack(list(columns.values()))
    complete = np.isfinite(outcome) & np.isfinite(predictors).all(axis=1)
    kept = _independent(predictors[complete])
    names = list(columns)
    return DesignMatrix(
        outcome[complete],
        predictors[complete][:, kept],
        tuple(names[i] for i in kept),
        tuple(name for i, name in enumerate(names) if i not in kept),
        series[complete],
        _clusters(ordered)[complete],
    )


def _clusters(ordered: pd.DataFrame) -> NDArray[np.int64]:
    if "task_id" not in ordered or "batch_id" not in ordered:
        return np.arange(len(ordered))
    task, count = numbered(pd.factorize(ordered["task_id"])[0])
    run, batch = (ordered[name].to_numpy(dtype=np.int64) for name in ("run", "batch_id"))
    units, _ = batches(task, run, batch, count) if len(task) else (task, True)
    chosen: NDArray[np.int64] = units[task]
    return chosen


def _independent(predictors: Floats) -> list[int]:
    """Columns that are neither zero nor a combination of those before them."""
    kept: list[int] = []
    basis = np.empty((len(predictors), 0))
    for i, column in enumerate(predictors.T):
        rest = column - basis @ (basis.T @ column)
        rest -= basis @ (basis.T @ rest)
        norm = float(np.linalg.norm(rest))
        if norm > 1e-10 * max(float(np.linalg.norm(column)), 1e-300):
            kept.append(i)
            basis = np.column_stack([basis, rest / norm])
    return kept
