"""AMD GPUs through the real Zeus with a stand-in for AMD's library; chips through Zeus's own data types."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from zeus.device.soc.apple import AppleSiliconMeasurement

from passkwh.harness.meter.soc import AppleSoc, jetson_channels

HERE = Path(__file__).parent


def test_an_amd_counter_is_used_only_where_it_agrees_with_power() -> None:
    script = """
import json, time
import amdsmi
from passkwh.harness.meter.amd import find_amd

channels, states = find_amd()
first = [channel.read()[0].value for channel in channels]
time.sleep(0.3)
second = [channel.read()[0].value for channel in channels]
amdsmi.LOST.add(0)
lost = channels[0].read()[0]
print(json.dumps({"infos": [channel.info.model_dump() for channel in channels], "gained": [b - a for a, b in
    zip(first, second)], "second": second, "lost": [lost.value, lost.reason], "states": [s.state for s in states]}))
"""
    path = os.pathsep.join([str(HERE / "fake_amdsmi"), str(HERE.parents[1])])
    kept = {name: value for name, value in os.environ.items() if name not in {"HIP_VISIBLE_DEVICES"}}
    kept.pop("CUDA_VISIBLE_DEVICES", None)
    done = subprocess.run(
        [sys.executable, "-c", script], env=kept | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    sound, wrong = found["infos"]
    assert (sound["name"], sound["quantity"]) == ("gpu:uuid-0", "energy_j")
    assert (wrong["name"], wrong["quantity"]) == ("gpu:uuid-1", "power_w")
    assert "does not agree" in wrong["note"]
    assert found["gained"][0] > 25
    assert found["second"][1] == 100.0
    assert found["lost"] == [None, "the driver is not loaded"]
    assert found["states"] == ["readable", "readable"]


class Chip:
    """An Apple chip of 20 W as Zeus would show it."""

    def get_available_metrics(self) -> set[str]:
        return {"cpu_total_mj", "gpu_mj", "dram_mj", "performance_cores_mj"}

    def get_total_energy_consumption(self) -> AppleSiliconMeasurement:
        used_mj = int(time.monotonic() * 1e4)
        return AppleSiliconMeasurement(
            cpu_total_mj=used_mj, gpu_mj=used_mj // 2, dram_mj=used_mj // 2, performance_cores_mj=[used_mj]
        )


def test_the_parts_of_an_apple_chip_add_up_without_its_cores_twice() -> None:
    channel = AppleSoc(Chip())
    end_s = time.monotonic() + 120
    while (reading := channel.read()[0]).value is None and time.monotonic() < end_s:
        time.sleep(0.02)
    channel.close()
    assert reading.value == pytest.approx(time.monotonic() * 20, rel=0.02)
    assert "performance" not in str(channel.info.note)
    assert channel.info.name == "soc"


class Rail:
    """A power sensor in milliwatts."""

    def __init__(self, power_mw: float) -> None:
        self.power_mw = power_mw

    def measure_power(self) -> float:
        if self.power_mw < 0:
            raise OSError("sensor gone")
        return self.power_mw


def test_a_jetson_is_its_input_or_else_its_rails() -> None:
    total, cpu = Rail(15_000.0), Rail(4_000.0)
    (soc,) = jetson_channels({"total_power_mw": total, "cpu_power_mw": cpu})
    assert soc.info.name == "soc"
    assert soc.read()[0].value == 15.0
    total.power_mw = -1
    assert (soc.read()[0].value, soc.read()[0].reason) == (None, "sensor gone")
    assert [channel.info.name for channel in jetson_channels({"cpu_power_mw": cpu})] == ["cpu:jetson"]
