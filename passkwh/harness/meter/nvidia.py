"""NVIDIA GPUs: the total-energy counter and the power fields, through Zeus and NVML.

GPUs are addressed by UUID and only those that CUDA may use are opened (``CUDA_VISIBLE_DEVICES``, by index or UUID).
The counter is read in every round; power every tenth of a second, for the cross-check; temperature, clocks, throttle
reasons and the power limit every second.
"""

from __future__ import annotations

import ctypes
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from passkwh.errors import UsageError
from passkwh.harness.meter.base import Channel, ChannelState, Meter, Reading, readable, reading, reason_of
from passkwh.records import ChannelInfo

POWER_EVERY_NS = 100_000_000
CONDITION_EVERY_NS = 1_000_000_000


class NvidiaGpu(Channel):
    """One GPU. ``gpu`` is Zeus's device, ``nvml`` the bindings; both talk to the same driver.

    NVML stays loaded: others in this process may use it.
    """

    def __init__(self, gpu: Any, nvml: Any, uuid: str, notes: Sequence[str] = ()) -> None:
        self._gpu, self._nvml = gpu, nvml
        self._power = self._power_source()
        counter = _works(gpu.get_total_energy_consumption)
        if not counter and self._power is None:
            raise RuntimeError("neither an energy counter nor a power sensor can be read")
        quantity = "energy_j" if counter else self._power[0] if self._power else "energy_j"
        self._counter = counter
        notes = [*notes] if counter else [*notes, "no energy counter (before Volta, or the driver hides it)"]
        name = gpu.get_name()
        self.info = ChannelInfo(
            name=f"gpu:{uuid}",
            provenance="measured",
            source=f"{name}, " + ("NVML total energy counter" if counter else "NVML power sensor, integrated"),
            quantity=quantity,
            note="; ".join(notes) or None,
        )
        self._next_power_ns = self._next_condition_ns = 0

    def _power_source(self) -> tuple[Any, Callable[[], int]] | None:
        """The quantity and the call of the best power reading: instantaneous, else what the driver averages."""
        if _works(self._gpu.get_instant_power_usage):
            return "power_w", self._gpu.get_instant_power_usage
        nvml, handle = self._nvml, self._gpu.handle

        def usage() -> int:
            return int(nvml.nvmlDeviceGetPowerUsage(handle))

        if not _works(usage):
            return None
        architecture = _or_none(lambda: nvml.nvmlDeviceGetArchitecture(handle))
        averaged = architecture is not None and architecture >= nvml.NVML_DEVICE_ARCH_AMPERE
        # Up to Turing, and on GA100, power usage is instantaneous; from Ampere on it is the mean of the last second.
        return ("power_1s_w" if averaged and not self._is_ga100() else "power_w"), usage

    def _is_ga100(self) -> bool:
        """The chip of A100 and A30, by its compute capability, which it alone has; names tell it from no RTX A1000."""
        capability = _or_none(lambda: tuple(self._nvml.nvmlDeviceGetCudaComputeCapability(self._gpu.handle)))
        if capability is not None:
            return bool(capability == (8, 0))
        return re.search(r"\b(A100|A30|A800)\b", self._gpu.get_name()) is not None

    def read(self) -> list[Reading]:
        """The counter; power and condition when they are due."""
        now_ns = time.monotonic_ns()
        readings = []
        if self._counter:
            readings.append(reading("energy_j", self._gpu.get_total_energy_consumption, 1e-3))
        if self._power is not None and (not self._counter or now_ns >= self._next_power_ns):
            self._next_power_ns = now_ns + POWER_EVERY_NS
            readings.append(reading(self._power[0], self._power[1], 1e-3))
        if now_ns >= self._next_condition_ns:
            self._next_condition_ns = now_ns + CONDITION_EVERY_NS
            readings += self._condition()
        return readings

    def _condition(self) -> list[Reading]:
        nvml, handle = self._nvml, self._gpu.handle
        readings = [
            reading("temperature_c", self._gpu.get_gpu_temperature),
            reading("clock_mhz", lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
            reading("throttle_reasons", lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(handle)),
            reading("power_limit_w", self._gpu.get_power_management_limit, 1e-3),
        ]
        if self._power is not None and self._power[0] != "power_1s_w":
            readings.append(reading("power_1s_w", self._gpu.get_average_power_usage, 1e-3))
        return readings


def open_nvidia(argument: str) -> list[Channel]:
    """The registry's ``nvidia[:INDEX or UUID,...]``: those GPUs, or all that CUDA may use."""
    channels, states = find_nvidia(argument or None)
    if not channels:
        raise UsageError("no NVIDIA GPU can be metered: " + "; ".join(state.state for state in states))
    return channels


def find_nvidia(visible: str | None = None) -> tuple[list[Channel], list[ChannelState]]:
    """Channels of the GPUs that CUDA may use and the state of each; never raises for what the machine lacks."""
    try:
        import pynvml as nvml

        nvml.nvmlInit()
    except Exception as error:
        return [], [ChannelState("gpu:nvidia", "measured", f"no NVIDIA driver ({reason_of(error)})")]
    from zeus.device.gpu.nvidia import NVIDIAGPU

    channels: list[Channel] = []
    states: list[ChannelState] = []
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES") if visible is None else visible
    for what, device in _visible_devices(nvml, wanted, by_cuda=visible is None):
        if isinstance(device, str):
            states.append(ChannelState(f"gpu:{what}", "measured", device))
            continue
        index, uuid, notes = device
        try:
            channel = NvidiaGpu(NVIDIAGPU(index), nvml, uuid, notes)
        except Exception as error:
            states.append(ChannelState(f"gpu:{uuid}", "measured", reason_of(error), _advice(error)))
            continue
        channels.append(channel)
        states += readable([channel])
    if len(channels) > 1:
        only = "export CUDA_VISIBLE_DEVICES=0 counts only the GPU that the run uses"
        states = [replace(state, advice=state.advice or only) for state in states]
    return channels, states


def _visible_devices(
    nvml: Any, wanted: str | None, by_cuda: bool
) -> list[tuple[str, tuple[int, str, list[str]] | str]]:
    """For each GPU that CUDA may use its NVML index, UUID and notes, or why it cannot be metered."""
    count = nvml.nvmlDeviceGetCount()
    if wanted is None:
        names = [str(index) for index in range(count)]
    else:
        names = [name.strip() for name in wanted.split(",") if name.strip()]
        if not names:
            return [("nvidia", "CUDA_VISIBLE_DEVICES is empty: CUDA may use no GPU")]
    # Given on the command line, numbers are those of nvidia-smi. CUDA_VISIBLE_DEVICES counts in CUDA's own order.
    if by_cuda and count > 1 and any(name.isdigit() for name in names):
        return _as_cuda_counts(nvml, names)
    devices_seen: list[tuple[str, tuple[int, str, list[str]] | str]] = []
    seen: set[str] = set()
    for name in names:
        try:
            index, notes = _resolve(nvml, name, count)
            uuid = str(nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByIndex(index)))
        except Exception as error:
            devices_seen.append((name, f"no such GPU ({reason_of(error)})"))
            continue
        if uuid in seen:
            continue
        seen.add(uuid)
        devices_seen.append((name, (index, uuid, notes + _notes(nvml, index))))
    return devices_seen


