"""Rates of accelerators, from a data file that names its sources."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from passkwh.analysis.data_files import data_file
from passkwh.errors import UsageError
from passkwh.records import Record

Precision = Literal["fp32", "fp16", "int8", "int4"]


class Device(Record):
    """Peak rates without sparsity; a missing idle power says why."""

    name: str
    aliases: tuple[str, ...] = ()
    flops: Annotated[dict[Precision, float | None], Field(description="operations per second, by precision")]
    bandwidth_bytes_s: Annotated[float, Field(gt=0)]
    memory_bytes: Annotated[float, Field(gt=0)]
    tdp_w: Annotated[float, Field(gt=0)]
    source: str
    idle_w: float | None = None
    idle_source: str = ""

    def rate(self, precision: Precision) -> float:
        """Operations per second; Raises UsageError where the device has no such rate."""
        value = self.flops.get(precision)
        if not value:
            have = ", ".join(p for p, v in self.flops.items() if v)
            raise UsageError(f"{self.name} has no {precision} rate in its data ({have}): choose another precision")
        return value


def devices() -> tuple[Device, ...]:
    """All devices of the data file."""
    return tuple(Device.model_validate(entry) for entry in data_file("gpus.json"))


def find_device(name: str) -> Device:
    """A device by name or alias, or from a JSON file with the same fields. Raises UsageError when unknown."""
    if name.endswith(".json"):
        try:
            return Device.model_validate_json(Path(name).read_bytes())
        except OSError as error:
            raise UsageError(f"--gpu {name}: cannot be read ({error.strerror})") from error
        except ValidationError as error:
            problem = error.errors()[0]
            key = ".".join(str(part) for part in problem["loc"])
            place = f"{key}: " if key else ""
            raise UsageError(
                f"--gpu {name}: {place}{problem['msg']}; give a JSON file with a device's rates"
            ) from error
    known = devices()
    plain = _plain(name)
    for device in known:
        if plain in {_plain(device.name), *(_plain(alias) for alias in device.aliases)}:
            return device
    raise UsageError(f"--gpu {name}: not known; write one of {', '.join(d.name for d in known)}, or a .json file")


def _plain(name: str) -> str:
    return name.lower().replace("nvidia", "").replace(" ", "").replace("-", "").replace("_", "")
