"""What making a configuration cost (quantizing, training), and after how many solved tasks that is paid back.

The cost is that of the making alone, as it was metered here: a checkpoint that somebody published has one too, which
nobody states.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from passkwh.analysis.experiments import traits
from passkwh.analysis.frames import Run
from passkwh.records import ModelInfo, Record
from passkwh.units import kwh_to_joules


class Payback(Record):
    """One configuration against the same model as it was before."""

    label: str
    reference: str | None
    made_by: Annotated[str, Field(description="quantizing, or training exits and agent")]
    making_j: float | None
    provenance: Annotated[str | None, Field(description="of making_j: measured, estimated, simulated or mixed")]
    joules_per_solved: float | None
    reference_joules_per_solved: float | None
    solved_to_pay_back: Annotated[float | None, Field(description="tasks solved until the making is paid back")]
    reason: Annotated[str | None, Field(description="why a figure is missing")] = None


def paybacks(labels: Sequence[str], runs: Sequence[Run]) -> tuple[Payback, ...]:
    """Each configuration that had to be made (its first run in ``runs``) against the plain one of its model.

    Energies are by the runs' convention; the references are the runs of the same family, size, tuning and batch size
    without quantization and early exit.
    """
    plain = {
        (own.family, own.size, own.tuning, own.batch_size): (label, run)
        for label, run in zip(labels, runs, strict=True)
        if (own := traits(run)).quant == "none" and not run.manifest.spec.exit
    }
    rows = []
    for label, run in zip(labels, runs, strict=True):
        own, exit_rule = traits(run), run.manifest.spec.exit
        if own.quant == "none" and not exit_rule:
            continue
        reference = plain.get((own.family, own.size, own.tuning, own.batch_size))
        steps = ["quantizing"] * (own.quant != "none") + ["training exits and agent"] * (exit_rule is not None)
        rows.append(_payback(label, run, reference, " and ".join(steps)))
    return tuple(rows)


class Making(Record):
    """What making a model's weights, exits and agents drew, as far as it was metered."""

    energy_j: float
    provenance: Annotated[str, Field(description="measured, estimated, simulated or mixed")]


def making(model: ModelInfo) -> Making | None:
    """Of quantizing and of training together; None where a part that was made is not known."""
    parts = [about for about in (model.quantization, model.early_exit) if about]
    if not parts or not all(isinstance(about.get("making_j"), int | float) for about in parts):
        return None
    kinds = {str(about.get("making_provenance")) for about in parts}
    return Making(
        energy_j=sum(float(about["making_j"]) for about in parts),
        provenance=kinds.pop() if len(kinds) == 1 else "mixed",
    )


def tasks_to_pay_back(making_j: float, own_j: float, other_j: float) -> float | None:
    """Solved tasks after which a making is paid back, from joules per solved task; None where none is saved."""
    return making_j / (other_j - own_j) if own_j < other_j else None


def _payback(label: str, run: Run, reference: tuple[str, Run] | None, made_by: str) -> Payback:
    made = making(run.manifest.model)
    own, other = joules_per_solved(run), None if reference is None else joules_per_solved(reference[1])
    reason, tasks = None, None
    if made is None:
        reason = "what making it cost is not known: it was made elsewhere, without a meter, or by an older program"
    elif own is None or other is None:
        reason = (
            "it or its model before has no energy, or solved nothing" if reference else "its model before was not run"
        )
    elif (tasks := tasks_to_pay_back(made.energy_j, own, other)) is None:
        reason = "it is not paid back: a solved task costs no less than before"
    return Payback(
        label=label, reference=None if reference is None else reference[0], made_by=made_by,
        making_j=None if made is None else made.energy_j, provenance=None if made is None else made.provenance,
        joules_per_solved=own, reference_joules_per_solved=other, solved_to_pay_back=tasks, reason=reason,
    )  # fmt: skip


def joules_per_solved(run: Run) -> float | None:
    """Energy of a run over the tasks that it solves, by its convention; None without an energy or a solved task."""
    per_kwh = run.summary.solved_per_kwh
    return kwh_to_joules(1 / per_kwh) if per_kwh else None
