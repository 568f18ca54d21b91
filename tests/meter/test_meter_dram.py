"""The estimated memory channel: CodeCarbon's own figures, and never part of a total."""

from __future__ import annotations

import json
import time
from pathlib import Path

import psutil
import pytest
from codecarbon.external.ram import RAM
from hypothesis import given
from hypothesis import strategies as st

from passkwh.harness.meter import open_meter
from passkwh.harness.meter.dram import MODULE_ARM_W, MODULE_W, memory_power_w
from tests.conftest import Bench, last_json


@given(st.one_of(st.integers(1, 600), st.floats(0.1, 8000)), st.booleans())
def test_power_is_codecarbons(memory_gb: float, arm: bool) -> None:
    reference = RAM()
    reference.is_arm_cpu = arm
    expected_w = reference._calculate_ram_power(memory_gb)
    assert memory_power_w(memory_gb, MODULE_ARM_W if arm else MODULE_W) == pytest.approx(expected_w)


def test_energy_is_power_times_time() -> None:
    channel = next(channel for channel in open_meter("estimate") if channel.info.name == "dram:estimate")
    assert not channel.info.counted
    assert channel.info.provenance == "estimated"
    start_ns, (first,) = time.monotonic_ns(), channel.read()
    time.sleep(0.3)
    (second,), end_ns = channel.read(), time.monotonic_ns()
    power_w = memory_power_w(psutil.virtual_memory().total / 2**30, MODULE_W)
    assert first.value is not None
    assert second.value is not None
    assert 0.3 * power_w <= second.value - first.value <= (end_ns - start_ns) / 1e9 * power_w


@pytest.mark.slow
def test_a_run_records_it_and_does_not_count_it(bench: Bench, tiny_llama: Path, tmp_path: Path) -> None:
    options = ["--subset", "sample", "--limit", 2, "--max-new-tokens", 16, "--idle-s", 0.5, "--out", tmp_path]
    summary = last_json(bench("run", "--model", tiny_llama, "--meter", "estimate", *options, "--json"))
    (path,) = tmp_path.glob("*/summary.json")
    channels = {c["channel"]: c for c in json.loads(path.read_text())["channels"]}
    memory, cpu = channels["dram:estimate"], channels["cpu:estimate"]
    assert memory["generation"]["gross_j"] > 0
    assert not memory["counted"]
    assert summary["gross_energy_j"] == pytest.approx(cpu["generation"]["gross_j"] + cpu["evaluation"]["gross_j"])
