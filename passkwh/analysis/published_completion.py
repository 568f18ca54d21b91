"""Published tables of code completion (GREEN-CODE's runs): what their printed figures can show, and what they cannot.

Such a row has the energy of one run, in all and a task, and scores of text: exact match is a share of tasks and can be
tested; CodeBLEU is a mean of scores whose spread is not printed, and cannot. No program was tested, so there is no
pass@1 and no pass@kWh.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from passkwh.analysis.pareto import frontier
from passkwh.analysis.published import PublishedReport, printed_bounds, printed_number
from passkwh.analysis.sentences import about_printed_accuracy, about_printed_energy, about_printed_score
from passkwh.errors import UsageError
from passkwh.records import Record

FIGURES = ("codebleu", "exact_match", "mean_energy_j", "total_energy_j")


class CompletionRow(Record):
    """A row as printed; figures are texts, because their number of digits is part of what they say."""

    language: str
    model: str
    method: str
    threshold: str
    codebleu: str
    exact_match: str
    mean_energy_j: str
    total_energy_j: str

    @property
    def label(self) -> str:
        """The configuration."""
        return " ".join(part for part in (self.model, self.method, self.threshold) if part)

    @property
    def tasks(self) -> int:
        """How many completions the run made: not printed, but total over mean energy."""
        return round(float(self.total_energy_j) / float(self.mean_energy_j))


COLUMNS = tuple(CompletionRow.model_fields)


def is_completion(path: Path) -> bool:
    """Whether a file's heading is that of a table of code completion."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {"language", "codebleu"} <= set(next(csv.reader(file), []))
    except (OSError, UnicodeDecodeError, csv.Error):
        return False


def read_completion(path: Path) -> tuple[CompletionRow, ...]:
    """Read a CSV of published rows.

    Raises:
        UsageError: where a column is missing, a figure is no number, or an energy is not above 0.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    missing = [c for c in COLUMNS if not rows or c not in rows[0]]
    if missing:
        raise UsageError(f"{path} has no column {missing[0]}: a table of code completion needs {', '.join(COLUMNS)}")
    result = []
    for number, row in enumerate(rows, start=2):
        for name in FIGURES:
            printed_number(row[name], f"{path}, line {number}: {name}")
        for name in ("mean_energy_j", "total_energy_j"):
            if not printed_bounds(row[name])[0] > 0:
                raise UsageError(f"{path}, line {number}: {name} is {row[name]}, which may be 0: leave the row out")
        result.append(CompletionRow(**{name: row[name] or "" for name in COLUMNS}))
    return tuple(result)


def check_completion(rows: Sequence[CompletionRow], family: str = "", tasks: int | None = None) -> PublishedReport:
    """Check rows; each language is a table of its own. The frontier is of energy and CodeBLEU.

    Raises UsageError where ``tasks`` is not what the printed energies say.
    """
    chosen = [row for row in rows if row.model.startswith(family)]
    conclusions, oddities, on_frontier = [], [], []
    for language in dict.fromkeys(row.language for row in chosen):
        own = [row for row in chosen if row.language == language]
        counts = sorted({row.tasks for row in own})
        if tasks is not None and counts != [tasks]:
            of_print = " or ".join(map(str, counts))
            raise UsageError(f"--tasks {tasks}: the printed energies are of {of_print} {language} tasks; leave it out")
        conclusions += [f"{language}: {text}" for text in _conclusions(own, counts)]
        oddities += [f"{language}: {text}" for text in _oddities(counts)]
        on = frontier([(float(row.total_energy_j), float(row.codebleu)) for row in own], ("min", "max"))
        on_frontier += [f"{language} {row.label}" for row, is_on in zip(own, on, strict=True) if is_on]
    if chosen:
        conclusions.append(
            "pass@1 and pass@kWh cannot be said: no program was tested, and no score of its text stands for that"
        )
    return PublishedReport(
        rows=len(rows), oddities=tuple(oddities), conclusions=tuple(conclusions), frontier=tuple(on_frontier),
        configurations=tuple(f"{row.language} {row.label}" for row in chosen),
    )  # fmt: skip


def _conclusions(rows: Sequence[CompletionRow], counts: Sequence[int]) -> list[str]:
    if len(rows) < 2:
        return []
    energies = [printed_bounds(row.total_energy_j) for row in rows]
    least = min(range(len(rows)), key=lambda i: sum(energies[i]))
    tied = [row.label for i, row in enumerate(rows) if i != least and energies[i][0] <= energies[least][1]]
    matched = max(range(len(rows)), key=lambda i: float(rows[i].exact_match))
    rest = [(row.label, float(row.exact_match)) for i, row in enumerate(rows) if i != matched]
    of = counts[0] if len(counts) == 1 else None
    exact = about_printed_accuracy(rows[matched].label, float(rows[matched].exact_match), rest, of)
    scores = [printed_bounds(row.codebleu) for row in rows]
    best = max(range(len(rows)), key=lambda i: sum(scores[i]))
    alike = [row.label for i, row in enumerate(rows) if i != best and scores[i][1] >= scores[best][0]]
    return [
        about_printed_energy(rows[least].label, tied).text,
        f"exact match: {exact.text}",
        about_printed_score("CodeBLEU", rows[best].label, alike).text,
        *_same_scores(rows),
    ]


def _oddities(counts: Sequence[int]) -> list[str]:
    """Energies that are of unlike numbers of tasks."""
    if len(counts) < 2:
        return []
    return [f"total over mean energy gives {' and '.join(map(str, counts))} tasks: rows are not of the same tasks"]


def _same_scores(rows: Sequence[CompletionRow]) -> list[str]:
    """Runs of a model that gave the same scores at unlike energies."""
    pairs = []
    alike: dict[tuple[str, str, str], list[CompletionRow]] = {}
    for row in rows:
        alike.setdefault((row.model, row.codebleu, row.exact_match), []).append(row)
    for shared in alike.values():
        if len({row.total_energy_j for row in shared}) > 1:
            low, *_, high = sorted(shared, key=lambda row: Decimal(row.total_energy_j))
            more = float(high.total_energy_j) / float(low.total_energy_j) - 1
            pairs.append(f"{high.label} has the scores of {low.label} at {more:.1%} more energy")
    return pairs
