"""Outcome and predictors of the regression: what each row is, and which rows belong together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from passkwh.analysis.domains import REGRESSION_DOMAINS, DomainMap
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


Outcome = Literal["ln J", "ln Wh", "ln kWh", "ln(1 + Wh)"]
"""Log energy; the thesis's is ln(1 + Wh), as the log-likelihoods and R-squared of tables 5.5 to 5.13 tell."""
TEXT = "text:"
"""Before the names of the columns that hold the domains by text (:data:`passkwh.analysis.domains.DomainMap`)."""


def design_matrix(
    samples: pd.DataFrame,
    *,
    lag: bool,
    intercept: bool,
    energy: str = "gross",
    outcome: Outcome = "ln J",
    domains: DomainMap = "libraries",
) -> DesignMatrix:
    """Log energy and its predictors.

    ``samples`` needs run, order, generation_gross_j (or _net_j), completion_tokens and a 0/1 column for each domain it
    has (those by text have ``text:`` before their names, and where there are none those by library stand in);
    task_id and batch_id say which rows belong together. The lag stays within a run; samples without an energy, or
    without one before them, are left out. Predictors that are zero everywhere or a combination of those before
    them are dropped.
    """
    ordered = samples.sort_values(["run", "order"], kind="stable")
    joules = ordered[f"generation_{energy}_j"].to_numpy(dtype=np.float64)
    series = ordered["run"].to_numpy(dtype=np.int64)
    values = log_energy(joules, outcome)
    columns = {"intercept": np.ones(len(values))} if intercept else {}
    columns["solution tokens"] = ordered["completion_tokens"].to_numpy(dtype=np.float64)
    if lag:
        before = np.full(len(values), np.nan)
        before[1:] = np.where(series[1:] == series[:-1], values[:-1], np.nan)
        columns["log_energy_lag1"] = before
    prefix = TEXT if domains == "text" and any(TEXT + d in ordered for d in REGRESSION_DOMAINS) else ""
    columns |= {d: ordered[prefix + d].to_numpy(dtype=np.float64) for d in REGRESSION_DOMAINS if prefix + d in ordered}
    predictors = np.column_stack(list(columns.values()))
    complete = np.isfinite(values) & np.isfinite(predictors).all(axis=1)
    kept = _independent(predictors[complete])
    names = list(columns)
    return DesignMatrix(
        values[complete],
        predictors[complete][:, kept],
        tuple(names[i] for i in kept),
        tuple(name for i, name in enumerate(names) if i not in kept),
        series[complete],
        clusters(ordered)[complete],
    )


def log_energy(joules: Floats, outcome: Outcome) -> Floats:
    """The outcome of energies in joules; NaN where a logarithm has none."""
    if outcome == "ln(1 + Wh)":
        return np.asarray(np.log1p(np.where(joules > -3600.0, joules, np.nan) / 3600.0))
    unit = {"ln J": 1.0, "ln Wh": 3600.0, "ln kWh": 3.6e6}[outcome]
    return np.asarray(np.log(np.where(joules > 0, joules, np.nan) / unit))


def clusters(ordered: pd.DataFrame) -> NDArray[np.int64]:
    """What each row belongs to, shape (rows,): its task, or the tasks that shared a batch with it."""
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