def _as_cuda_counts(nvml: Any, names: Sequence[str]) -> list[tuple[str, tuple[int, str, list[str]] | str]]:
    """The GPUs of a CUDA_VISIBLE_DEVICES that has numbers: as CUDA's driver has them, by their PCI addresses.

    By default CUDA counts the fastest first, and NVML by the bus: number 1 may be another card. Where CUDA's driver
    cannot be asked, NVML's numbers are taken, with a note.
    """
    addresses = cuda_bus_ids()
    if addresses is None:
        seen = _visible_devices(nvml, ",".join(names), by_cuda=False)
        handles = map(nvml.nvmlDeviceGetHandleByIndex, range(nvml.nvmlDeviceGetCount()))
        alike = len({str(nvml.nvmlDeviceGetName(handle)) for handle in handles}) == 1
        if alike or os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID":
            return seen
        note = "numbered as nvidia-smi does: CUDA, which may count otherwise, could not be asked; give UUIDs to be sure"
        return [
            (what, (device[0], device[1], [*device[2], note]) if isinstance(device, tuple) else device)
            for what, device in seen
        ]
    found: list[tuple[str, tuple[int, str, list[str]] | str]] = []
    for address in dict.fromkeys(addresses):
        try:
            handle = nvml.nvmlDeviceGetHandleByPciBusId(address.encode())
            index = int(nvml.nvmlDeviceGetIndex(handle))
            found.append((address, (index, str(nvml.nvmlDeviceGetUUID(handle)), _notes(nvml, index))))
        except Exception as error:
            found.append((address, f"CUDA's GPU at {address} is not NVML's ({reason_of(error)})"))
    return found or [("nvidia", f"CUDA_VISIBLE_DEVICES={','.join(names)}: CUDA has no such GPU")]


