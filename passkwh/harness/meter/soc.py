"""Systems on a chip: Apple silicon through Zeus's counter, Jetson through the power rails that Zeus finds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from passkwh.harness.meter.background import Background
from passkwh.harness.meter.base import Channel, ChannelState, Reading, readable, reading, reason_of
from passkwh.records import ChannelInfo

APPLE_INTERVAL_S = 0.1


class AppleSoc:
    """CPU, GPU, neural engine and memory of an Apple chip together; ``soc`` is Zeus's device."""

    PARTS = ("cpu_total_mj", "gpu_mj", "gpu_sram_mj", "ane_mj", "dram_mj")

    def __init__(self, soc: Any) -> None:
        parts = [part for part in self.PARTS if part in soc.get_available_metrics()]
        if not parts:
            raise RuntimeError("the chip shows no energy of its CPU, GPU, neural engine or memory")

        def take() -> list[Reading]:
            measured = soc.get_total_energy_consumption()
            return [Reading("energy_j", sum(getattr(measured, part) for part in parts) / 1e3)]

        self._background = Background(take, "energy_j", APPLE_INTERVAL_S)
        covered = ", ".join(part.removesuffix("_mj").removesuffix("_total").replace("_", " ") for part in parts)
        self.info = ChannelInfo(
            name="soc",
            provenance="measured",
            source="Apple silicon energy report, through Zeus",
            quantity="energy_j",
            note=f"covers {covered}; Apple calls its figures estimates for comparing, on one machine",
        )

    def read(self) -> list[Reading]:
        """Joules of all parts together."""
        return self._background.latest()

    def close(self) -> None:
        self._background.close()


class JetsonRail(Channel):
    """Power of a Jetson's input or of one of its rails; ``measure_mw`` reads the sensor."""

    def __init__(self, name: str, measure_mw: Callable[[], float], title: str) -> None:
        self._measure_mw = measure_mw
        measure_mw()
        self.info = ChannelInfo(
            name=name, provenance="measured", source=f"Jetson INA3221 sensor, {title}", quantity="power_w"
        )

    def read(self) -> list[Reading]:
        """Watts now."""
        return [reading("power_w", lambda: self._measure_mw() / 1e3)]


def jetson_channels(rails: dict[str, Any]) -> list[Channel]:
    """The whole board where its input is metered, else its CPU and GPU rails."""
    if "total_power_mw" in rails:
        return [JetsonRail("soc", rails["total_power_mw"].measure_power, "the board's input")]
    parts = [("cpu", "cpu_power_mw"), ("gpu", "gpu_power_mw")]
    return [JetsonRail(f"{name}:jetson", rails[rail].measure_power, name) for name, rail in parts if rail in rails]


def find_soc() -> tuple[list[Channel], list[ChannelState]]:
    """The chip's channels and their states; never raises for what the machine lacks."""
    channels: list[Channel] = []
    try:
        if sys.platform == "darwin":
            from zeus.device.soc.apple import AppleSilicon, apple_silicon_is_available

            if not apple_silicon_is_available():
                advice = "pip install zeus-apple-silicon"
                return [], [ChannelState("soc", "measured", "Apple's energy report cannot be read", advice)]
            channels = [AppleSoc(AppleSilicon())]
        elif _is_jetson():
            from zeus.device.soc.jetson import Jetson

            # Zeus's Jetson object starts a process that integrates; only its search for the sensors is needed here.
            channels = jetson_channels(dict(Jetson._discover_available_metrics(Jetson.__new__(Jetson))))
    except Exception as error:
        return [], [ChannelState("soc", "measured", reason_of(error))]
    return channels, readable(channels)


def _is_jetson() -> bool:
    from pathlib import Path

    return any(map(Path.exists, (Path("/usr/lib/aarch64-linux-gnu/tegra"), Path("/etc/nv_tegra_release"))))
