"""Meters outside the machine and recordings: a real HTTP server, real files, real mistakes."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from passkwh.errors import UsageError
from passkwh.harness.meter import open_meter
from passkwh.harness.meter.base import Channel, Reading
from passkwh.harness.meter.replay import open_replay
from passkwh.registry import METERS


class Plug(BaseHTTPRequestHandler):
    """A smart plug that answers what the test says."""

    answer: ClassVar[Any] = {}
    failing: ClassVar[bool] = False
    logins: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        Plug.logins.append(self.headers.get("Authorization"))
        text = b"oops" if Plug.failing else json.dumps(Plug.answer).encode()
        self.send_response(500 if Plug.failing else 200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def plug() -> Iterator[str]:
    """Host and port of a running plug."""
    Plug.answer, Plug.failing = {"apower": 42.5, "aenergy": {"total": 2.0}, "PowerControl": [{"Watts": "77"}]}, False
    Plug.logins.clear()
    server = HTTPServer(("127.0.0.1", 0), Plug)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def until(channel: Channel, wanted: bool) -> Reading:
    """The channel's reading, once it has (or no longer has) a value."""
    end_s = time.monotonic() + 30
    while ((reading := channel.read()[0]).value is not None) != wanted and time.monotonic() < end_s:
        time.sleep(0.02)
    return reading


@pytest.mark.parametrize(
    ("path", "quantity", "value"),
    [
        ("apower", "power_w", 42.5),
        ("apower@kW", "power_w", 42_500.0),
        ("aenergy.total@Wh", "energy_j", 7200.0),
        ("PowerControl.0.Watts", "power_w", 77.0),
    ],
)
def test_a_plug_is_read_by_json_path_and_unit(plug: str, path: str, quantity: str, value: float) -> None:
    (channel,) = open_meter(f"http://{plug}/status#{path}")
    reading = until(channel, wanted=True)
    channel.close()
    assert (reading.quantity, reading.value) == (quantity, pytest.approx(value))
    assert channel.info.quantity == quantity
    assert channel.info.name == f"external:{plug}"


def test_a_password_is_sent_and_not_stored(plug: str) -> None:
    (channel,) = open_meter(f"http://user:s%40cret@{plug}/status#apower")
    channel.close()
    assert Plug.logins[0] == "Basic " + base64.b64encode(b"user:s@cret").decode()
    assert "cret" not in channel.info.model_dump_json()


def test_a_plug_that_fails_is_missing_and_comes_back(plug: str) -> None:
    (channel,) = open_meter(f"http://{plug}/status#apower")
    assert until(channel, wanted=True).value == 42.5
    Plug.failing = True
    failed = until(channel, wanted=False)
    assert failed.value is None
    assert "500" in str(failed.reason)
    Plug.failing = False
    assert until(channel, wanted=True).value == 42.5
    channel.close()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("http://{plug}/status", "JSON path"),
        ("http://{plug}/status#power", "there is apower"),
        ("http://{plug}/status#apower@furlong", "unknown unit"),
        ("http://{plug}/status#aenergy", "not a number"),
        ("http://127.0.0.1:1/#x", "does not answer"),
        ("replay:nothing.csv", "cannot be read"),
        ("replay:", "needs a file"),
        ("autos", "did you mean auto"),
        ("simulated:counter-10ms", "did you mean counter"),
        ("simulated:steady,period=soon", "must be a number"),
        ("simulated:steady,volume=11", "cannot change"),
        ("auto:gpu", "no argument"),
    ],
)
def test_mistakes_are_one_line_that_says_what_to_do(plug: str, name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        open_meter(name.format(plug=plug))
    assert "\n" not in str(caught.value)


def test_every_meter_of_the_registry_loads() -> None:
    for name in METERS.names():
        meter = METERS.get(name)
        assert callable(meter.open)
        assert meter.summary


def test_a_recording_is_played_in_its_own_time(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text(
        "time_s,channel,quantity,value,reason\n"
        "0.0,gpu:a,energy_j,10,\n0.5,gpu:a,energy_j,,bus error\n1.0,gpu:a,energy_j,60,\n"
        "0.0,gpu:a,temperature_c,40,\n1.0,gpu:a,temperature_c,41,\n1.0,plug,power_w,5,\n2.0,plug,power_w,6,\n"
    )
    now = [0]
    gpu, outlet = open_replay(str(file), clock=lambda: now[0])
    assert (gpu.info.quantity, outlet.info.quantity, gpu.info.provenance) == ("energy_j", "power_w", "simulated")
    expected = {0.2: (10.0, None), 0.7: (None, "bus error"), 1.0: (60.0, None), 1.5: (None, "the recording has ended")}
    for time_s, (value, reason) in expected.items():
        now[0] = int(time_s * 1e9)
        energy = next(reading for reading in gpu.read() if reading.quantity == "energy_j")
        assert (energy.value, energy.reason) == (value, reason)
    now[0] = 0
    assert outlet.read() == [Reading("power_w", None, "the recording has not begun")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("time_s,channel,value\n0,a,1\n", "line 1: no column quantity"),
        ("time_s,channel,quantity,value\n0,a,energy_j,1\n1,a,energy_j,lots\n", "line 3"),
        ("time_s,channel,quantity,value\n0,a,energy_j,inf\n", "line 2.*finite"),
        ("time_s,channel,quantity,value\n0,a,temperature_c,1\n", "has none of"),
        ("time_s,channel,quantity,value\n", "no readings"),
    ],
)
def test_a_bad_recording_names_its_line(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "log.csv"
    file.write_text(text)
    with pytest.raises(UsageError, match=words):
        open_meter(f"replay:{file}")
