"""What a named experiment's one difference does, on the same tasks: each member of a family against its first."""

from __future__ import annotations

from passkwh.analysis.bootstrap import Draws
from passkwh.analysis.experiments import Experiment
from passkwh.analysis.intervals import contrasts
from passkwh.analysis.pairs import COMPARED, PairTests, compare_pairs
from passkwh.analysis.results import Contrast
from passkwh.analysis.tasks import TaskTable
from passkwh.records import Record


class ReferenceEffect(Record):
    """One configuration against its family's reference (the smallest, the base, the unquantized, batch 1).

    Adjusted p-values are over the experiment's comparisons.
    """

    family: str
    reference: str
    label: str
    contrasts: tuple[Contrast, ...]
    tests: PairTests

    def contrast(self, measure: str) -> Contrast:
        """The contrast on one of ``pairs.COMPARED``."""
        return next(c for c in self.contrasts if c.measure == measure)


def effects_vs_reference(
    experiment: Experiment, table: TaskTable, draws: Draws, margin: float, level: float = 0.95
) -> tuple[ReferenceEffect, ...]:
    """Compare every member of every family with the family's first; ``draws`` are of ``table``."""
    members = [(f.title, f.labels[0], label) for f in experiment.families for label in f.labels[1:]]
    position = {label: i for i, label in enumerate(table.labels)}
    pairs = [(position[label], position[reference]) for _, reference, label in members]
    by_measure = contrasts(draws, COMPARED, pairs, level)
    tests = compare_pairs(table, pairs, margin, level)
    return tuple(
        ReferenceEffect(
            family=family, reference=reference, label=label,
            contrasts=by_measure[i :: len(pairs)], tests=tests[i],
        )
        for i, (family, reference, label) in enumerate(members)
    )  # fmt: skip
