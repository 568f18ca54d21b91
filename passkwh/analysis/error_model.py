"""One error model: what can make an energy come out otherwise, each source once, in intervals and in tests alike.

=============  =========================================  ======================================================
source         what varies                                how it is known
=============  =========================================  ======================================================
units          other tasks (or batches, time blocks)      their spread; random errors of each reading are in it
run-to-run     the same run again: heat, clocks, load     scatter of repeats' totals, pooled, with Student's t
meter          what all readings of a run share           stated error beyond that of its single readings
idle, drift    idle power that is taken off (net only)    its standard error, and how far it moved over the run
=============  =========================================  ======================================================

Repeats differ by their meter and idle, too, so for a configuration the scatter of repeats and the stated errors are
alternatives: the larger counts. What single readings within a run scatter by is in the totals of repeats as well as in
the spread of units; with repeats it is taken out of the latter, where only task x configuration is left.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from passkwh.analysis.results import TestResult, no_result
from passkwh.analysis.units_of_measurement import JointUnits, joint, numbered, sums

Floats = NDArray[np.float64]
PerRun = Literal["energy_j", "joules_per_token", "tokens_per_s", "geometric_j"]
SOURCES = ("units", "run-to-run", "meter", "idle", "drift")
FEWEST_UNITS = 3
"""Two units give a spread with one degree of freedom: nothing that a sentence could rest on."""
UNEQUAL_P = 0.01
"""Bartlett's test below this: configurations scatter by unlike amounts, and each goes by its own."""


@dataclass(frozen=True)
class RunTotals:
    """The runs of one configuration, over the tasks of a table; arrays of shape (runs,), NaN where missing."""

    energy_j: Floats
    joules_per_token: Floats
    tokens_per_s: Floats
    noise: float
    """Variance of one run's log energy from errors that are independent between units; 0 with a single run."""
    started: tuple[str, ...] = ()
    """When each run began."""
    geometric_j: Floats = field(default_factory=lambda: np.empty(0))
    """Geometric mean of each run's energies over tasks; empty where nobody asked for it."""
    geometric_noise: float = 0.0
    """The same as ``noise`` of the logarithm of the geometric mean."""


@dataclass(frozen=True)
class RunError:
    """Relative standard error of each configuration's mean run, and its degrees of freedom, shape (configurations,)."""

    se: Floats
    df: Floats
    source: tuple[str, ...]
    """run-to-run, or stated."""

    @property
    def pooled(self) -> bool:
        """Whether all have one scatter in common."""
        return len(set(self.df.tolist())) == 1


def run_error(runs: tuple[RunTotals, ...], stated_se: Floats, of: PerRun = "energy_j") -> RunError:
    """What differs between runs of a configuration: pooled scatter of repeats, or the stated error where larger.

    The scatter (of logs) is pooled over configurations with repeats, and holds of those without as well. Where
    Bartlett's test says that it is unlike, each goes by its own, and those without repeats by the largest.
    """
    stated_se = stated_se if of != "tokens_per_s" else np.zeros_like(stated_se)
    width = len(stated_se)
    infinite, nothing = np.full(width, np.inf), RunError(stated_se, np.full(width, np.inf), ("stated",) * width)
    logs = [_logs(getattr(one, of)) for one in runs]
    count = np.array([len(one) for one in logs], dtype=np.float64)
    squares = np.array([float(((one - one.mean()) ** 2).sum()) if len(one) else 0.0 for one in logs])
    own_df = np.maximum(count - 1.0, 0.0)
    if not own_df.sum():
        return nothing
    variance: Floats = np.full(width, squares.sum() / own_df.sum())
    df: Floats = np.full(width, own_df.sum())
    repeated = own_df > 0
    if _unlike([one for one in logs if len(one) > 1]):
        each = np.divide(squares, own_df, out=np.zeros(width), where=repeated)
        largest = int(np.argmax(each))
        variance = np.where(repeated, each, each[largest])
        df = np.where(repeated, own_df, own_df[largest])
    se = np.sqrt(variance / np.maximum(count, 1.0))
    larger = stated_se > se
    return RunError(
        np.where(larger, stated_se, se), np.where(larger, infinite, df),
        tuple("stated" if one else "run-to-run" for one in larger),
    )  # fmt: skip


def _logs(values: Floats) -> Floats:
    known = values[np.isfinite(values)]
    mean = float(known.mean()) if len(known) else 0.0
    if not mean > 0:
        return np.empty(0)
    # A net energy may come out below 0 once; its distance from the mean is then as good as a log.
    result: Floats = np.log(known) if (known > 0).all() else known / mean
    return result


def _unlike(groups: list[Floats]) -> bool:
    from scipy import stats

    usable = [one for one in groups if one.var() > 0]
    if len(usable) < 2:
        return False
    return bool(stats.bartlett(*usable).pvalue < UNEQUAL_P)


