"""The estimated memory channel: a constant power for this machine's memory. Not a measurement, and never in a total.

CodeCarbon's rule (3.x, methodology "RAM"): so many watts for each memory module, modules guessed from the size of the
memory. Such power depends on nothing that a run does, so it is recorded beside the counted channels for those who need
a figure to compare with CodeCarbon's, and kept apart from them.
"""

from __future__ import annotations

import math
import platform
import time

import psutil

from passkwh.harness.meter.base import Channel, Reading
from passkwh.records import ChannelInfo
from passkwh.units import ns_to_s

MODULE_W, MODULE_ARM_W = 5.0, 1.5
MODULES_UP_TO_GB = ((2, 1), (16, 2), (64, 4), (128, 8))
"""Memory in GB -> modules, of machines up to 128 GB."""
MODULE_SIZES_GB = (128, 64, 32, 16)
"""Of larger machines, which have at least 8 and at most 32 modules."""
SHARES = ((4, 1.0), (4, 0.9), (8, 0.8), (16, 0.7))
"""The first 4 modules draw their whole power, the next 4 nine tenths of it, and so on."""


def memory_power_w(memory_gb: float, module_w: float) -> float:
    """Power of a machine's memory, at least that of two modules."""
    count = _modules(memory_gb)
    power_w = 0.0
    for most, share in SHARES:
        power_w += min(count, most) * share * module_w
        count = max(count - most, 0)
    return max(power_w, 2 * module_w)


def _modules(memory_gb: float) -> int:
    for most_gb, count in MODULES_UP_TO_GB:
        if memory_gb <= most_gb:
            return count
    size_gb = next(size for size in MODULE_SIZES_GB if size <= memory_gb / 8)
    return min(math.ceil(memory_gb / size_gb), 32)


class EstimatedDram(Channel):
    """Cumulative joules of the memory, estimated."""

    def __init__(self) -> None:
        memory_gb = psutil.virtual_memory().total / 2**30
        arm = platform.machine().lower().startswith(("arm", "aarch"))
        self._power_w = memory_power_w(memory_gb, MODULE_ARM_W if arm else MODULE_W)
        self._start_ns = time.monotonic_ns()
        self.info = ChannelInfo(
            name="dram:estimate",
            provenance="estimated",
            source="CodeCarbon's rule: memory modules x watts per module",
            quantity="energy_j",
            counted=False,
            note=f"{self._power_w:.3g} W for {memory_gb:.0f} GiB, the same whatever is run; in no total",
        )

    def read(self) -> list[Reading]:
        """Joules since the channel was opened."""
        return [Reading("energy_j", self._power_w * ns_to_s(time.monotonic_ns() - self._start_ns))]
