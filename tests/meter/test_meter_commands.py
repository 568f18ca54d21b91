"""``bench meter`` and ``bench doctor --meter`` as a user calls them, with real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from passkwh.cli.meter import sparkline
from passkwh.errors import UsageError
from passkwh.harness.meter import open_meter
from passkwh.harness.meter.files import load_trace
from passkwh.harness.meter.probe import probe
from passkwh.registry import ENGINES, QUANTIZATIONS

BENCH = [sys.executable, "-m", "passkwh.cli.main"]
BURN = "import time\nwhile time.process_time() < 0.8: pass\n"


def bench(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*BENCH, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def last_json(done: subprocess.CompletedProcess[str]) -> Any:
    return json.loads(done.stdout.splitlines()[-1])


def test_any_command_can_be_metered_and_its_trace_read_again(tmp_path: Path) -> None:
    file = tmp_path / "trace.parquet"
    arguments = ["--meter", "estimate", "--idle-s", "1", "--save", str(file), "--json"]
    found = last_json(bench("meter", "run", *arguments, "--", sys.executable, "-c", BURN))
    channel = next(c for c in found["channels"] if c["name"] == "cpu:estimate")
    assert found["exit_code"] == 0
    assert channel["provenance"] == "estimated"
    trace, (idle, work) = load_trace(file)
    watts_per_core = float(str(trace.channels["cpu:estimate"].note).split(" W per core")[0].split()[-1])
    assert channel["energy"]["net_j"] == pytest.approx(0.8 * watts_per_core, rel=0.35)
    baseline = trace.idle("cpu:estimate", idle)
    again = trace.energy("cpu:estimate", 0, work.start_ns, work.end_ns, baseline)
    assert again.gross_j == channel["energy"]["gross_j"]
    assert again.net_j == channel["energy"]["net_j"]


def test_a_command_that_fails_or_does_not_exist(tmp_path: Path) -> None:
    failed = bench("meter", "run", "--meter", "simulated", "--idle-s", "0", "--json", "--", "false", code=1)
    assert last_json(failed)["exit_code"] == 1
    missing = bench("meter", "run", "--meter", "simulated", "--idle-s", "0", "--", "no-such-program", code=2)
    assert "cannot run 'no-such-program'" in missing.stderr
    text = tmp_path / "text.parquet"
    text.write_text("no trace")
    with pytest.raises(UsageError, match="not a trace"):
        load_trace(text)


def test_watching_says_what_was_drawn() -> None:
    found = last_json(bench("meter", "watch", "--meter", "simulated:steady", "--seconds", "1", "--json"))
    (channel,) = found["channels"]
    assert channel["provenance"] == "simulated"
    assert channel["mean_w"] == pytest.approx(100.0, rel=0.3)


def test_the_doctor_measures_each_channel() -> None:
    found = last_json(bench("doctor", "--meter", "--seconds", "1", "--json"))
    assert [channel["name"] for channel in found["meter"]]
    for channel in found["meter"]:
        assert channel["read_cost_us"] > 0
        assert channel["provenance"] in {"measured", "estimated"}


TOY = """
from passkwh.harness.meter.base import Meter
from passkwh.harness.meter.simulated import PROFILES, SimulatedChannel

def opened(name):
    return [SimulatedChannel(name or "toy", PROFILES["steady"])]


METER = Meter("toy[:NAME]", "a toy", opened, exclusive=False)
"""


def test_a_meter_of_another_package_works_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy_meter.py").write_text(TOY)
    about = tmp_path / "toy_meter-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-meter\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[passkwh.meters]\ntoy = toy_meter:METER\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *os.environ.get("PYTHONPATH", "").split(":")]))
    found = last_json(bench("doctor", "--meter", "toy:mine", "--seconds", "1", "--json"))
    assert [channel["name"] for channel in found["channels"]] == ["simulated:mine"]
    (channel,) = found["meter"]
    assert channel["power_w"] == pytest.approx(100, rel=0.1)
    for registry in (ENGINES, QUANTIZATIONS):
        members = found[registry.group.removeprefix("passkwh.")]
        assert [member["name"] for member in members] == registry.names()
        assert all(member["missing"] is None or str(member["missing"]) for member in members)
    watched = last_json(bench("meter", "watch", "--meter", "toy", "--seconds", "1", "--json"))
    assert watched["channels"][0]["name"] == "simulated:toy"
    metered = last_json(bench("meter", "run", "--meter", "toy", "--idle-s", "0", "--json", "--", "true"))
    assert metered["channels"][0]["energy"]["gross_j"] > 0


def test_a_probe_finds_period_resolution_and_power() -> None:
    (found,) = probe(open_meter("simulated:counter-50ms,resolution=0.5"), 3.0)
    assert found.update_period_s == pytest.approx(0.05, rel=0.2)
    assert found.resolution == pytest.approx(0.5)
    assert found.power_w == pytest.approx(60.0, rel=0.05)
    assert found.failed == 0.0
    (lost,) = probe(open_meter("simulated:lost,lost=0"), 1.0)
    assert lost.failed == 1.0
    assert lost.power_w is None
    assert any("lost" in text for text in lost.missing)


def test_a_sparkline_shows_heights_and_gaps() -> None:
    assert sparkline([0.0, 50.0, 100.0, None, 100.0]) == "▁▅█ █"
    assert sparkline([None, 0.0]) == ""
