"""What can be reported of a run, once: name, label, unit, which way is better, how it is written, how it is computed.

Tables of commands, the report and the leaderboard take their columns from here, and so agree on what a figure is
called and when it is missing. A value comes from a run's :class:`~passkwh.records.Summary`; where there is none,
``reason`` says why. Nothing heavy is imported, so that commands which only print a table start fast.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from passkwh.records import Summary

Better = Literal["min", "max"]
DASH = "—"
"""What stands where a figure is missing."""


class Unit(NamedTuple):
    """A unit that figures are shown in, and how many of it make one of the measure's own."""

    name: str
    factor: float


WH, KWH = Unit("Wh", 1000.0), Unit("kWh", 1.0)


def energy_unit(energies_kwh: Iterable[float | None]) -> Unit:
    """kWh for runs of the thesis's size, Wh where all are below 0.1 kWh: so that figures have few zeros."""
    known = [energy for energy in energies_kwh if energy is not None]
    return WH if known and max(known) < 0.1 else KWH


@dataclass(frozen=True)
class Measure:
    """One thing that can be reported of a run.

    Example:
        >>> MEASURES["joules_per_token"].heading()
        'J/token ↓'
        >>> MEASURES["energy_kwh"].heading(WH)
        'energy (Wh) ↓'
        >>> MEASURES["pass_at_1"].axis()
        'pass@1 — higher is better'
    """

    name: str
    """Its key in JSON, in tables of data and in the analysis."""
    label: str
    unit: str
    """Empty for a number without unit, and where the label holds it (J/token)."""
    better: Better | None
    """Which way is better; None of what is neither good nor bad, as a number of tasks."""
    about: str
    """What it is, in one line."""
    value: Callable[[Summary], float | None]
    """Of a run; None where it is missing."""
    why_missing: Callable[[Summary], str] = lambda _: "the run has no such figure"
    digits: int = 3
    """Significant digits where it stands without an interval."""
    limits: str = ""
    """What a reader must know to compare its values; shown wherever they stand."""

    def reason(self, summary: Summary) -> str | None:
        """Why a run has no value; None where it has one."""
        return self.why_missing(summary) if self.value(summary) is None else None

    def heading(self, unit: Unit | None = None) -> str:
        """The head of a column: label, unit, and an arrow towards what is better."""
        shown = unit.name if unit else self.unit
        arrow = {"max": " ↑", "min": " ↓", None: ""}[self.better]
        return f"{self.label} ({shown}){arrow}" if shown else f"{self.label}{arrow}"

    def axis(self, unit: Unit | None = None, label: str | None = None) -> str:
        """The title of an axis, optionally with another label (``estimated energy``)."""
        shown = unit.name if unit else self.unit
        text = f"{label or self.label}, {shown}" if shown else label or self.label
        return text + {"max": " — higher is better", "min": " — lower is better", None: ""}[self.better]

    def text(self, value: float | None) -> str:
        """A value as people read it, with its unit; a dash where it is missing."""
        return number(value, self.digits, self.unit)


# ---------------------------------------------------------------- numbers as people read them


def number(value: float | None, digits: int = 3, unit: str = "") -> str:
    """A figure with significant ``digits``, whole numbers in full, without an exponent where it can be read so.

    A dash where it is missing.

    Example:
        >>> number(0.000123456), number(123456.7, 3, "J"), number(None), number(1.5e12)
        ('0.000123', '123457 J', '—', '1.50e+12')
    """
    if value is None:
        return DASH
    if value != 0 and not 1e-6 <= abs(value) < 1e9:
        text = f"{value:.{digits - 1}e}"
    elif abs(value) >= 10**digits:
        text = f"{value:.0f}"
    else:
        text = f"{value:.{digits}g}"
        if "e" in text:
            text = f"{float(text):.12f}".rstrip("0").rstrip(".")
    return f"{'0' if text == '-0' else text} {unit}".rstrip()


def percent(value: float | None) -> str:
    """A share in per cent with one decimal; a dash where it is missing."""
    return DASH if value is None else f"{value:.1%}"


def kinds(provenances: Iterable[str]) -> str:
    """What figures of these provenances are called: ``measured``, ``estimated or simulated``, ..."""
    return " or ".join(sorted(set(provenances)))


# ---------------------------------------------------------------- pass@k, defined once


def pass_at_k(counts: Sequence[tuple[int, int]], k: int) -> tuple[float | None, str | None]:
    """pass@k of a run, and why it is missing: the mean over *all* of its tasks, given as (evaluated, passed) samples.

    A task with fewer than ``k`` evaluated samples has no pass@k, and a mean over the other tasks would be of other
    tasks than pass@1 is: so the whole is missing then.

    Example:
        >>> pass_at_k([(2, 1), (2, 0)], 1)
        (0.25, None)
        >>> pass_at_k([(2, 1), (1, 0)], 2)
        (None, '1 of 2 tasks have fewer than 2 evaluated samples')
    """
    from passkwh.passk import mean_pass_at_k

    if not counts:
        return None, "samples have no verdicts"
    few = sum(n < k for n, _ in counts)
    if few:
        samples = "sample" if k == 1 else "samples"
        return None, f"{few} of {len(counts)} tasks have fewer than {k} evaluated {samples}"
    return mean_pass_at_k(counts, k), None


