"""The estimated channel with real processes: all of the tree, once, and never backwards."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import psutil
import pyarrow as pa
import pytest

from passkwh.errors import UsageError
from passkwh.harness.meter import Recorder, open_meter
from passkwh.harness.meter.cpu_time import ProcessTreeTime
from passkwh.harness.meter.tdp import DEFAULT_WATTS_PER_THREAD, core_power, table_tdp_w
from passkwh.harness.meter.trace import Trace

pytestmark = pytest.mark.alone

BURN = "import time\nwhile time.process_time() < {seconds}: pass\n"
"""Burns this many CPU seconds (its own start-up included) and ends."""


@pytest.fixture
def tree() -> ProcessTreeTime:
    if not os.path.exists("/proc/self/task"):
        pytest.skip("needs Linux's /proc")
    return ProcessTreeTime()


def watch(tree: ProcessTreeTime, done: subprocess.Popen[bytes] | None = None, seconds: float = 0.0) -> float:
    """Read as the recorder would until a process has ended (without waiting for it) or time is up; the last value."""
    readings = [tree.read_s()]
    end = time.monotonic() + seconds
    while (done is not None and not _zombie(done.pid)) or time.monotonic() < end:
        time.sleep(0.01)
        readings.append(tree.read_s())
    assert readings == sorted(readings)
    return readings[-1]


def _zombie(pid: int) -> bool:
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[0] == b"Z"


def test_a_live_child_counts_while_it_runs_and_once_after(tree: ProcessTreeTime) -> None:
    before_s, own_before_s = tree.read_s(), time.process_time()
    child = subprocess.Popen([sys.executable, "-c", BURN.format(seconds=0.5)])
    while_running_s = watch(tree, done=child) - before_s
    child.wait()
    after_s = tree.read_s() - before_s
    own_s = time.process_time() - own_before_s
    assert 0.45 < while_running_s - own_s < 0.8
    assert 0.45 < after_s - own_s < 0.8


SERVER = """
import subprocess, sys, threading, time
for _ in range(200):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
child.stdout.readline()
print(flush=True)
time.sleep(60)
"""
"""Has many threads, each of which could have children, and starts its child last."""


def test_what_a_server_used_before_the_first_reading_is_in_that(tree: ProcessTreeTime) -> None:
    burn = BURN.format(seconds=0.5) + "print(flush=True)\ntime.sleep(60)\n"
    server = subprocess.Popen([sys.executable, "-c", SERVER, burn], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        server.stdout.readline()
        own_s, first_s = time.process_time(), tree.read_s()
        assert first_s - own_s > 0.45
        assert watch(tree, seconds=1.0) - first_s < 0.3
    finally:
        for child in psutil.Process(server.pid).children():
            child.kill()
        server.kill()
        server.wait()


def test_a_child_that_ends_between_readings_counts(tree: ProcessTreeTime) -> None:
    before_s, own_before_s = tree.read_s(), time.process_time()
    subprocess.run([sys.executable, "-c", BURN.format(seconds=0.3)], check=True)
    gained_s = tree.read_s() - before_s - (time.process_time() - own_before_s)
    assert 0.28 < gained_s < 0.6


def test_grandchildren_count_once_alive_and_waited_for(tree: ProcessTreeTime) -> None:
    inner = BURN.format(seconds=0.4)
    outer = f"import subprocess, sys\nfor _ in range(2): subprocess.run([sys.executable, '-c', {inner!r}])\n"
    before_s, own_before_s = tree.read_s(), time.process_time()
    children_before = resource.getrusage(resource.RUSAGE_CHILDREN)
    child = subprocess.Popen([sys.executable, "-c", outer])
    watch(tree, done=child)
    child.wait()
    gained_s = watch(tree, seconds=0.1) - before_s - (time.process_time() - own_before_s)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    truth_s = children.ru_utime + children.ru_stime - children_before.ru_utime - children_before.ru_stime
    assert truth_s > 0.75
    assert gained_s == pytest.approx(truth_s, abs=0.08)


def test_an_orphan_that_nobody_waits_for_is_kept(tree: ProcessTreeTime) -> None:
    before_s, own_before_s = tree.read_s(), time.process_time()
    # The shell ends at once when told to; its child lives on and is reaped by init.
    shell = subprocess.Popen(
        ["sh", "-c", '"$0" -c "$1" & read go', sys.executable, BURN.format(seconds=0.6)], stdin=subprocess.PIPE
    )

    def gained_s() -> float:
        return tree.read_s() - before_s - (time.process_time() - own_before_s)

    until(lambda: gained_s() > 0.1)
    assert shell.stdin is not None
    shell.stdin.close()
    shell.wait()
    until(lambda: gained_s() > 0.55)
    watch(tree, seconds=0.3)
    assert 0.55 < gained_s() < 0.9


def until(reached: Callable[[], bool]) -> None:
    """Wait, as long as a slow machine may need."""
    end_s = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_the_channel_says_what_it_assumes() -> None:
    channel = open_meter("estimate")[0]
    power = core_power()
    assert channel.info.provenance == "estimated"
    assert channel.info.note is not None
    for word in (power.model, f"{power.cores} cores", f"{power.watts_per_core:.3g} W per core", "CodeCarbon"):
        assert word in channel.info.note
    first, second = channel.read()[0].value, channel.read()[0].value
    assert first is not None
    assert second is not None
    assert second > first > 0
    with pytest.raises(UsageError, match="no argument"):
        open_meter("estimate:65")


def test_tdp_comes_from_the_table_only_where_one_entry_fits() -> None:
    assert table_tdp_w("Intel(R) Core(TM) i7-8700K CPU @ 3.70GHz") == 95
    assert table_tdp_w("AMD EPYC 7763 64-Core Processor") == 280
    assert table_tdp_w("Intel(R) Xeon(R) Processor") is None
    assert table_tdp_w("Some Future CPU 9000X") is None


def test_the_default_is_the_one_that_codecarbon_uses() -> None:
    from codecarbon.core import cpu

    assert cpu.DEFAULT_POWER_PER_CORE == DEFAULT_WATTS_PER_THREAD


def test_short_windows_between_marks_are_what_the_processor_worked() -> None:
    """Windows no longer than the readings are apart, between pauses of the same kind: only the marks can place them."""
    channels, tables = open_meter("estimate"), []
    energies: list[float] = []
    with Recorder(channels, tables.append, session=0) as recorder:
        windows = []
        for pause_s in (0.1, 0.25, 0.15, 0.3, 0.1):
            time.sleep(pause_s)
            start_ns, cpu_ns = recorder.mark(), time.process_time_ns()
            while time.process_time_ns() - cpu_ns < 100_000_000:
                pass
            energies.append((time.process_time_ns() - cpu_ns) / 1e9 * core_power().watts_per_core)
            windows.append((start_ns, recorder.mark()))
        time.sleep(0.1)
    trace = Trace.from_table(pa.concat_tables(tables), [channel.info for channel in channels])
    for (start_ns, end_ns), energy_j in zip(windows, energies, strict=True):
        assert trace.energy("cpu:estimate", 0, start_ns, end_ns).gross_j == pytest.approx(energy_j, rel=0.05)
