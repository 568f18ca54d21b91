"""Which energy leads: the conventions of the thesis, of GREEN-CODE, and ours, each in one object.

A convention says whether idle power is subtracted, which channels count, and whether scoring is part of a run. It is
applied to runs once they are read (:func:`by_convention`), so every figure of an analysis or page follows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from passkwh.errors import UsageError
from passkwh.harness.meter.energies import add, combined_provenance
from passkwh.passk import pass_at_kwh, solved_per_kwh
from passkwh.records import ChannelTotal, Manifest, Summary
from passkwh.units import joules_to_kwh

if TYPE_CHECKING:
    from passkwh.analysis.frames import Run

EnergyKind = Literal["gross", "net"]


@dataclass(frozen=True)
class Convention:
    """What a run's energy is."""

    name: str
    energy: EnergyKind
    """Gross, or net of idle power."""
    gpu_only: bool
    """Only GPU channels count; else every counted channel."""
    scoring: bool
    """Whether the energy of scoring is part of it."""

    def describe(self) -> str:
        """In words, as pages state it."""
        kind = "net energy (gross less idle power × time)" if self.energy == "net" else "gross energy"
        channels = "GPU channels only" if self.gpu_only else "all counted channels"
        return f"{self.name}: {kind}, {channels}, {'generation and scoring' if self.scoring else 'generation only'}"


CONVENTIONS: dict[str, Convention] = {
    one.name: one
    for one in (
        Convention("passkwh", "gross", gpu_only=False, scoring=True),
        Convention("thesis", "net", gpu_only=True, scoring=True),
        Convention("green-code", "gross", gpu_only=True, scoring=False),
    )
}
"""All conventions by name; the first is the default."""
OURS = CONVENTIONS["passkwh"]


def convention(name: str) -> Convention:
    """One by its name. Raises UsageError naming the others."""
    if name not in CONVENTIONS:
        raise UsageError(f"--convention {name}: write one of {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]


def stated(runs: Sequence[Run], energy: EnergyKind) -> str:
    """What a page or command says of its runs' energies: the convention, what overrides it, and what stands in."""
    first = runs[0].convention
    text = f"by the convention {first.describe()}"
    if energy != first.energy:
        text += f", with {energy} energy asked for in its place"
    notes = [run.convention_note for run in runs if run.convention_note]
    if notes and len(notes) == len(runs):
        return f"{text}; no run has a GPU channel, so all counted channels stand in for it"
    return "; ".join([text, *notes])


def applied(manifest: Manifest, summary: Summary, chosen: Convention) -> tuple[Manifest, Summary, str | None]:
    """A run's manifest and summary by a convention, and what a reader must know where it could not be kept.

    Where GPU channels are to count and the run has none, its counted channels stand in, and the third value says so.
    """
    if chosen == OURS:
        return manifest, summary, None
    has_gpu = any(channel.name.startswith("gpu:") for channel in manifest.meter.channels)
    note = None
    if chosen.gpu_only and has_gpu:
        channels = tuple(c.model_copy(update={"counted": c.name.startswith("gpu:")}) for c in manifest.meter.channels)
        meter = manifest.meter.model_copy(update={"channels": channels})
        manifest = manifest.model_copy(update={"meter": meter})
        totals = tuple(t.model_copy(update={"counted": t.channel.startswith("gpu:")}) for t in summary.channels)
        summary = summary.model_copy(update={"channels": totals})
    elif chosen.gpu_only:
        stand_in = [c.name for c in manifest.meter.channels if c.counted]
        note = (
            f"convention {chosen.name} counts GPU channels, and {manifest.run_id} has none: "
            + (f"its counted channels stand in ({', '.join(stand_in)})" if stand_in else "it has no other either")
        )  # fmt: skip
    return manifest, _summary(summary, chosen), note


def _summary(summary: Summary, chosen: Convention) -> Summary:
    """The headline figures by a convention; ``energy_kwh`` and what is per kWh are gross or net as it has it."""
    counted: Sequence[ChannelTotal] = [total for total in summary.channels if total.counted]
    if not counted:
        return summary
    generation, evaluation = (add(getattr(t, stage) for t in counted) for stage in ("generation", "evaluation"))
    total = add([generation, evaluation]) if chosen.scoring else generation
    leading = total.net_j if chosen.energy == "net" else total.gross_j
    of_tokens = generation.net_j if chosen.energy == "net" else generation.gross_j
    tokens = summary.completion_tokens
    return summary.model_copy(
        update={
            "gross_energy_j": total.gross_j, "net_energy_j": total.net_j,
            "energy_kwh": None if leading is None else joules_to_kwh(leading),
            "generation_energy_j": generation.gross_j, "evaluation_energy_j": evaluation.gross_j,
            "energy_reason": total.reason,
            "pass_at_kwh": pass_at_kwh(summary.pass_at_k.get("1"), leading),
            "solved_per_kwh": solved_per_kwh(summary.solved, leading),
            "joules_per_token": of_tokens / tokens if of_tokens is not None and tokens else None,
            "metrics_per_kwh": {
                name: per_kwh
                for name in summary.metrics_per_kwh
                if (per_kwh := pass_at_kwh(summary.metrics.get(name), leading)) is not None
            },
            "provenance": combined_provenance(t.provenance for t in counted) or summary.provenance,
        }
    )  # fmt: skip
