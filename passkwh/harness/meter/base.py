"""What a channel is to the recorder: something with a name that can be read in microseconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from passkwh.records import ChannelInfo
from passkwh.registry import METERS

ESTIMATE_INTERVAL_S = 0.2
"""Between the edges of windows, estimated channels are read no closer than this. What they add up (CPU time, a constant
power) is exact at whatever moment it is read: closer readings would only cost the run more."""


@dataclass(frozen=True)
class Reading:
    """One value of one quantity at the moment of reading; ``value`` is None, with a reason, when reading failed."""

    quantity: str
    """``energy_j`` (cumulative), ``power_w``, ``power_1s_w``, or an auxiliary such as ``temperature_c``."""
    value: float | None
    reason: str | None = None


class Channel(Protocol):
    """One metered thing. ``read`` must be cheap (well under a millisecond), never raise and never block."""

    @property
    def info(self) -> ChannelInfo:
        """Name, provenance and the quantity that energy is computed from."""
        ...

    def read(self) -> list[Reading]:
        """Current readings: at least one of ``info.quantity``."""
        ...

    def close(self) -> None:
        """Release the device."""
        ...


@dataclass(frozen=True)
class Meter:
    """A meter as the registry holds it: ``--meter NAME`` or ``--meter NAME:ARGUMENT`` opens its channels."""

    usage: str
    """How it is written, for example ``rapl[:FOLDER]``."""
    summary: str
    """What it reads, in a few words."""
    open: Callable[[str], Sequence[Channel]]
    """Takes what stands after the colon and returns open channels; UsageError where there is nothing to read."""


def open_meter(name: str) -> list[Channel]:
    """The open channels of a meter, ``NAME`` or ``NAME:ARGUMENT``; UsageError for one that does not exist here."""
    meter, _, argument = name.partition(":")
    found: Meter = METERS.get(meter)
    return list(found.open(argument))
