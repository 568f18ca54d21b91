"""The real NVML path (bindings, Zeus, our channel, recorder, trace) against a driver whose truth is known."""

from __future__ import annotations

from typing import Any

import pytest

from tests.meter.conftest import Scripted

FAULTS = {
    1: ("all_error 15", "lost"),
    2: ("energy_error 4", "Permission"),
    3: ("energy_error 10", "Timeout"),
    4: ("energy_error 999", "Unknown"),
    5: ("base_mj 1000000", "reset"),
}
"""What goes wrong on a GPU halfway through the window, and the word that the reason must have."""

RECORD = f"""
import json, os, time
import pyarrow as pa
from passkwh.harness.meter import Recorder, Trace, open_meter

LOW_W, HIGH_W, HALF_S = 50.0, 300.0, 1.0

def true_j(time_ns):
    whole, rest = divmod(time_ns / 1e9, 2 * HALF_S)
    return whole * HALF_S * (LOW_W + HIGH_W) + min(rest, HALF_S) * LOW_W + max(rest - HALF_S, 0) * HIGH_W

channels, tables = open_meter("nvidia"), []
with Recorder(channels, tables.append, session=0) as recorder:
    time.sleep(0.3)
    start_ns = time.monotonic_ns()
    time.sleep(1.5)
    with open(os.environ["FAKE_NVML"], "a") as file:
        file.write({"".join(f"{gpu} {fault}" + chr(10) for gpu, (fault, _) in FAULTS.items())!r})
    time.sleep(1.5)
    end_ns = time.monotonic_ns()
    time.sleep(0.3)
    live = recorder.live()
trace = Trace.from_table(pa.concat_tables(tables), [channel.info for channel in channels])
print(json.dumps({{"truth_j": true_j(end_ns) - true_j(start_ns), "gpus": {{
    name: {{
        "info": info.model_dump(),
        "energy": trace.energy(name, 0, start_ns, end_ns).model_dump(),
        "period_s": trace.curve(name, 0).period_s,
        "quantities": [q for q in ("energy_j", "power_w", "power_1s_w", "temperature_c", "throttle_reasons",
                                   "clock_mhz", "power_limit_w") if trace.series(name, q, 0) is not None],
        "live": live[name],
    }} for name, info in trace.channels.items()
}}}}))
"""


@pytest.fixture(scope="module")
def recorded(with_gpus: Scripted) -> dict[str, Any]:
    """Three seconds of eight GPUs: one sound, five that fail halfway, two whose counter is hidden."""
    config = [f"{gpu} period_ms {50 if gpu == 0 else 20}" for gpu in range(8)]
    found: dict[str, Any] = with_gpus("\n".join([*config, "6 energy_error 3", "7 energy_error -1"]), RECORD)
    return found


def gpu(recorded: dict[str, Any], index: int) -> dict[str, Any]:
    """What was found of one GPU."""
    found: dict[str, Any] = recorded["gpus"][f"gpu:GPU-0000000{index}-fake"]
    return found


def test_a_window_of_the_counter_is_the_truth(recorded: dict[str, Any]) -> None:
    found = gpu(recorded, 0)
    assert found["info"]["quantity"] == "energy_j"
    assert found["info"]["provenance"] == "measured"
    assert "Fake GPU" in found["info"]["source"]
    assert found["energy"]["gross_j"] == pytest.approx(recorded["truth_j"], rel=0.03)
    assert abs(found["energy"]["gross_j"] - recorded["truth_j"]) < 4 * found["energy"]["se_j"] + 0.5
    assert found["period_s"] == pytest.approx(0.05, rel=0.1)
    assert len(found["quantities"]) == 7


@pytest.mark.parametrize("index", FAULTS)
def test_a_fault_during_the_window_is_missing_with_its_reason(recorded: dict[str, Any], index: int) -> None:
    energy = gpu(recorded, index)["energy"]
    assert energy["gross_j"] is None
    assert energy["net_j"] is None
    assert FAULTS[index][1] in energy["reason"]
    assert gpu(recorded, index)["live"][0] > 0


@pytest.mark.parametrize("index", [6, 7])
def test_without_a_counter_power_is_integrated_not_zero(recorded: dict[str, Any], index: int) -> None:
    found = gpu(recorded, index)
    assert found["info"]["quantity"] == "power_w"
    assert "no energy counter" in found["info"]["note"]
    assert found["energy"]["gross_j"] == pytest.approx(recorded["truth_j"], rel=0.05)


