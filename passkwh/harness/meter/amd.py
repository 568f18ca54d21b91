"""AMD GPUs through Zeus and AMD SMI: the energy counter where Zeus found it plausible, else power."""

from __future__ import annotations

import contextlib
import io
import logging
from typing import Any

from passkwh.harness.meter.base import Channel, ChannelState, Reading, readable, reading, reason_of
from passkwh.records import ChannelInfo


class AmdGpu(Channel):
    """One GPU; ``gpu`` is Zeus's device, ``uuid`` AMD SMI's, which stays loaded: others in this process may use it."""

    def __init__(self, gpu: Any, uuid: str) -> None:
        self._gpu = gpu
        name = gpu.get_name()
        notes = []
        if "MI250" in name:
            notes.append("both chiplets of the card are included")
        if gpu.supports_get_total_energy_consumption():
            self._quantity, self._call, source = "energy_j", gpu.get_total_energy_consumption, "energy counter"
        else:
            gpu.get_instant_power_usage()
            self._quantity, self._call, source = "power_w", gpu.get_instant_power_usage, "power sensor, integrated"
            notes.append("its energy counter does not agree with its power and is not used")
        self.info = ChannelInfo.model_validate(
            {
                "name": f"gpu:{uuid}",
                "provenance": "measured",
                "source": f"{name}, AMD SMI {source}",
                "quantity": self._quantity,
                "note": "; ".join(notes) or None,
            }
        )

    def read(self) -> list[Reading]:
        """The counter, or power."""
        return [reading(self._quantity, lambda: float(self._call()) / 1e3)]


def find_amd() -> tuple[list[Channel], list[ChannelState]]:
    """Channels of the GPUs that HIP may use, and the state of each; never raises for what the machine lacks."""
    from importlib.util import find_spec

    if find_spec("amdsmi") is None:
        return [], [
            ChannelState("gpu:amd", "measured", "AMD SMI is not installed", "on an AMD machine: pip install amdsmi")
        ]
    # Zeus and AMD SMI say on the terminal what is said here in the states.
    logging.getLogger("zeus.device.gpu.amd").addHandler(logging.NullHandler())
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            from zeus.device.gpu.amd import AMDGPUs, amdsmi_is_available

            if not amdsmi_is_available():
                return [], [ChannelState("gpu:amd", "measured", "no AMD driver")]
            import amdsmi

            gpus = AMDGPUs().gpus
        except Exception as error:
            return [], [ChannelState("gpu:amd", "measured", reason_of(error))]
    channels: list[Channel] = []
    states: list[ChannelState] = []
    for gpu in gpus:
        name = f"gpu:amd-{gpu.gpu_index}"
        try:
            channel = AmdGpu(gpu, str(amdsmi.amdsmi_get_gpu_device_uuid(gpu.handle)))
        except Exception as error:
            states.append(ChannelState(name, "measured", reason_of(error).splitlines()[0]))
            continue
        channels.append(channel)
        states += readable([channel])
    return channels, states
