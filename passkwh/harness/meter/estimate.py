"""The estimated CPU channel: CPU seconds of this process's tree times watts per core. Not a measurement.

It sees only what this run's processes compute (nothing of memory, disks, fans or other programs), takes a busy core
to draw the same whatever it does, and so is proportional to CPU time. It is for comparing runs on one machine where
nothing can be read, and is called estimated wherever it appears.
"""

from __future__ import annotations

from passkwh.harness.meter.base import ESTIMATE_INTERVAL_S, Channel, Meter, Reading, check_no_argument
from passkwh.harness.meter.cpu_time import ProcessTreeTime
from passkwh.harness.meter.dram import EstimatedDram
from passkwh.harness.meter.tdp import core_power
from passkwh.records import ChannelInfo


class EstimatedCpu(Channel):
    """Cumulative joules of the process tree, estimated."""

    def __init__(self) -> None:
        power = core_power()
        self._watts_per_core = power.watts_per_core
        self._tree = ProcessTreeTime()
        self.info = ChannelInfo(
            name="cpu:estimate",
            provenance="estimated",
            source="CPU seconds of the process tree x watts per core",
            quantity="energy_j",
            scope="processes",
            note=(
                f"{power.model}, {power.cores} cores, {power.watts_per_core:.3g} W per core ({power.source}); "
                "CPU time of this run's processes only, no memory, no idle power; "
                f"read every {ESTIMATE_INTERVAL_S:g} s"
            ),
        )

    def read(self) -> list[Reading]:
        """Joules since the process began."""
        return [Reading("energy_j", self._tree.read_s() * self._watts_per_core)]


def open_estimate(argument: str) -> list[Channel]:
    """The registry's ``estimate``; takes no argument."""
    check_no_argument("estimate", argument)
    return [EstimatedCpu(), EstimatedDram()]


METER = Meter("estimate", "CPU seconds x watts per core, estimated", open_estimate)
