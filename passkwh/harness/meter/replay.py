"""A recording played again: ``--meter replay:FILE.csv`` with columns time_s, channel, quantity, value.

For trying out analyses and for the tests: the readings are somebody's, but not of this run, so they are called
simulated. An empty value is a failed reading; a column ``reason`` may say why.
"""

from __future__ import annotations

import csv
import math
import time
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path

from passkwh.errors import UsageError
from passkwh.harness.meter.base import Channel, Meter, Reading
from passkwh.records import ChannelInfo

QUANTITIES = ("energy_j", "power_w", "power_1s_w")
COLUMNS = ("time_s", "channel", "quantity", "value")


class ReplayChannel(Channel):
    """One channel of a recording; its time starts when it is opened."""

    def __init__(
        self, name: str, file: str, rows: dict[str, list[tuple[float, Reading]]], clock: Callable[[], int]
    ) -> None:
        self._rows = {quantity: (_times(readings), readings) for quantity, readings in rows.items()}
        self._clock, self._opened_ns = clock, clock()
        quantity = next(quantity for quantity in QUANTITIES if quantity in rows)
        self._quantity = quantity
        self.info = ChannelInfo.model_validate(
            {
                "name": name,
                "provenance": "simulated",
                "source": f"a recording played again: {file}",
                "quantity": quantity,
                "scope": "external",
            }
        )

    def read(self) -> list[Reading]:
        """The recording's newest readings by now; missing before its first and after its last moment."""
        now_s = (self._clock() - self._opened_ns) / 1e9
        readings = []
        for quantity, (times, rows) in self._rows.items():
            after = bisect_right(times, now_s)
            if after == 0 or (after == len(rows) and now_s > times[-1]):
                when = "has not begun" if after == 0 else "has ended"
                readings.append(Reading(quantity, None, f"the recording {when}"))
            else:
                readings.append(rows[after - 1][1])
        return readings


def open_replay(argument: str, clock: Callable[[], int] = time.monotonic_ns) -> list[Channel]:
    """The registry's ``replay:FILE.csv``."""
    path = Path(argument)
    if not argument:
        raise UsageError("replay needs a file: --meter replay:FILE.csv")
    channels: dict[str, dict[str, list[tuple[float, Reading]]]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file)
            lacking = [column for column in COLUMNS if column not in (table.fieldnames or [])]
            if lacking:
                raise UsageError(f"{path}, line 1: no column {', '.join(lacking)}; needed: {','.join(COLUMNS)}")
            for row in table:
                time_s, reading = _reading(path, table.line_num, row)
                channels.setdefault(row["channel"], {}).setdefault(reading.quantity, []).append((time_s, reading))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UsageError(
            f"the recording {path} cannot be read ({why}): give a CSV file with the columns {','.join(COLUMNS)}"
        ) from error
    if not channels:
        raise UsageError(f"{path} has no readings")
    for name, quantities in channels.items():
        if not set(quantities) & set(QUANTITIES):
            raise UsageError(f"{path}: channel {name!r} has none of {', '.join(QUANTITIES)}")
        for rows in quantities.values():
            rows.sort(key=lambda row: row[0])
    return [ReplayChannel(name, path.name, rows, clock) for name, rows in channels.items()]


def _reading(path: Path, line: int, row: dict[str, str | None]) -> tuple[float, Reading]:
    text = (row["value"] or "").strip()
    try:
        time_s = float(row["time_s"] or "")
        value = float(text) if text else None
    except ValueError as error:
        raise UsageError(f"{path}, line {line}: {error}") from error
    if not math.isfinite(time_s) or (value is not None and not math.isfinite(value)):
        raise UsageError(f"{path}, line {line}: time and value must be finite numbers")
    reason = (row.get("reason") or "no value in the recording") if value is None else None
    return time_s, Reading(row["quantity"] or "", value, reason)


def _times(rows: list[tuple[float, Reading]]) -> list[float]:
    return [time_s for time_s, _ in rows]


METER = Meter("replay:FILE.csv", "a recording played again", open_replay, exclusive=False)