def test_only_the_gpus_that_cuda_may_use_are_metered(with_gpus: Scripted) -> None:
    script = """
import json, os
from passkwh.harness.meter import describe_channels, open_meter

found = {}
for visible in (None, "2", "1,3", "GPU-00000002", "GPU-00000003-fake,0", "", "9", "MIG-1-instance"):
    if visible is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible
    found[str(visible)] = [channel.info.model_dump() for channel in open_meter("auto")]
found["states"] = [[state.name, state.provenance, state.state] for state in describe_channels()]
os.environ["CUDA_VISIBLE_DEVICES"] = "4"
found["mute"] = [[state.name, state.provenance, state.state] for state in describe_channels()]
print(json.dumps(found))
"""
    gpus = [f"{index} name Fake {index}" for index in range(4)]
    found = with_gpus("\n".join([*gpus, "1 mig 1", "2 c2c 1", "4 energy_error 4", "4 power_error 4"]), script)
    expected = {
        "None": [0, 1, 2, 3],
        "2": [2],
        "1,3": [1, 3],
        "GPU-00000002": [2],
        "GPU-00000003-fake,0": [3, 0],
        "": [],
        "9": [],
        "MIG-1-instance": [1],
    }
    for visible, indices in expected.items():
        names = [info["name"] for info in found[visible]]
        assert names == [*(f"gpu:GPU-0000000{index}-fake" for index in indices), "cpu:estimate", "dram:estimate"]
    assert "cannot be told apart" in found["MIG-1-instance"][0]["note"]
    assert "module" in found["2"][0]["note"]
    assert found["2"][-1]["provenance"] == "estimated"
    assert ["gpu:GPU-00000001-fake", "measured", "readable"] in found["states"]
    (mute,) = [state for state in found["mute"] if state[0].startswith("gpu:GPU-")]
    assert mute[2] != "readable"


@pytest.mark.parametrize(("visible", "gpus"), [("1", [0]), ("0,2", [2, 1]), ("GPU-00000001", [1])])
def test_cuda_counts_in_an_order_of_its_own(visible: str, gpus: list[int], with_gpus: Scripted) -> None:
    """The fastest first: CUDA's 0 is the card that stands third on the bus."""
    script = """
import json
from passkwh.harness.meter import open_meter
print(json.dumps([channel.info.name for channel in open_meter("auto") if channel.info.name.startswith("gpu:")]))
"""
    there = "\n".join(f"{index} name Fake {index}" for index in range(3))
    names = with_gpus(there, script, FAKE_CUDA_ORDER="2,0,1", CUDA_VISIBLE_DEVICES=visible)
    assert names == [f"gpu:GPU-0000000{index}-fake" for index in gpus]


def test_numbers_that_cuda_could_not_be_asked_for_are_noted(with_gpus: Scripted) -> None:
    script = """
import json
from passkwh.harness.meter import open_meter
print(json.dumps([channel.info.note for channel in open_meter("auto") if channel.info.name.startswith("gpu:")]))
"""
    different, alike = "0 name Fast\n1 name Slow", "0 name Same\n1 name Same"
    (note,) = with_gpus(different, script, CUDA_VISIBLE_DEVICES="1")
    assert "CUDA, which may count otherwise, could not be asked" in note
    assert with_gpus(different, script, CUDA_VISIBLE_DEVICES="1", CUDA_DEVICE_ORDER="PCI_BUS_ID") == [None]
    assert with_gpus(alike, script, CUDA_VISIBLE_DEVICES="1") == [None]


def test_which_power_a_driver_averages_is_told_by_the_chip(with_gpus: Scripted) -> None:
    """Without the field of instantaneous power, an RTX A1000 is no A100; and a GPU may have no memory of its own."""
    script = """
import json
from types import SimpleNamespace
import pynvml
pynvml.nvmlInit()
from passkwh.harness.host import host_info
from passkwh.harness.meter.nvidia import NvidiaGpu

def quantity(index):
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    gpu = SimpleNamespace(
        handle=handle, get_name=lambda: pynvml.nvmlDeviceGetName(handle),
        get_instant_power_usage=lambda: 1 / 0, get_total_energy_consumption=lambda: 0,
    )
    return NvidiaGpu(gpu, pynvml, f"GPU-{index}").info.quantity

print(json.dumps([[quantity(index) for index in range(6)], [g.memory_bytes for g in host_info().gpus]]))
"""
    gpus = [
        ("NVIDIA A100-SXM4-80GB", 80), ("NVIDIA RTX A1000", 86), ("NVIDIA RTX A3000 Laptop GPU", 86), ("NVIDIA A30", 0),
        ("NVIDIA RTX A1000", 0), ("NVIDIA GB10", 121),
    ]  # fmt: skip
    lines = [f"{i} name {name}\n{i} capability {capability}" for i, (name, capability) in enumerate(gpus)]
    quantities, memories = with_gpus("\n".join([*lines, "5 memory_error 3"]), script)
    assert quantities == ["power_w", "power_1s_w", "power_1s_w", "power_w", "power_1s_w", "power_1s_w"]
    assert [memory is None for memory in memories] == [False] * 5 + [True]
