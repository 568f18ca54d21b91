"""The recorder with real threads: nothing lost, nothing invented, nothing that stops it."""

from __future__ import annotations

import time

import pyarrow as pa
import pytest

from passkwh.harness.meter import TRACE_SCHEMA, Recorder, open_meter
from passkwh.harness.meter.base import ESTIMATE_INTERVAL_S, Reading
from passkwh.records import Provenance
from tests.meter.lab import channel_info


class Counting:
    """Counts its own readings; raises or fails on some of them."""

    def __init__(self, fail_every: int = 0, provenance: Provenance = "simulated") -> None:
        described = channel_info(name=f"counting {provenance}")
        self.info = described.model_copy(update={"provenance": provenance})
        self.reads = 0
        self._fail_every = fail_every

    def read(self) -> list[Reading]:
        self.reads += 1
        if self._fail_every and self.reads % self._fail_every == 0:
            raise OSError("bus error")
        return [Reading("energy_j", float(self.reads)), Reading("temperature_c", 40.0)]

    def close(self) -> None:
        pass


def test_every_reading_is_handed_over_once_and_in_order() -> None:
    channel, tables = Counting(), []
    with Recorder([channel], tables.append, session=3, interval_s=0.002) as recorder:
        time.sleep(0.1)
        recorder.flush()
        seen = sum(len(table) for table in tables)
        assert seen >= 2
        time.sleep(0.05)
    table = pa.concat_tables(tables)
    assert table.schema == TRACE_SCHEMA
    assert set(table["session"].to_pylist()) == {3}
    energies = table.filter(pa.compute.equal(table["quantity"].cast(pa.string()), "energy_j"))
    assert energies["value"].to_pylist() == [float(k) for k in range(1, channel.reads + 1)]
    assert energies["time_ns"].to_pylist() == sorted(energies["time_ns"].to_pylist())
    assert len(table) == 2 * channel.reads > seen


def test_estimates_are_read_less_often_and_still_at_the_end() -> None:
    tables: list[pa.Table] = []
    device, estimate = Counting(), Counting(provenance="estimated")
    with Recorder([estimate, device], tables.append, session=0, interval_s=0.005) as recorder:
        close, start_ns = estimate.reads, time.monotonic_ns()
        time.sleep(1.0)
        recorder.flush()
        assert estimate.reads - close <= (time.monotonic_ns() - start_ns) / 1e9 / ESTIMATE_INTERVAL_S + 1
        before = estimate.reads
    assert close > 2  # the burst at the beginning reads all
    assert before > close
    assert device.reads > estimate.reads
    last = pa.concat_tables(tables).to_pylist()[-4:]
    assert {row["channel"] for row in last} == {"counting estimated", "counting simulated"}


def test_a_mark_reads_estimates_and_asks_no_device() -> None:
    tables: list[pa.Table] = []
    device, estimate = Counting(), Counting(provenance="estimated")
    recorder = Recorder([device, estimate], tables.append, session=0)
    before_ns, marked_ns, after_ns = time.monotonic_ns(), recorder.mark(), time.monotonic_ns()
    recorder.flush()
    assert (device.reads, estimate.reads) == (0, 1)
    (read_ns,) = set(pa.concat_tables(tables)["time_ns"].to_pylist())
    assert before_ns <= marked_ns <= read_ns <= after_ns


def test_a_channel_that_raises_becomes_missing_readings() -> None:
    tables: list[pa.Table] = []
    with Recorder([Counting(fail_every=3)], tables.append, session=0, interval_s=0.002):
        time.sleep(0.1)
    failed = [row for row in pa.concat_tables(tables).to_pylist() if row["value"] is None]
    assert failed
    assert {row["reason"] for row in failed} == {"OSError: bus error"}


def test_trouble_of_the_sink_is_raised_where_the_caller_is_and_loses_nothing() -> None:
    channel, tables, full = Counting(), [], [True]

    def write(table: pa.Table) -> None:
        if full:
            raise OSError("disk full")
        tables.append(table)

    recorder = Recorder([channel], write, session=0, interval_s=0.002)
    recorder.start()
    with pytest.raises(OSError, match="disk full"):
        recorder.flush()
    full.clear()
    recorder.stop()
    assert sum(len(table) for table in tables) == 2 * channel.reads


def test_live_shows_joules_and_watts() -> None:
    channels = open_meter("simulated:steady")
    with Recorder(channels, lambda table: None, session=0, interval_s=0.005) as recorder:
        time.sleep(0.3)
        energy_j, power_w = recorder.live()["simulated:steady"]
    assert energy_j is not None
    assert power_w == pytest.approx(100.0, rel=0.2)
