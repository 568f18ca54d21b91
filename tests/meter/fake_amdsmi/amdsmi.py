"""As much of AMD SMI's Python interface as Zeus calls, for GPUs of 100 W: the second one's counter is ten times off."""

import time
from types import SimpleNamespace

AmdSmiInitFlags = SimpleNamespace(INIT_AMD_GPUS=1)


class AmdSmiException(Exception):
    """Base of the library's errors."""


class AmdSmiLibraryException(AmdSmiException):
    """An error with a code."""

    def get_error_code(self) -> int:
        return 34

    def get_error_info(self) -> str:
        return "the driver is not loaded"


LOST: set[int] = set()


def _check(handle: int) -> None:
    if handle in LOST:
        raise AmdSmiLibraryException


def amdsmi_init(flags: int) -> None: ...
def amdsmi_shut_down() -> None: ...
def amdsmi_get_processor_handles() -> list[int]:
    return [0, 1]


def amdsmi_get_gpu_enumeration_info(handle: int) -> dict[str, int]:
    return {"hip_id": handle}


def amdsmi_get_gpu_device_uuid(handle: int) -> str:
    return f"uuid-{handle}"


def amdsmi_get_gpu_asic_info(handle: int) -> dict[str, str]:
    return {"market_name": "Fake Instinct"}


def amdsmi_get_power_info(handle: int) -> dict[str, object]:
    _check(handle)
    return {"current_socket_power": 100, "average_socket_power": "N/A"}


def amdsmi_get_energy_count(handle: int) -> dict[str, float]:
    _check(handle)
    # Zeus multiplies: microjoules are accumulator x resolution.
    factor = 1 if handle == 0 else 1000
    return {"energy_accumulator": time.monotonic() * 100e6 * factor, "counter_resolution": 1.0}