# ---------------------------------------------------------------- the measures


def _no_energy(summary: Summary) -> str:
    return summary.energy_reason or "the run has no energy"


def _no_verdicts(summary: Summary) -> str:
    return "samples have no verdicts"


def _no_ratio(summary: Summary) -> str:
    return _no_energy(summary) if summary.gross_energy_j is None else _no_verdicts(summary)


def pass_at(k: int) -> Measure:
    """pass@k as a measure."""

    def why(summary: Summary) -> str:
        if not summary.pass_at_k:
            return _no_verdicts(summary)
        return f"it takes {k} evaluated samples of every task, and the run does not have them"

    return Measure(
        f"pass_at_{k}", f"pass@{k}", "", "max",
        f"chance that at least one of {k} completions of a task passes, mean over tasks",
        lambda summary: summary.pass_at_k.get(str(k)), why,
    )  # fmt: skip


def metric(name: str) -> Measure:
    """One of the benchmark's own metrics, by its name."""
    return Measure(
        name, name, "", "max", f"the benchmark's {name}",
        lambda summary: summary.metrics.get(name), lambda _: f"the benchmark has no metric {name}",
        limits=CODEBLEU_LIMITS if name.startswith("codebleu") else "",
    )  # fmt: skip


CODEBLEU_LIMITS = (
    "CodeBLEU as its package computes it gives 0.25 to an empty answer (a data flow of 0 enters as 1) and 0.66 to an "
    "exact `return 1` (which has no 4-grams): compare its parts, too."
)


def metric_per_kwh(name: str) -> Measure:
    """A metric of which more is better, divided by the run's energy in kWh."""

    def why(summary: Summary) -> str:
        return _no_energy(summary) if summary.gross_energy_j is None else f"more of {name} is not better"

    return Measure(
        f"{name}_per_kwh", f"{name}/kWh", "", "max", f"{name} / energy in kWh",
        lambda summary: summary.metrics_per_kwh.get(name), why,
    )  # fmt: skip


def quality(name: str) -> Measure:
    """What ``--metric NAME`` names: ``pass@K``, or one of the benchmark's own metrics."""
    k = name.removeprefix("pass@")
    return pass_at(int(k)) if name != k and k.isdigit() else metric(name)


def _no_tokens(summary: Summary) -> str:
    return _no_energy(summary) if summary.generation_energy_j is None else "the run has no generated tokens"


def _no_thinking(summary: Summary) -> str:
    if summary.cut_while_thinking is None:
        return "the run has no thinking"
    if summary.reasoning_energy_j is None and summary.generation_energy_j is None:
        return _no_energy(summary)
    if summary.reasoning_tokens is None:
        return "the server does not count tokens of thinking"
    return "samples share their windows, or it is not known when thinking ended"


def _no_steady(summary: Summary) -> str:
    return summary.steady_reason or "no requests were kept in flight (--concurrency)"


_REASONS = {
    "verdicts": _no_verdicts, "energy": _no_energy, "ratio": _no_ratio, "tokens": _no_tokens, "thought": _no_thinking,
    "steady": _no_steady,
}  # fmt: skip
"""Why a value is missing, by the word in measures.csv; anything else there is the reason itself."""


def _read() -> dict[str, Measure]:
    """The measures of ``measures.csv``: fields of a run's summary by their names, and pass@1."""
    text = Path(__file__).with_suffix(".csv").read_text("utf-8")
    measures = {}
    for name, label, unit, better, digits, missing, about in list(csv.reader(text.splitlines()))[1:]:
        why = _REASONS.get(missing, lambda _, missing=missing: missing)
        value = pass_at(1).value if name == "pass_at_1" else attrgetter(name)
        measures[name] = Measure(name, label, unit, _BETTER[better], about, value, why, int(digits))
    return measures


_BETTER: dict[str, Better | None] = {"max": "max", "min": "min", "": None}
MEASURES: dict[str, Measure] = _read()
"""All measures of a run's summary by name, in the order in which tables show them. pass@k beyond 1 and the benchmark's
own metrics are made by :func:`pass_at` and :func:`metric`."""
HEADLINES = ("pass_at_1", "energy_kwh", "pass_at_kwh", "solved_per_kwh", "joules_per_token", "tokens_per_s")
"""The measures that the analysis gives intervals of."""


def measure(name: str) -> Measure:
    """A measure by its name, ``pass_at_5`` included. Raises KeyError for a name that there is not."""
    k = name.removeprefix("pass_at_")
    return pass_at(int(k)) if name != k and k.isdigit() else MEASURES[name]
