"""What integration works on: one quantity's readings in time order, and what it finds for windows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Series:
    """Readings of one quantity of one channel in one session, in time order."""

    time_ns: Ints
    value: Floats
    """NaN where reading failed."""
    reasons: dict[int, str] = field(default_factory=dict)
    """Why a reading failed, by its time in ns."""

    def valid(self) -> tuple[Ints, Floats]:
        """Times and values of the readings that succeeded."""
        good = np.isfinite(self.value)
        return self.time_ns[good], self.value[good]

    def why_missing(self, start_ns: int, end_ns: int) -> str:
        """The reason of the first failed reading in a stretch of time, or that nothing was read in it at all."""
        times = [time for time in self.reasons if start_ns <= time <= end_ns]
        return self.reasons[min(times)] if times else "nothing was read"


@dataclass(frozen=True)
class Missing:
    """A window whose energy cannot be known, and why."""

    reason: str


@dataclass(frozen=True)
class Windows:
    """Energies of many windows and their standard errors, in joules, shape (n,); NaN where missing, and why."""

    energy_j: Floats
    se_j: Floats
    reasons: dict[int, str] = field(default_factory=dict)
    """By position, why an energy is missing."""

    @classmethod
    def missing(cls, count: int) -> Windows:
        """So many windows of which nothing is known yet."""
        return cls(np.full(count, np.nan), np.full(count, np.nan))


def seconds(time_ns: Ints | int, zero_ns: int) -> Floats:
    """Times as seconds after ``zero_ns``: monotonic nanoseconds are too large to be exact as floats."""
    return np.asarray(np.asarray(time_ns, dtype=np.int64) - zero_ns, dtype=np.float64) / 1e9
