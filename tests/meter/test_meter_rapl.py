"""RAPL against a powercap tree made of files: nested domains, wraps, permissions, and Zeus's daemon."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passkwh.errors import UsageError
from passkwh.harness.meter import open_meter
from passkwh.harness.meter.rapl import RaplDomain, find_rapl
from passkwh.harness.meter.unwrap import LARGEST_W, WIDTHS_J, Unwrap


def zone(root: Path, number: str, name: str, energy_uj: int = 0, limit_uj: int | None = 262_143_328_850) -> Path:
    folder = root / f"intel-rapl:{number}"
    folder.mkdir(parents=True)
    (folder / "name").write_text(name + "\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    if limit_uj is not None:
        (folder / "max_energy_range_uj").write_text(f"{limit_uj}\n")
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two packages with cores and memory, the platform, and the second path to the same package (mmio)."""
    for package in (0, 1):
        zone(tmp_path, f"{package}", f"package-{package}")
        zone(tmp_path, f"{package}:0", "core")
        zone(tmp_path, f"{package}:1", "dram")
    zone(tmp_path, "2", "psys")
    mmio = tmp_path / "intel-rapl-mmio:0"
    mmio.mkdir()
    (mmio / "name").write_text("package-0\n")
    (mmio / "energy_uj").write_text("0\n")
    return tmp_path


def test_nested_domains_are_counted_once(tree: Path) -> None:
    channels = open_meter(f"rapl:{tree}")
    assert {channel.info.name: channel.info.counted for channel in channels} == {
        "cpu:0": True, "dram:0": True, "cpu:1": True, "dram:1": True, "psys": False,
    }  # fmt: skip
    assert all(channel.info.provenance == "measured" for channel in channels)


def test_a_package_that_is_shown_by_each_of_its_dies_is_counted_once(tmp_path: Path) -> None:
    for die, name in enumerate(("package-0-die-0", "package-0-die-1")):
        zone(tmp_path, f"{die}", name, 123_456_789)
        zone(tmp_path, f"{die}:0", "dram", 5_000)
    zone(tmp_path, "2", "package-1-die-0", 123_456_789)
    zone(tmp_path, "3", "package-1-die-1", 123_456_790)
    zone(tmp_path, "4", "package-10-die-0", 123_456_789)
    channels = {channel.info.name: channel.info for channel in open_meter(f"rapl:{tmp_path}")}
    assert [name for name, info in channels.items() if not info.counted] == ["cpu:0-die-1", "dram:0-die-1"]
    assert channels["cpu:0-die-1"].note == "not counted: it shows the counter of cpu:0-die-0"


def show(folder: Path, energy_uj: int) -> None:
    (folder / "energy_uj").write_text(f"{energy_uj}\n")


@pytest.mark.parametrize("limit_uj", [65_532_610_987, None])
def test_a_wrap_adds_the_range_even_when_it_cannot_be_read(tmp_path: Path, limit_uj: int | None) -> None:
    folder = zone(tmp_path, "0", "package-0", 65_532_000_000, limit_uj)
    channel = RaplDomain(folder, "cpu:0", "package-0")
    (first,) = channel.read()
    time.sleep(0.05)
    show(folder, 400_000)
    (second,) = channel.read()
    assert first.value is not None
    assert second.value is not None
    expected_j = 0.4 + (65_532.610987 if limit_uj else 65_536.0) - 65_532.0
    assert second.value - first.value == pytest.approx(expected_j)
    assert (channel.info.note is None) == (limit_uj is not None)


def test_a_counter_that_starts_again_is_no_wrap(tmp_path: Path) -> None:
    folder = zone(tmp_path, "0", "package-0", 30_000_000_000)
    channel = RaplDomain(folder, "cpu:0", "package-0")
    first = channel.read()[0].value
    show(folder, 1_000_000)
    assert channel.read()[0].value == pytest.approx(1.0)
    assert first == pytest.approx(30_000.0)


