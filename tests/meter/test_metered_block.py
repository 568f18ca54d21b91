"""``passkwh.measure``: blocks of code under simulated devices of known power, and under the estimate of real work."""

from __future__ import annotations

import doctest
import time
from pathlib import Path

import pytest

import passkwh.harness.meter.block as block
from passkwh.errors import UsageError
from passkwh.harness.meter.base import ChannelState, meter_channels, reason_of
from passkwh.harness.meter.block import measure, metered_span
from passkwh.harness.meter.files import load_trace
from passkwh.harness.meter.tdp import core_power

pytestmark = pytest.mark.alone

STEADY = "simulated:steady,period=0.001"
"""100 W; a counter that steps every millisecond leaves little uncertain at the edges of a short block."""


def test_the_example_runs() -> None:
    finder = doctest.DocTestFinder(recurse=False)
    (example,) = finder.find(measure, "measure", globs={})
    assert doctest.DocTestRunner().run(example).failed == 0
    assert len(example.examples) == 5


def test_gross_net_and_their_errors_of_a_device_of_known_power() -> None:
    with measure(STEADY, idle_s=1.0) as m:
        time.sleep(0.5)
    assert m.energy_j is not None
    assert m.se_j is not None
    assert m.energy_j == pytest.approx(100 * m.duration_s, abs=4 * m.se_j + 0.1)
    (channel,) = m.channels.values()
    assert channel.info.name == "simulated:steady"
    assert channel.energy.gross_j == m.energy_j
    assert channel.idle.mean_w == pytest.approx(100, rel=0.05)
    assert channel.net_se_j is not None
    assert m.net_energy_j == pytest.approx(0, abs=4 * channel.net_se_j + 0.1)
    assert (m.provenance, m.reason) == ("simulated", None)
    assert m.duration_s == pytest.approx(0.5, rel=0.5)


def test_power_that_changes() -> None:
    # 60 W for 4 s, then 240 W and more: the block lies across the step.
    with measure("simulated:counter-20ms,jitter=0") as m:
        time.sleep(4.2)
    assert m.energy_j is not None
    shape = block.open_meter("simulated:counter-20ms")[0].sensor.shape  # type: ignore[attr-defined]
    begun_s = 0.25  # of recording, before the block
    truth_j = float(shape.energy_j(begun_s + m.duration_s) - shape.energy_j(begun_s))
    assert m.energy_j == pytest.approx(truth_j, rel=0.15)
    assert m.energy_j > 61 * m.duration_s


def test_work_of_this_process_by_the_estimate() -> None:
    with measure("estimate") as m:
        started_s = time.process_time()
        while time.process_time() - started_s < 0.5:
            pass
    # CPU seconds are counted exactly, those of the recorder's own thread with them.
    assert m.energy_j == pytest.approx(0.5 * core_power().watts_per_core, rel=0.25)
    assert m.provenance == "estimated"
    assert set(m.channels) == {"cpu:estimate", "dram:estimate"}
    assert m.channels["dram:estimate"].energy.gross_j  # recorded, and in no total
    assert "not counted" in m._repr_html_()


def test_inside_the_block_energy_is_live_and_the_rest_an_error() -> None:
    with measure(STEADY) as m:
        time.sleep(0.3)
        assert m.energy_j == pytest.approx(100 * m.duration_s, rel=0.3)
        assert m.provenance == "simulated"
        assert "so far" in repr(m)
        assert "so far" in m._repr_html_()
        for name in ("se_j", "net_energy_j", "channels", "reason"):
            with pytest.raises(UsageError, match="when the metered block has ended"):
                getattr(m, name)
    assert repr(m).endswith(f" J (simulated), {m.duration_s:.3g} s>")
    assert "simulated:steady" in m._repr_html_()
    with pytest.raises(UsageError, match="call measure"), m:
        pass


def test_before_the_block() -> None:
    m = measure(STEADY)
    assert repr(m) == f"<metered block, meter {STEADY}: not begun>"
    for name in ("energy_j", "duration_s", "provenance", "se_j"):
        with pytest.raises(UsageError, match="in a with statement"):
            getattr(m, name)
    with pytest.raises(UsageError, match="did you mean simulated"), measure("simulatd"):
        pass


def test_a_device_that_is_lost_has_no_energy_but_a_reason() -> None:
    with measure("simulated:counter-20ms,lost=0.3") as m:
        time.sleep(1.0)
    assert (m.energy_j, m.se_j, m.net_energy_j) == (None, None, None)
    assert m.reason == "no reading near the edge of the window: the device is lost (simulated)"
    assert m.reason in repr(m)
    with metered_span("simulated:counter-20ms,lost=0.3") as spent:
        time.sleep(1.0)
    assert spent().gross_j is None
    assert spent().provenance is None
    assert spent().reason == m.reason


def test_a_block_that_fails_has_its_energy_and_its_trace_is_kept(tmp_path: Path) -> None:
    def fails() -> None:
        time.sleep(0.2)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), measure(STEADY) as m:
        fails()
    assert m.energy_j is not None
    m.save(tmp_path / "trace.parquet")
    trace, (_, work) = load_trace(tmp_path / "trace.parquet")
    assert trace.energy("simulated:steady", 0, work.start_ns, work.end_ns).gross_j == m.energy_j


def test_what_the_machine_lock_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    from passkwh.harness.meter.base import find_meter

    assert [find_meter(name)[0].exclusive for name in ("auto", "rapl", "simulated:steady", "replay:x.csv")] == [
        True, True, False, False,
    ]  # fmt: skip
    nvidia, argument = find_meter("nvidia:1, 0")
    assert nvidia.devices is not None
    assert list(nvidia.devices(argument)) == ["gpu-0", "gpu-1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    assert list(nvidia.devices("")) == ["gpu-2"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert list(nvidia.devices("")) == []
    assert [info.name for info in meter_channels(STEADY)] == ["simulated:steady"]


def test_a_reason_is_never_empty() -> None:
    assert reason_of(ValueError()) == "ValueError"
    assert reason_of(OSError(13, "Permission denied")) == "Permission denied"
    assert ChannelState("soc", "measured", "readable").advice is None