@dataclass(frozen=True)
class Measured:
    """What the error model takes of configurations: arrays of shape (configurations, tasks) and (configurations,)."""

    energy_j: Floats
    units: NDArray[np.int64]
    runs: tuple[RunTotals, ...]
    stated: dict[str, Floats]
    """Relative standard error by source: meter, idle, drift."""
    widened: Floats = field(default_factory=lambda: np.ones(1))
    """Factor of the units' variance by configuration, for what blocks over time share with their neighbours."""

    @cached_property
    def joint(self) -> JointUnits:
        """The units that all have in common."""
        return joint(self.units)

    @cached_property
    def stated_se(self) -> Floats:
        """All stated sources together."""
        return np.asarray(np.sqrt(np.sum([one**2 for one in self.stated.values()], axis=0)), dtype=np.float64)

    @cached_property
    def run_error(self) -> RunError:
        """Of energy."""
        return run_error(self.runs, self.stated_se)

    @cached_property
    def geometric_error(self) -> RunError:
        """Of the geometric mean over tasks."""
        return run_error(self.runs, self.stated_se, "geometric_j")

    @property
    def repeated(self) -> bool:
        """Whether some configuration has repeats, so that the scatter of runs is known."""
        return any(len(_logs(one.energy_j)) > 1 for one in self.runs)

    @cached_property
    def noise(self) -> Floats:
        """Variance of each mean run's log energy that repeats already show; 0 where there are none."""
        return self._of_mean_run([one.noise for one in self.runs])

    @cached_property
    def geometric_noise(self) -> Floats:
        """The same of the logarithm of the geometric mean over tasks."""
        return self._of_mean_run([one.geometric_noise for one in self.runs])

    def _of_mean_run(self, of_run: list[float]) -> Floats:
        if not self.repeated:
            return np.zeros(len(self.energy_j))
        count = np.array([max(int(np.isfinite(one.energy_j).sum()), 1) for one in self.runs])
        seen = np.array(of_run)
        return np.asarray(np.where(count > 1, seen, seen[count > 1].mean()) / count, dtype=np.float64)

    @cached_property
    def apart(self) -> Floats:
        """Each configuration's share of a run's energy on each task, less the mean share; NaN without all energies."""
        total = self.energy_j.sum(axis=1, keepdims=True)
        if len(total) < 2 or not (total > 0).all():
            return np.full(self.energy_j.shape, np.nan)
        shares = self.energy_j / total
        result: Floats = shares - shares.mean(axis=0)
        return result

    @cached_property
    def batch_variance(self) -> Floats:
        """What batches add to the variance of each log energy where they are not matched, and tasks are drawn.

        Of the clustered variance over a configuration's batches the part beside single tasks (Cameron, Gelbach and
        Miller 2011): 0 where units are matched, for these are drawn whole then.
        """
        if self.joint.matched or np.isnan(self.apart).any():
            return np.zeros(len(self.energy_j))
        # Against the mean of the others, which the batches of these others leave as it is.
        k = len(self.energy_j)
        against = self.apart * (k / (k - 1.0))
        extra = [_clustered(d, units) - float(d @ d) for d, units in zip(against, self.units, strict=True)]
        return np.maximum(extra, 0.0)

    def without_noise(self) -> Floats:
        """Energies whose task x configuration part is shrunk to what is left without the noise within runs.

        Totals stay; the scatter of totals between repeats is the only place where that noise then counts.
        """
        if not self.repeated or np.isnan(self.apart).any():
            return self.energy_j
        of_task, count, _ = drawn_units(self.joint, self.energy_j.shape[1])
        spread = (sums(self.apart, of_task, count) ** 2).sum(axis=1) * count / max(count - 1, 1)
        k = len(self.apart)
        expected = (1.0 - 2.0 / k) * self.noise + self.noise.sum() / k**2
        left = np.sqrt(np.clip(1.0 - np.divide(expected, spread, out=np.zeros(k), where=spread > 0), 0.0, 1.0))
        total = self.energy_j.sum(axis=1, keepdims=True)
        common = self.energy_j / total - self.apart
        result: Floats = total * (common + left[:, None] * self.apart)
        return result


def drawn_units(units: JointUnits, tasks: int) -> JointUnits:
    """What is drawn together: matched units, else single tasks (what batches add is put on top)."""
    return units if units.matched else JointUnits(np.arange(tasks, dtype=np.int64), tasks, matched=False)


def _clustered(d: Floats, units: NDArray[np.int64]) -> float:
    """Sum of squared sums over units, with the small-sample factor."""
    number, count = numbered(units)
    of_units = sums(d, number, count)
    return float(of_units @ of_units) * count / max(count - 1, 1)


class Weight(NamedTuple):
    """What unequal units make of a spread: a factor that makes it unbiased, and its degrees of freedom."""

    factor: float
    df: float


