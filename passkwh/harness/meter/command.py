"""The energy of any command: idle first, then the command, each a window of one trace."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from passkwh.errors import UsageError
from passkwh.harness.meter.base import Channel
from passkwh.harness.meter.recorder import Recorder
from passkwh.harness.meter.trace import Trace
from passkwh.records import ChannelInfo, Energy, IdleBaseline, Window
from passkwh.units import ns_to_s

SETTLE_S = 0.3
"""Recorded after the command, so that the last update of every counter is seen."""


@dataclass(frozen=True)
class CommandEnergy:
    """What a command drew, per channel, and the trace it was found in."""

    exit_code: int
    duration_s: float
    channels: tuple[ChannelInfo, ...]
    energy: dict[str, Energy]
    idle: dict[str, IdleBaseline]
    table: pa.Table
    windows: tuple[Window, ...]


def meter_command(command: Sequence[str], channels: Sequence[Channel], idle_s: float) -> CommandEnergy:
    """Run ``command`` (its output goes where ours goes) under the channels, after ``idle_s`` of idle.

    Raises:
        UsageError: if there is no such program.
    """
    tables: list[pa.Table] = []
    with Recorder(channels, tables.append, session=0) as recorder:
        idle_start_ns = recorder.mark()
        time.sleep(idle_s)
        start_ns = recorder.mark()
        try:
            exit_code = subprocess.run(command, check=False).returncode
        except OSError as error:
            raise UsageError(f"cannot run {command[0]!r}: {error.strerror}") from error
        end_ns = recorder.mark()
        time.sleep(SETTLE_S)
    table = pa.concat_tables(tables)
    infos = tuple(channel.info for channel in channels)
    trace = Trace.from_table(table, infos)
    windows = (
        Window(kind="idle_before", session=0, start_ns=idle_start_ns, end_ns=start_ns),
        Window(kind="generate", session=0, start_ns=start_ns, end_ns=end_ns),
    )
    idle = {info.name: trace.idle(info.name, windows[0]) for info in infos}
    energy = {info.name: trace.energy(info.name, 0, start_ns, end_ns, idle[info.name]) for info in infos}
    return CommandEnergy(exit_code, ns_to_s(end_ns - start_ns), infos, energy, idle, table, windows)
