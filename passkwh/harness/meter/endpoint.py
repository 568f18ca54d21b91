"""An external meter: any HTTP endpoint that answers JSON with a power or an energy (smart plug, PDU, Redfish).

``--meter http://192.168.1.7/rpc/Switch.GetStatus?id=0#apower`` reads watts at the JSON path ``apower``; a unit other
than watts follows an ``@``: ``#aenergy.total@Wh``. Numbers index lists: ``#PowerControl.0.PowerConsumedWatts``. User
and password may stand in the URL; they are sent as basic authentication and stored nowhere.
"""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from passkwh.errors import UsageError
from passkwh.harness.meter.background import Background
from passkwh.harness.meter.base import Meter, Reading
from passkwh.records import ChannelInfo
from passkwh.units import JOULES_PER_KWH

UNITS = {
    "W": ("power_w", 1.0),
    "mW": ("power_w", 1e-3),
    "kW": ("power_w", 1e3),
    "J": ("energy_j", 1.0),
    "Wh": ("energy_j", JOULES_PER_KWH / 1e3),
    "kWh": ("energy_j", JOULES_PER_KWH),
}

INTERVAL_S = 0.5
TIMEOUT_S = 2.0


class HttpMeter:
    """What an endpoint says, asked for twice a second in the background."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        path, _, unit = unquote(parts.fragment).partition("@")
        if not path or not parts.hostname:
            raise UsageError(
                f"{url}: write the JSON path of the value after a '#', for example http://host/status#apower"
            )
        if unit and unit not in UNITS:
            raise UsageError(f"{url}: unknown unit {unit!r}, known: {', '.join(UNITS)}")
        self._quantity, self._scale = UNITS[unit or "W"]
        self._path = path.split(".")
        host = parts.hostname + (f":{parts.port}" if parts.port else "")
        self._url = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
        self._headers = {"Accept": "application/json"}
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
        try:
            self._take()
        except (OSError, ValueError, LookupError) as error:
            raise UsageError(f"the meter at {self._url} does not answer with {path}: {error}") from error
        self._background = Background(self._take, self._quantity, INTERVAL_S)
        self.info = ChannelInfo.model_validate(
            {
                "name": f"external:{host}",
                "provenance": "measured",
                "source": f"{self._url}, {path} in {unit or 'W'}",
                "quantity": self._quantity,
                "scope": "external",
                "note": f"everything behind that meter, read every {INTERVAL_S:g} s",
            }
        )

    def read(self) -> list[Reading]:
        """The newest answer."""
        return self._background.latest()

    def close(self) -> None:
        self._background.close()

    def _take(self) -> list[Reading]:
        request = urllib.request.Request(self._url, headers=self._headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            value: Any = json.load(answer)
        for key in self._path:
            value = _step(value, key)
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError(f"{'.'.join(self._path)} is not a number but {type(value).__name__}")
        return [Reading(self._quantity, float(value) * self._scale)]


def _step(value: Any, key: str) -> Any:
    """One step down a JSON path; LookupError says what it holds instead."""
    if isinstance(value, list) and key.isdigit() and int(key) < len(value):
        return value[int(key)]
    if isinstance(value, dict) and key in value:
        return value[key]
    held = ", ".join(map(str, value)) if isinstance(value, dict) else f"a {type(value).__name__}"
    raise LookupError(f"no {key!r}, there is {held}")


HTTP = Meter(
    "http://HOST/PATH#JSON.PATH[@UNIT]",
    "a smart plug, PDU or Redfish",
    lambda argument: [HttpMeter("http:" + argument)],
)
HTTPS = Meter("https://...", "the same, encrypted", lambda argument: [HttpMeter("https:" + argument)])