def weight(shares: Floats) -> Weight:
    """Of a ratio of totals whose units, with these shares of the total, err by a like percentage.

    Large units carry the total, and pull the ratio towards themselves: fewer units than there are tell its spread. For
    n equal ones n / (n - 1) and n - 1.
    """
    square = float((shares**2).sum())
    left = square - 2.0 * float((shares**3).sum()) + square**2
    df = square**2 / float((shares**4).sum()) - 1.0
    return Weight(square / left if left > 0 else 1.0, max(df, 1.0))


Scope = Literal["configurations", "these runs"]


def scope(measured: Measured, i: int, j: int) -> tuple[Scope, str | None]:
    """Whether a difference between two is one of configurations, or only of these runs, and why."""
    counts = [max(len(_logs(measured.runs[one].energy_j)), 1) for one in (i, j)]
    if sum(counts) == 2:
        return "these runs", "one run each: how much the same run would differ next time is not known"
    if not measured.repeated:
        return "these runs", "no configuration has repeats with an energy"
    moments = sorted((moment, one) for one in (i, j) for moment in measured.runs[one].started)
    if len({moment for moment, _ in moments}) == len(moments) == sum(counts):
        switches = sum(a[1] != b[1] for a, b in pairwise(moments))
        if switches == 1:
            why = "all runs of one were before all runs of the other: what changed with time cannot be told from it"
            return "these runs", why
    return "configurations", None


@dataclass(frozen=True)
class EnergyContrast:
    """The log ratio of two configurations' energies with its variance by source."""

    log_ratio: float
    parts: dict[str, float]
    df: float
    units: int
    matched: bool
    test: TestResult

    @property
    def variance(self) -> float:
        """Of the log ratio."""
        return sum(self.parts.values())


NAME = "t of the log ratio of totals"


def energy_contrast(measured: Measured, i: int, j: int) -> EnergyContrast | TestResult:
    """Do two configurations differ in energy? Student's t on the log ratio of their totals, with every source of error.

    Degrees of freedom by Satterthwaite. The effect is the ratio. A test without result where energies are missing, not
    above 0, or of fewer than three units.
    """
    energy = measured.energy_j[[i, j]]
    pair = Measured(energy, measured.units[[i, j]], (), {})
    of_task, count, matched = drawn_units(pair.joint, energy.shape[1])
    fewest = count if matched else min(len(np.unique(one)) for one in pair.units)
    total = energy.sum(axis=1)
    if np.isnan(total).any():
        return no_result(NAME, fewest, "energy is missing")
    if not (total > 0).all():
        return no_result(NAME, fewest, "an energy is not above 0, and a ratio needs it to be")
    if fewest < FEWEST_UNITS:
        return no_result(NAME, fewest, f"{fewest} of what was measured once is too few to know their spread")
    shares = sums(energy / total[:, None], of_task, count)
    d, by_size = shares[0] - shares[1], weight(shares.mean(axis=0))
    widened = float(measured.widened[[i, j]].max()) if len(measured.widened) > 1 else 1.0
    spread = [(float(d @ d) * by_size.factor * widened, by_size.df)]
    spread += [
        (float(v), len(np.unique(own)) - 1.0) for v, own in zip(pair.batch_variance, pair.units, strict=True) if v
    ]
    noise = float(measured.noise[i] + measured.noise[j])
    from_units = sum(v for v, _ in spread)
    left = max(from_units - noise, 0.0) / from_units if from_units > 0 else 0.0
    error = measured.run_error
    between = [(float(error.se[one]) ** 2, float(error.df[one])) for one in (i, j)]
    if error.pooled:
        between = [(between[0][0] + between[1][0], between[0][1])]
    parts = dict.fromkeys(SOURCES, 0.0)
    parts["units"] = from_units * left
    for one in (i, j):
        if error.source[one] == "run-to-run":
            parts["run-to-run"] += float(error.se[one]) ** 2
        else:
            for name, stated in measured.stated.items():
                parts[name] += float(stated[one]) ** 2
    terms = [(v * left, df) for v, df in spread] + between
    return _tested(float(np.log(total[0] / total[1])), parts, terms, fewest, matched)


def _tested(
    log_ratio: float, parts: dict[str, float], terms: list[tuple[float, float]], units: int, matched: bool
) -> EnergyContrast:
    from scipy import stats

    variance = sum(v for v, _ in terms)
    lost = sum(v**2 / df for v, df in terms)
    df = variance**2 / lost if lost > 0 else float("inf")
    if variance > 1e-24:
        t = log_ratio / variance**0.5
        p_value = float(2.0 * stats.t.sf(abs(t), df))
    else:  # every unit has the same ratio: only their number says how surely
        t, p_value = None, 1.0 if abs(log_ratio) < 1e-12 else float(min(1.0, 2.0 * 0.5**units))
    test = TestResult(
        test=NAME, statistic=t, p_value=p_value, n=units, df=df if np.isfinite(df) else None,
        effect=float(np.exp(log_ratio)), effect_name="ratio of totals",
    )  # fmt: skip
    return EnergyContrast(log_ratio, parts, df, units, matched, test)
