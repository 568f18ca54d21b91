"""What a token costs within a deadline: one definition for the report and the leaderboard.

A deadline is met by a configuration nine of whose ten answers are in time, so latencies are 90th percentiles over the
samples of a run (their mean over repeats). Energies must be of one kind: what is measured is not compared with what is
estimated.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from passkwh.analysis.pareto import cheapest_above_floor, frontier

COST = "joules_per_token"
DEADLINE = "latency_p90_s"
"""The latency that a deadline is of, where none is named: to the end of the answer."""
LATENCIES = (DEADLINE, "ttft_p90_s", "tpot_p90_s")
"""What a deadline may be of."""


def cheapest_within(costs: ArrayLike, latencies_s: ArrayLike, deadline_s: float) -> int | None:
    """Index of the lowest cost among those in time; of equals the faster, then the first. None where none is.

    ``costs`` and ``latencies_s`` have one value for each configuration; NaN where it is missing.

    >>> cheapest_within([3.0, 1.0, 2.0], [1.0, 9.0, 4.0], 5.0)
    2
    """
    return cheapest_above_floor(-np.asarray(latencies_s, dtype=np.float64), costs, -deadline_s)


def within_each(costs: Sequence[float], latencies_s: Sequence[float]) -> list[int]:
    """Indices of those that are the cheapest within some deadline, the shortest deadline first.

    Each later one costs less and takes longer. Of configurations that are equal in both the first.

    >>> within_each([3.0, 1.0, 4.0], [1.0, 9.0, 4.0])
    [0, 1]
    """
    on = frontier([*zip(costs, latencies_s, strict=True)], ["min", "min"])
    first = {(costs[i], latencies_s[i]): i for i in reversed(range(len(on))) if on[i]}
    return sorted(first.values(), key=lambda i: latencies_s[i])
