"""``--meter auto``: every device that can be read here, and estimates of CPU and memory where no counter can."""

from __future__ import annotations

from collections.abc import Callable

from passkwh.harness.meter.amd import find_amd
from passkwh.harness.meter.base import Channel, ChannelState, Meter, check_no_argument, opened, readable
from passkwh.harness.meter.dram import EstimatedDram
from passkwh.harness.meter.estimate import EstimatedCpu
from passkwh.harness.meter.nvidia import find_nvidia
from passkwh.harness.meter.rapl import find_rapl
from passkwh.harness.meter.soc import find_soc

Finder = Callable[[], tuple[list[Channel], list[ChannelState]]]

FINDERS: tuple[Finder, ...] = (find_nvidia, find_amd, find_rapl, find_soc)
"""Each opens what one kind of device offers and gives the state of each; none raises for what the machine lacks."""


def find_channels() -> tuple[list[Channel], list[ChannelState]]:
    """Open channels of ``auto`` and the state of everything that was looked for."""
    channels: list[Channel] = []
    states: list[ChannelState] = []
    for finder in FINDERS:
        opened, looked_for = finder()
        channels += opened
        states += looked_for
    for estimate, measured, what in (
        (EstimatedCpu(), ("cpu:", "soc"), "CPU"),
        (EstimatedDram(), ("dram:", "soc"), "memory"),
    ):
        used = not any(channel.info.name.startswith(measured) for channel in channels)
        if used:
            channels.append(estimate)
        outcome = "readable" if used else f"not used: the {what} is measured"
        states.append(ChannelState(estimate.info.name, "estimated", outcome))
    return channels, states


def open_auto(argument: str) -> list[Channel]:
    """The registry's ``auto``; takes no argument."""
    check_no_argument("auto", argument)
    return find_channels()[0]


def describe_channels(meter: str = "auto") -> list[ChannelState]:
    """A meter's channels; of ``auto`` all that are possible here, readable or why not, with how to get a better one."""
    if meter != "auto":
        with opened(meter) as channels:
            return readable(channels)
    channels, states = find_channels()
    for channel in channels:
        channel.close()
    return states


METER = Meter("auto", "everything that can be read here", open_auto)
