"""Whether the files of one complete run are of one run: parts that were swapped, or changed one by one, differ."""

from __future__ import annotations

import math

from passkwh.harness.meter.energies import combined_provenance
from passkwh.harness.runs.table import SampleTable, whole_sum
from passkwh.records import Manifest, Summary
from passkwh.units import joules_to_kwh


def mismatch(manifest: Manifest, summary: Summary, samples: SampleTable | None = None) -> str | None:
    """The first thing in which the parts of a run contradict each other, in words; None where nothing does."""
    for what, ours, theirs in (
        ("run", manifest.run_id, summary.run_id),
        ("model", manifest.model.name, summary.model),
        ("benchmark", manifest.benchmark.name, summary.benchmark),
        ("number of tasks", manifest.benchmark.tasks, summary.tasks),
    ):
        if ours != theirs:
            return f"its manifest and its summary name another {what}: {str(ours)[:80]} and {str(theirs)[:80]}"
    channels = {(channel.name, channel.provenance, channel.counted) for channel in manifest.meter.channels}
    for total in summary.channels:
        if (total.channel, total.provenance, total.counted) not in channels:
            return f"its summary has {total.channel[:60]} as {total.provenance}, which its manifest has not"
    provenance = combined_provenance(total.provenance for total in summary.channels if total.counted)
    if provenance not in (None, summary.provenance):
        return f"its summary is said to be {summary.provenance} and its channels are {provenance}"
    if summary.gross_energy_j is not None:
        kwh = joules_to_kwh(summary.gross_energy_j)
        if summary.energy_kwh is None or not math.isclose(summary.energy_kwh, kwh, rel_tol=1e-6):
            return f"its summary states {summary.energy_kwh} kWh, and its joules are {kwh:.6g} kWh"
    if samples is not None:
        for what, column, stated in (
            ("prompt tokens", samples.prompt_tokens, summary.prompt_tokens),
            ("completion tokens", samples.completion_tokens, summary.completion_tokens),
        ):
            if (sum_of_samples := whole_sum(column)) != stated:
                return f"its samples have {sum_of_samples} {what}, and its summary states {stated}"
    return None
