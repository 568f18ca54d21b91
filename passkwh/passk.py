"""pass@k without bias, and what it comes to per kilowatt-hour.

On the path of every run, so it imports nothing heavier than numpy.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

from passkwh.units import joules_to_kwh


def pass_at_k(n: int, c: int, k: int) -> float:
    """Chance that at least one of ``k`` completions, drawn without replacement from ``n`` of which ``c`` pass, passes.

    The unbiased estimator 1 - C(n-c, k) / C(n, k) of Chen et al. 2021 (thesis, eq. 3.36), in exact integers, so the
    result is the correctly rounded one for any ``n``. Raises ValueError unless 0 <= c <= n and 1 <= k <= n.
    """
    if not 0 <= c <= n:
        raise ValueError(f"{c} of {n} completions cannot have passed")
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} needs at least {max(k, 1)} completions per task and k of 1 or more, there are {n}")
    subsets = comb(n, k)
    return (subsets - comb(n - c, k)) / subsets


_cached_pass_at_k = lru_cache(maxsize=65536)(pass_at_k)


def pass_at_k_by_task(n: ArrayLike, c: ArrayLike, k: int) -> NDArray[np.float64]:
    """``pass_at_k`` of each task, from its number of completions ``n`` and of passing ones ``c`` (equal shapes)."""
    total, passed = np.broadcast_arrays(np.asarray(n, dtype=np.int64), np.asarray(c, dtype=np.int64))
    values = [_cached_pass_at_k(a, b, k) for a, b in zip(total.ravel().tolist(), passed.ravel().tolist(), strict=True)]
    return np.array(values, dtype=np.float64).reshape(total.shape)


def mean_pass_at_k(counts: Iterable[tuple[int, int]], k: int) -> float | None:
    """pass@k of a benchmark: the mean over its tasks, each given as ``(n, c)``. None when there is no task."""
    values = [_cached_pass_at_k(n, c, k) for n, c in counts]
    return float(np.mean(values)) if values else None


def expected_solved(counts: Iterable[tuple[int, int]]) -> float:
    """Number of tasks that one completion of each is expected to solve: the sum of c / n over tasks."""
    return float(sum(_cached_pass_at_k(n, c, 1) for n, c in counts))


def pass_at_kwh(pass_at_k: float | None, energy_j: float | None) -> float | None:
    """pass@k divided by the run's energy in kilowatt-hours (thesis, eq. 3.37), from joules.

    None where either is missing, or where the energy is not positive and the ratio has no meaning.
    """
    if pass_at_k is None or energy_j is None or not energy_j > 0:
        return None
    return pass_at_k / joules_to_kwh(energy_j)


def solved_per_kwh(solved: float | None, energy_j: float | None) -> float | None:
    """Tasks solved per kilowatt-hour: as ``pass_at_kwh``, but independent of how many tasks were run."""
    return pass_at_kwh(solved, energy_j)
