"""The ``usage`` extension: what an answer cost in time and energy, and where its tokens left the model."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from passkwh.harness.meter.energies import add, combined_provenance, counted_total
from passkwh.records import ChannelInfo, Energy
from passkwh.serve.batcher import Finished, RowEnergy
from passkwh.serve.energy_attribution import SETTLE_S, EnergyAttribution
from passkwh.units import ns_to_s

ENERGY_WAIT_S = 5.0 + SETTLE_S
"""An answer waits no longer for its energy."""
METHOD = (
    "reconstructed from the recorded trace over the batch the answer was generated in, split over the batch's rows by "
    "tokens; gross is all that the channel drew in that time, net is gross less idle power x time"
)


async def usage_extension(rows: Sequence[Finished], attribution: EnergyAttribution) -> dict[str, Any]:
    """Time, energy and exit layers of an answer's completions together, once their energy is known."""
    channels = attribution.channels
    energies: list[RowEnergy] = []
    for row in rows:
        try:
            async with asyncio.timeout(ENERGY_WAIT_S):
                energies.append((await asyncio.wrap_future(row.energy))[row.place])
        except TimeoutError:
            reason = f"not known within {ENERGY_WAIT_S:g} s of the answer"
            energies.append({info.name: Energy(gross_j=None, net_j=None, reason=reason) for info in channels})
    first_ns = [row.completion.first_token_ns for row in rows]
    start_ns = min(row.start_ns for row in rows)
    known = [ns for ns in first_ns if ns is not None]
    layers = [row.completion.exit_layers for row in rows]
    drafts = [row.completion.drafts for row in rows if row.completion.drafts is not None]
    return {
        "time": {
            "queued_s": max(row.queued_s for row in rows),
            "generation_s": ns_to_s(max(row.end_ns for row in rows) - start_ns),
            "first_token_s": ns_to_s(min(known) - start_ns) if known else None,
            "batch_size": max(row.batch_size for row in rows),
        },
        "energy": energy_of(energies, channels, attribution.no_energy),
        "exit_layers": None if None in layers else layers,
        **({"drafts": [one.model_dump() for one in drafts]} if drafts else {}),
    }


def energy_of(rows: Sequence[RowEnergy], channels: Sequence[ChannelInfo], no_energy: str) -> dict[str, Any]:
    """Joules of the counted channels together (``no_energy``: why, where none counts) and of every channel."""
    by_channel = {info.name: add(row[info.name] for row in rows) for info in channels}
    total = counted_total(channels, by_channel, no_energy)
    return {
        **total.model_dump(),
        "provenance": combined_provenance(info.provenance for info in channels if info.counted),
        "method": METHOD,
        "channels": {
            info.name: {
                **by_channel[info.name].model_dump(),
                "provenance": info.provenance,
                "source": info.source,
                "counted": info.counted,
            }
            for info in channels
        },
    }