@given(
    st.sampled_from([*WIDTHS_J, 262_143.32885, 1000.0]),
    st.booleans(),
    st.lists(st.tuples(st.floats(0.005, 0.5), st.floats(0.0, 0.95)), min_size=1, max_size=60),
    st.floats(0, 1),
)
def test_any_power_comes_back_whole_across_wraps(
    limit_j: float, readable: bool, steps: list[tuple[float, float]], start: float
) -> None:
    if limit_j not in WIDTHS_J:
        readable = True
    unwrap = Unwrap(limit_j if readable else None)
    energy_j, now_s = start * limit_j * 0.999999, 0.0
    first_j, previous_j = unwrap(energy_j % limit_j, now_s), 0.0
    total_j = 0.0
    for wait_s, share in steps:
        step_j = min(wait_s * share * LARGEST_W, 0.5 * limit_j)
        now_s, energy_j, total_j = now_s + wait_s, energy_j + step_j, total_j + step_j
        gained_j = unwrap(energy_j % limit_j, now_s) - first_j
        assert gained_j >= previous_j - 1e-6 * limit_j
        previous_j = gained_j
    assert previous_j == pytest.approx(total_j, abs=1e-6 * limit_j)


def test_what_cannot_be_read_is_said_with_what_helps(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import passkwh.harness.meter.rapl as rapl

    real = rapl.os.open

    def denied(path: Path, flags: int) -> int:
        if str(path).endswith("energy_uj"):
            raise PermissionError(13, "Permission denied")
        return real(path, flags)

    # The tests may run as root, whom no mode of a file keeps out.
    monkeypatch.setattr(rapl.os, "open", denied)
    channels, states = find_rapl(tree)
    assert channels == []
    assert {state.name for state in states} == {"cpu:0", "dram:0", "cpu:1", "dram:1", "psys"}
    assert all(state.advice and "chmod" in state.advice and "zeusd" in state.advice for state in states)
    with pytest.raises(UsageError, match="only root"):
        open_meter(f"rapl:{tree}")
    with pytest.raises(UsageError, match="does not exist"):
        open_meter(f"rapl:{tmp_path / 'nothing'}")


def test_a_file_that_goes_bad_is_a_missing_reading(tmp_path: Path) -> None:
    folder = zone(tmp_path, "0", "package-0", 5)
    channel = RaplDomain(folder, "cpu:0", "package-0")
    (folder / "energy_uj").write_text("")
    (reading,) = channel.read()
    assert reading.value is None
    assert reading.reason


class Daemon(BaseHTTPRequestHandler):
    """As much of zeusd as reading CPU energy takes."""

    started_s = time.monotonic()

    def do_GET(self) -> None:
        if self.path == "/discover":
            body: object = {
                "gpus": [], "cpus": [{"id": 0, "dram_available": True}],
                "enabled_api_groups": ["cpu-read"], "auth_required": False,
            }  # fmt: skip
        else:
            energy_uj = int((time.monotonic() - self.started_s) * 40e6)
            body = {"0": {"cpu_energy_uj": energy_uj, "dram_energy_uj": energy_uj // 10}}
        text = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_without_root_the_daemon_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    server = HTTPServer(("127.0.0.1", 0), Daemon)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("ZEUSD_HOST_PORT", f"127.0.0.1:{server.server_port}")
    try:
        channels = open_meter("rapl")
        assert [channel.info.name for channel in channels] == ["cpu:0", "dram:0"]
        assert "zeusd" in channels[0].info.source
        values: list[float] = []
        end_s = time.monotonic() + 120
        while len(set(values)) < 3 and time.monotonic() < end_s:
            cpu, dram, later = (channel.read()[0].value for channel in (*channels, channels[0]))
            if cpu is not None and dram is not None and later is not None:
                values.append(cpu)
                assert cpu / 10 - 1e-5 <= dram <= later / 10 + 1e-5  # a new answer may have come in between
            time.sleep(0.02)
        assert len(set(values)) >= 3
        assert values == sorted(values)
        for channel in channels:
            channel.close()
    finally:
        server.shutdown()
        server.server_close()
