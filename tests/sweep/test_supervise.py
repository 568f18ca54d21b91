"""One run in a process of its own: however it ends, there is a reason, and nothing of it is left running."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
import torch

from passkwh.errors import UsageError
from passkwh.harness.meter.base import Meter
from passkwh.harness.sweep.child import classify
from passkwh.harness.sweep.machine_lock import MachineLocks, locks_needed, try_hold_machine
from passkwh.harness.sweep.supervise import Attempt, StopSignals
from passkwh.records import Spec
from passkwh.registry import METERS


def fails(what: object) -> BaseException:
    """The exception that really comes of it."""
    try:
        what()  # type: ignore[operator]
    except BaseException as error:
        return error
    raise AssertionError("it did not fail")


def full_disk() -> None:
    with Path("/dev/full").open("wb", buffering=0) as file:
        file.write(b"x")


def wrapped() -> None:
    try:
        full_disk()
    except OSError as error:
        raise RuntimeError("the trace could not be written") from error


def too_much_for_torch() -> None:
    torch.empty(10**16)


REAL = {
    "a full disk": (full_disk, "disk full"),
    "a full disk as a cause": (wrapped, "disk full"),
    "memory of python": (lambda: bytearray(2**62), "out of memory"),
    "memory of torch": (too_much_for_torch, "out of memory"),
    "anything else": (lambda: {}["x"], "error"),
}


@pytest.mark.parametrize("name", REAL)
def test_exceptions_are_told_apart(name: str) -> None:
    what, kind = REAL[name]
    found, reason = classify(fails(what))
    assert found == kind, reason
    assert reason
    assert "\n" not in reason


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "out of memory"),
        (RuntimeError("CUDA error: unspecified launch failure"), "lost device"),
        (RuntimeError("NVML: GPU is lost"), "lost device"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk full"),
        (UsageError("no checkpoint folder x:\n  give another"), "usage"),
    ],
)
def test_texts_of_devices_are_told_apart(error: BaseException, kind: str) -> None:
    assert classify(error)[0] == kind


def attempt(model: Path, out: Path, hang_s: float) -> Attempt:
    spec = Spec(model=str(model), meter="simulated", limit=1)
    return Attempt(spec, "the-run", out, out / "logs" / "the-run.log", hang_s)


def stand_still(run: Attempt) -> None:
    """Stop the run's process, as a file system that does not answer would: it lives and says nothing more."""
    os.kill(run.pid, signal.SIGSTOP)


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_process_that_hangs_is_ended(tmp_path: Path) -> None:
    run = attempt(tmp_path / "nowhere", tmp_path / "out", 5.0)
    outcome = run.watch(lambda _: stand_still(run))
    assert (outcome.event, outcome.kind) == ("failed", "hang")
    assert "5 s" in (outcome.reason or "")
    assert gone(run.pid)


def test_a_process_that_is_killed_has_crashed(tmp_path: Path) -> None:
    run = attempt(tmp_path / "nowhere", tmp_path / "out", 600.0)
    outcome = run.watch(lambda _: os.kill(run.pid, signal.SIGSEGV))
    assert (outcome.event, outcome.kind, outcome.reason) == ("failed", "crash", "killed by SIGSEGV")


def test_a_mistake_comes_back_as_its_one_line(tmp_path: Path) -> None:
    run = attempt(tmp_path / "nowhere", tmp_path / "out", 600.0)
    outcome = run.watch(lambda _: None)
    assert (outcome.event, outcome.kind) == ("failed", "usage")
    assert "nowhere" in (outcome.reason or "")
    assert "Traceback" not in (tmp_path / "out" / "logs" / "the-run.log").read_text()


def test_a_run_dies_with_its_supervisor(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.sweep.test_supervise import attempt, stand_still\n"
        "run = attempt(Path(sys.argv[1]), Path(sys.argv[2]), 600.0)\n"
        "run.watch(lambda _: (stand_still(run), print(run.pid, flush=True)))"
    )
    import sys

    supervisor = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "nowhere", tmp_path / "out"], stdout=subprocess.PIPE, text=True
    )
    assert supervisor.stdout is not None
    process = psutil.Process(int(supervisor.stdout.readline()))
    supervisor.kill()
    supervisor.wait()
    psutil.wait_procs([process], timeout=60)
    assert gone(process.pid)


def test_what_shares_a_counter_is_metered_alone() -> None:
    first, second = MachineLocks("auto", "first"), MachineLocks("estimate", "second")
    assert first.try_lock() is None
    assert second.try_lock() == f"process {os.getpid()}, first"
    one, other = MachineLocks("nvidia:GPU-1", "one"), MachineLocks("nvidia:GPU-2,GPU-3", "other")
    assert one.try_lock() == f"process {os.getpid()}, first"
    first.close()
    assert one.try_lock() is None
    assert other.try_lock() is None  # other GPUs, and nothing else is counted
    assert MachineLocks("nvidia:GPU-3", "third").try_lock() == f"process {os.getpid()}, other"
    assert second.try_lock() is not None
    other.close()
    one.close()
    assert second.try_lock() is None
    second.close()


def test_runs_that_read_nothing_here_share_the_machine_and_keep_measured_ones_away() -> None:
    assert locks_needed("simulated:steady") == locks_needed("replay:file.csv") == [("machine", False)]
    one, other, measured = (MachineLocks(meter, meter) for meter in ("simulated", "simulated", "estimate"))
    assert one.try_lock() is None
    assert other.try_lock() is None
    assert measured.try_lock() is not None
    one.close()
    other.close()
    assert measured.try_lock() is None
    assert one.try_lock() is not None
    measured.close()


def test_a_meter_of_another_package_says_itself_what_it_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METERS._added, "plug", Meter("plug", "a plug", lambda _: []))
    monkeypatch.setitem(
        METERS._added, "card", Meter("card[:N]", "a card", lambda _: [], devices=lambda n: [f"card-{n}"])
    )
    assert locks_needed("plug:1") == [("machine", True)]
    assert locks_needed("card:1") == [("machine", False), ("card-1", True)]
    with pytest.raises(UsageError, match="unknown meter 'plugg'"):
        locks_needed("plugg")


def test_a_run_by_hand_knows_who_else_is_metered() -> None:
    with try_hold_machine("auto", "by hand") as nobody, try_hold_machine("auto", "another") as holder:
        assert nobody is None
        assert holder == f"process {os.getpid()}, by hand"
        assert MachineLocks("auto", "a study's").try_lock() == holder
    with try_hold_machine("auto", "later") as nobody:
        assert nobody is None


def test_gpus_are_those_that_cuda_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    assert locks_needed("nvidia") == [("machine", False), ("gpu-0", True), ("gpu-1", True)]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert locks_needed("nvidia") == [("machine", True)]


def test_a_study_in_the_background_outlives_its_terminal() -> None:
    """As with ``nohup bench sweep run STUDY &``."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signals.requests == 0
            os.kill(os.getpid(), signal.SIGTERM)
            assert signals.requests == 1
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with StopSignals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signals.requests == 1
    finally:
        signal.signal(signal.SIGHUP, before)
