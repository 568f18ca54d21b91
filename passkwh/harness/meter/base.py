"""What a channel and a meter are: something with a name that can be read in microseconds, and who opens it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from passkwh.errors import UsageError
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

    info: ChannelInfo
    """Name, provenance and the quantity that energy is computed from."""

    def read(self) -> list[Reading]:
        """Current readings: at least one of ``info.quantity``."""
        ...

    def close(self) -> None:
        """Release the device; inherited, by a class that holds nothing."""
        return


@dataclass(frozen=True)
class Meter:
    """A meter as the registry holds it: ``--meter NAME`` or ``--meter NAME:ARGUMENT`` opens its channels."""

    usage: str
    """How it is written, for example ``rapl[:FOLDER]``."""
    summary: str
    """What it reads, in a few words."""
    open: Callable[[str], Sequence[Channel]]
    """Takes what stands after the colon and returns open channels; UsageError where there is nothing to read."""
    exclusive: bool = True
    """A run metered by it needs the machine for itself, since other work there would be in its energy. False for what
    is no device of this machine."""
    devices: Callable[[str], Sequence[str]] | None = None
    """Of a meter that sees only some devices (GPUs): their names, as ``gpu-0``, from what stands after the colon, none
    where that is all of them. Runs on other devices may go on beside it."""


@dataclass(frozen=True)
class ChannelState:
    """A channel that is possible on this machine, as ``bench doctor`` shows it."""

    name: str
    provenance: str
    """measured or estimated."""
    state: str
    """``readable``, or why not, in words."""
    advice: str | None = None
    """The command that would give a better one."""


def readable(channels: Iterable[Channel]) -> list[ChannelState]:
    """States of channels that are open."""
    return [ChannelState(channel.info.name, channel.info.provenance, "readable") for channel in channels]


def reason_of(error: Exception) -> str:
    """Why a reading failed, in words: the system's own where it has some, never an empty text."""
    return (error.strerror if isinstance(error, OSError) else None) or f"{error}" or type(error).__name__


def check_no_argument(meter: str, argument: str) -> None:
    """UsageError where something stands after the colon of a meter that takes nothing."""
    if argument:
        raise UsageError(f"the meter {meter!r} takes no argument, not {argument!r}: use --meter {meter}")


def reading(quantity: str, call: Callable[[], float], scale: float = 1.0) -> Reading:
    """What a driver answers, times ``scale``; or why it failed: whatever a driver does, the recording goes on."""
    try:
        return Reading(quantity, call() * scale)
    except Exception as error:
        return Reading(quantity, None, reason_of(error))


def open_meter(name: str) -> list[Channel]:
    """The open channels of a meter, ``NAME`` or ``NAME:ARGUMENT``; UsageError for one that does not exist here."""
    meter, argument = find_meter(name)
    return list(meter.open(argument))


def find_meter(name: str) -> tuple[Meter, str]:
    """A meter, ``NAME`` or ``NAME:ARGUMENT``, and its argument; UsageError for one that nobody provides."""
    before, _, argument = name.partition(":")
    meter: Meter = METERS.get(before)
    return meter, argument


@contextmanager
def opened(name: str) -> Iterator[list[Channel]]:
    """:func:`open_meter` for a block of code, which ends with the channels closed."""
    channels = open_meter(name)
    try:
        yield channels
    finally:
        for channel in channels:
            channel.close()


def meter_channels(name: str) -> tuple[ChannelInfo, ...]:
    """The channels that a meter would read, opened and closed again: a mistake shows before any work is done."""
    with opened(name) as channels:
        return tuple(channel.info for channel in channels)
