"""One interval for every share of tasks that pass, near none and all as well: Wilson's score interval (1927).

A share of several samples a task is known as well as one of fewer or more independent verdicts; that number stands in
for the number of tasks. The bootstrap takes its values of pass@k from the same interval, so that what is made of
pass@k (pass@kWh, ratios, ranks) is as uncertain as pass@k itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def effective_number(rates: Floats) -> float:
    """How many independent verdicts the mean of rates per task, shape (tasks,), is worth; tasks, where all are alike.

    With one verdict a task it is the number of tasks.
    """
    mean = float(rates.mean())
    scatter = float(((rates - mean) ** 2).mean())
    return len(rates) * mean * (1.0 - mean) / scatter if scatter > 1e-15 else float(len(rates))


def wilson(share: float, number: float, z: Floats | float) -> Floats:
    """Where the score test of ``share`` out of ``number`` gives ``z``: bounds of the interval at -z and z.

    Example:
        >>> low, high = wilson(0.0, 36, np.array([-1.959963985, 1.959963985]))
        >>> float(low), round(float(high), 4)
        (0.0, 0.0964)
    """
    z = np.asarray(z, dtype=np.float64)
    centre = share + z**2 / (2.0 * number)
    half = z * np.sqrt(share * (1.0 - share) / number + z**2 / (4.0 * number**2))
    bound = np.clip((centre + half) / (1.0 + z**2 / number), 0.0, 1.0)
    # Exactly none and all, where rounding leaves a little.
    bound = np.where((share == 0) & (z < 0), 0.0, np.where((share == 1) & (z > 0), 1.0, bound))
    return np.asarray(bound, dtype=np.float64)


def as_wilson(draws: Floats, rates: Floats, jitter: Floats) -> Floats:
    """Resampled shares, shape (resamples,), with Wilson's spread in their own order; ``jitter`` decides between equals.

    The order keeps how the share varies with energy and with other configurations.
    """
    from scipy import special

    order = np.lexsort((jitter, draws))
    place = np.empty(len(draws))
    place[order] = (np.arange(len(draws)) + 0.5) / len(draws)
    return wilson(float(rates.mean()), effective_number(rates), special.ndtri(place))
