"""A meter: a device that always draws the same. It invents its readings, and says so."""

from __future__ import annotations

import time
from collections.abc import Sequence

from passkwh.errors import UsageError
from passkwh.harness.meter.base import Channel, Meter, Reading
from passkwh.records import ChannelInfo


class ConstantPower:
    """A counter that runs at a constant power."""

    def __init__(self, power_w: float) -> None:
        self.info = ChannelInfo(
            name="toy:device", provenance="simulated", source=f"invented: {power_w:g} W, always", quantity="energy_j"
        )
        self._power_w = power_w
        self._start_s = time.monotonic()

    def read(self) -> list[Reading]:
        """Joules since it was opened."""
        return [Reading("energy_j", self._power_w * (time.monotonic() - self._start_s))]

    def close(self) -> None:
        """Nothing to close."""


def open_toy(argument: str) -> Sequence[Channel]:
    """``toy-watts:50`` draws 50 W."""
    try:
        return [ConstantPower(float(argument or 10))]
    except ValueError:
        raise UsageError(f"toy-watts:{argument}: write watts, as toy-watts:50") from None


METER = Meter("toy-watts[:WATTS]", "a device that always draws the same, simulated", open_toy)
