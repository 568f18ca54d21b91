"""The ``usage`` extension: what an answer cost in time and energy, and where its tokens left the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from passkwh.harness.meter.energies import add
from passkwh.records import ChannelInfo, Energy
from passkwh.serve.engine import Finished, RowEnergy
from passkwh.units import ns_to_s

METHOD = (
    "reconstructed from the recorded trace over the batch the answer was generated in, split over the batch's rows by "
    "tokens; gross is all that the channel drew in that time, net is gross less idle power x time"
)


def extension(
    finished: Sequence[Finished], energies: Sequence[RowEnergy], channels: Sequence[ChannelInfo], no_energy: str
) -> dict[str, Any]:
    """Time, energy and exit layers of an answer's completions together; ``no_energy``: why, where no channel counts."""
    first_ns = [row.completion.first_token_ns for row in finished]
    start_ns = min(row.start_ns for row in finished)
    known = [ns for ns in first_ns if ns is not None]
    return {
        "time": {
            "queued_s": max(row.queued_s for row in finished),
            "generation_s": ns_to_s(max(row.end_ns for row in finished) - start_ns),
            "first_token_s": ns_to_s(min(known) - start_ns) if known else None,
            "batch_size": max(row.batch_size for row in finished),
        },
        "energy": energy_of(energies, channels, no_energy),
        "exit_layers": exit_layers(finished),
    }


def exit_layers(finished: Sequence[Finished]) -> list[list[int]] | None:
    """For every completion the layers each of its tokens ran through; None where the model has no early exits."""
    layers = [row.completion.exit_layers for row in finished]
    return None if any(row is None for row in layers) else [list(row) for row in layers if row is not None]


def energy_of(energies: Sequence[RowEnergy], channels: Sequence[ChannelInfo], no_energy: str) -> dict[str, Any]:
    """Joules of the counted channels together and of every channel, each with where it comes from."""
    by_channel = {info.name: add(row[info.name] for row in energies) for info in channels}
    counted = [info for info in channels if info.counted]
    total = (
        add(by_channel[info.name] for info in counted)
        if counted
        else Energy(gross_j=None, net_j=None, reason=no_energy)
    )
    kinds = {info.provenance for info in counted}
    return {
        **_json(total),
        "provenance": None if not kinds else kinds.pop() if len(kinds) == 1 else "mixed",
        "method": METHOD,
        "channels": {
            info.name: {
                **_json(by_channel[info.name]), "provenance": info.provenance, "source": info.source,
                "counted": info.counted,
            }
            for info in channels
        },
    }  # fmt: skip


def missing(channels: Sequence[ChannelInfo], reason: str) -> RowEnergy:
    """A row's energy where it cannot be had."""
    return {info.name: Energy(gross_j=None, net_j=None, reason=reason) for info in channels}


def _json(energy: Energy) -> Mapping[str, Any]:
    return {"gross_j": energy.gross_j, "net_j": energy.net_j, "se_j": energy.se_j, "reason": energy.reason}