def cuda_bus_ids() -> list[str] | None:
    """PCI addresses of the GPUs that CUDA may use, in its order; None where its driver is not there or refuses.

    Asked of the driver itself: importing torch for it would take seconds, and memory on every GPU.
    """
    try:
        cuda = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
        count = ctypes.c_int()
        if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)):
            return None
        addresses = []
        for place in range(count.value):
            device, text = ctypes.c_int(), ctypes.create_string_buffer(32)
            if cuda.cuDeviceGet(ctypes.byref(device), place) or cuda.cuDeviceGetPCIBusId(text, len(text), device):
                return None
            addresses.append(text.value.decode())
        return addresses
    except (OSError, AttributeError):
        return None


def _resolve(nvml: Any, name: str, count: int) -> tuple[int, list[str]]:
    """NVML index of a GPU named as in CUDA_VISIBLE_DEVICES: an index, a UUID or its beginning, or a MIG instance."""
    if name.isdigit():
        if int(name) >= count:
            raise ValueError(f"index {name} of {count} GPUs")
        return int(name), []
    if name.startswith("MIG-"):
        instance = nvml.nvmlDeviceGetHandleByUUID(name)
        parent = nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(instance)
        return int(nvml.nvmlDeviceGetIndex(parent)), []
    for index in range(count):
        if str(nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByIndex(index))).startswith(name):
            return index, []
    raise ValueError(f"no UUID begins with {name}")


def _notes(nvml: Any, index: int) -> list[str]:
    """What a reader must know of a GPU's figures."""
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    notes = []
    mig = _or_none(lambda: nvml.nvmlDeviceGetMigMode(handle)[0])
    if mig:
        notes.append("MIG is on: this is the whole GPU with all its instances, which cannot be told apart")
    linked = _or_none(lambda: nvml.nvmlDeviceGetC2cModeInfoV(handle).isC2cEnabled)
    if linked:
        notes.append("a Grace Hopper module: CPU and memory of the module are included")
    return notes


def _works(call: Callable[[], float]) -> bool:
    """Whether a reading succeeds and is not the 0 that some drivers give for "not supported"."""
    return bool(_or_none(call))


def _or_none(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception:
        return None


def _advice(error: Exception) -> str | None:
    if "permission" in str(error).lower():
        return "ask the administrator for access to NVML, or run as root"
    return None


def devices(argument: str) -> list[str]:
    """The GPUs that ``nvidia[:INDEX or UUID,...]`` meters, as names of locks; none where that is all of them."""
    gpus = argument or os.environ.get("CUDA_VISIBLE_DEVICES") or ""
    return [f"gpu-{gpu}" for gpu in sorted({gpu.strip() for gpu in gpus.split(",")} - {""})]


METER = Meter("nvidia[:INDEX or UUID,...]", "only these NVIDIA GPUs", open_nvidia, devices=devices)
