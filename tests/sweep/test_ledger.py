"""A study's ledger and what is read from it: right after any kill, whatever the wall clock does."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from passkwh.cli.sweep import status as show_status
from passkwh.errors import UsageError
from passkwh.harness.runs.folder import RunFolder
from passkwh.harness.sweep import folder as folders
from passkwh.harness.sweep.folder import PlannedRun, StudyFolder, StudyRecord
from passkwh.harness.sweep.ledger import Ledger, todo
from passkwh.harness.sweep.status import RunStatus, complete_run, study_status
from passkwh.harness.sweep.study import Study, StudySettings
from passkwh.harness.sweep.supervise import AttemptOutcome
from passkwh.records import Spec
from tests.analysis.conftest import write_run
from tests.sweep.conftest import fill

RUNS = ("a-r0", "a-r1", "b-r0", "b-r1")


@pytest.fixture
def study(tmp_path: Path) -> StudyFolder:
    """A study of four runs on which nothing has been done yet."""
    settings = StudySettings(name="s", repeats=2, cool_down_s=5)
    runs = []
    for run_id in RUNS:
        spec = Spec(model=run_id[0], repeat=int(run_id[-1]))
        runs.append(PlannedRun(run_id=run_id, requested=spec, spec=spec))
    found = StudyFolder(tmp_path / "s")
    found.path.mkdir()
    found.write(Study("s.toml", "# text", settings, ()), StudyRecord(settings=settings, runs=tuple(runs)))
    return found


def states(study: StudyFolder) -> dict[str, str]:
    return {run.run_id: run.state for run in study_status(study).runs}


def run(study: StudyFolder, run_id: str) -> RunStatus:
    return next(run for run in study_status(study).runs if run.run_id == run_id)


def complete(study: StudyFolder, run_id: str, elapsed_s: float = 40.0) -> Path:
    path = write_run(study.path / run_id)
    study.append("started", run_id, pid=1)
    study.append("complete", run_id, elapsed_s=elapsed_s, **complete_run(path))
    return path


def test_a_study_that_was_not_begun_is_waiting(study: StudyFolder) -> None:
    status = study_status(study)
    assert status.counts == {"waiting": 4}
    assert (status.gross_energy_j, status.left_s, status.driven, status.complete) == (None, None, False, False)


def test_joules_so_far_and_time_left_are_those_of_complete_runs(study: StudyFolder) -> None:
    first = complete(study, "a-r0", 40.0)
    complete(study, "b-r0", 60.0)
    status = study_status(study)
    expected_j = json.loads((first / "summary.json").read_text())["gross_energy_j"]
    assert status.gross_energy_j == pytest.approx(2 * expected_j)
    assert status.elapsed_s == 100.0
    assert status.left_s == (40 + 5) + (60 + 5)  # each as its like was, and the rest before it
    assert [planned.run_id for planned in todo(study)] == ["a-r1", "b-r1"]


def test_a_run_that_completed_after_its_driver_was_killed_is_complete(study: StudyFolder) -> None:
    study.append("started", "a-r0", pid=1)
    path = write_run(study.path / "a-r0")
    assert run(study, "a-r0").gross_energy_j == json.loads((path / "summary.json").read_text())["gross_energy_j"]
    assert run(study, "a-r0").state == "complete"
    Ledger(study, StudySettings(name="s"), lambda _: None).note_complete_runs()
    assert [event.event for event in study.events()] == ["started", "complete"]
    Ledger(study, StudySettings(name="s"), lambda _: None).note_complete_runs()
    assert len(list(study.events())) == 2


def test_a_run_that_was_made_again_is_not_measured_by_what_it_was(study: StudyFolder) -> None:
    """Its folder was removed, as status says, and its driver was killed before it could note the end."""
    shutil.rmtree(complete(study, "a-r0"))
    study.append("started", "a-r0", pid=2)
    write_run(study.path / "a-r0", energy_j=[1000.0, 2000.0, 3000.0, 4000.0])
    again = run(study, "a-r0")
    assert (again.state, again.gross_energy_j) == ("complete", 10_000.0)
    Ledger(study, StudySettings(name="s"), lambda _: None).note_complete_runs()
    assert [event.event for event in study.events()] == ["started", "complete", "started", "complete"]
    assert run(study, "a-r0") == again


def test_a_driver_that_was_killed_leaves_interrupted_runs(study: StudyFolder) -> None:
    study.append("started", "a-r0", pid=1)
    study.show_live([{"run": "a-r0", "since_ns": 0, "stage": "generating", "done": 1, "total": 4}])
    assert run(study, "a-r0").state == "interrupted"  # live.json is stale: nobody holds the lock
    assert [planned.run_id for planned in todo(study)] == list(RUNS)


def test_while_a_driver_is_at_work_its_run_is_running(study: StudyFolder) -> None:
    code = (
        "import sys, time; from pathlib import Path; from passkwh.harness.sweep.folder import StudyFolder\n"
        "f = StudyFolder(Path(sys.argv[1])); f.lock(); f.append('started', 'a-r0', pid=1)\n"
        "f.show_live([{'run': 'a-r0', 'since_ns': time.monotonic_ns(), 'stage': 'generating', 'done': 1, 'total': 4,\n"
        "  'energy_j': 12.5}]); print('ready', flush=True); input()"
    )
    driver = subprocess.Popen(
        [sys.executable, "-c", code, study.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert driver.stdout is not None
    assert driver.stdout.readline() == "ready\n"
    seen = run(study, "a-r0")
    assert (seen.state, seen.stage, seen.done, seen.total, seen.gross_energy_j) == ("running", "generating", 1, 4, 12.5)
    assert study_status(study).gross_energy_j is None  # what is live is for the eye and in no sum
    with pytest.raises(UsageError, match=f"another `bench sweep run` \\(process {driver.pid} on "):
        StudyFolder(study.path).lock()
    driver.kill()
    driver.wait()
    assert run(study, "a-r0").state == "interrupted"
    study.lock()  # the dead driver's lock is free
    assert run(study, "a-r0").state == "interrupted"  # what it had running is not the next driver's
    study.unlock()


@pytest.mark.parametrize("harm", ["cut samples", "no trace", "no summary", "no manifest"])
def test_a_complete_run_that_was_damaged_is_no_number(study: StudyFolder, harm: str) -> None:
    path = complete(study, "a-r0")
    name = {"cut samples": "samples", "no trace": "trace", "no summary": "summary", "no manifest": "manifest"}[harm]
    (victim,) = path.glob(f"{name}.*")
    if harm == "cut samples":
        os.truncate(victim, victim.stat().st_size // 2)
    else:
        victim.unlink()
    status = study_status(study)
    assert (status.gross_energy_j, status.counts) == (None, {"damaged": 1, "waiting": 3})
    assert str(victim) in (run(study, "a-r0").reason or "")
    assert "remove the folder" in (run(study, "a-r0").reason or "")
    assert "a-r0" not in [planned.run_id for planned in todo(study)]


def test_a_run_that_cannot_be_read_does_not_keep_the_others_back(study: StudyFolder) -> None:
    complete(study, "a-r0")
    record = study.record()
    name = "x" * 300  # no disk takes it: an error also for root, whom permissions do not stop
    planned = record.runs[1].model_copy(update={"run_id": name})
    moved = record.model_copy(update={"runs": (record.runs[0], planned)})
    study.write(Study("s.toml", "# text", record.settings, ()), moved)
    assert states(study) == {"a-r0": "complete", name: "damaged"}
    assert "cannot be read (File name too long): make it readable" in (run(study, name).reason or "")


def test_a_summary_that_is_no_summary_is_damage(study: StudyFolder) -> None:
    path = write_run(study.path / "a-r0")
    (path / "summary.json").write_text("{")
    assert run(study, "a-r0").state == "damaged"
    assert "summary.json" in (run(study, "a-r0").reason or "")
    for _ in range(2):
        Ledger(study, StudySettings(name="s"), lambda _: None).note_complete_runs()
    assert [(event.event, event.kind) for event in study.events()] == [("failed", "damaged")]


def test_a_run_folder_that_was_removed_waits_again(study: StudyFolder) -> None:
    path = complete(study, "a-r0")
    for file in path.iterdir():
        file.unlink()
    path.rmdir()
    assert states(study)["a-r0"] == "waiting"


def test_a_complete_run_without_energy_is_not_in_the_sum(study: StudyFolder) -> None:
    path = write_run(study.path / "a-r0")
    values = {**complete_run(path), "gross_energy_j": None, "energy_reason": "the device is lost"}
    study.append("complete", "a-r0", **values)
    status = study_status(study)
    assert (status.gross_energy_j, status.without_energy) == (None, 1)
    assert run(study, "a-r0").reason == "the device is lost"


def test_half_a_line_costs_that_line_alone(study: StudyFolder) -> None:
    study.append("started", "a-r0", pid=1)
    study.append("failed", "a-r0", kind="crash", reason="killed by SIGSEGV")
    with (study.path / "events.jsonl").open("a") as file:
        file.write('{"event":"started","run":"a-r1","at')
    study.append("started", "b-r0", pid=2)
    assert [event.run for event in study.events()] == ["a-r0", "a-r0", "b-r0"]
    assert states(study) == {"a-r0": "failed", "a-r1": "waiting", "b-r0": "interrupted", "b-r1": "waiting"}
    assert run(study, "a-r0").reason == "killed by SIGSEGV"


def test_a_wall_clock_that_jumps_changes_nothing(study: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is set back by ten years and forward by twenty between any two lines of the ledger."""
    moments = [datetime(2026, 6, 1, tzinfo=UTC) + timedelta(days=days) for days in (0, -3650, 3650, -1, 7300, 12)]

    class Clock:
        @staticmethod
        def now(_zone: object) -> datetime:
            return moments.pop(0)

    monkeypatch.setattr(folders, "datetime", Clock)
    complete(study, "a-r0", 40.0)
    ledger = Ledger(study, StudySettings(name="s"), lambda _: None)
    ledger.started("a-r1", 1)
    ledger.ended("a-r1", AttemptOutcome("failed", 7.0, "crash", "killed by SIGKILL"))
    ledger.started("a-r1", 1)
    ledger.ended("a-r1", AttemptOutcome("stopped", 3.0))
    assert moments == []
    assert [event.at[:4] for event in study.events()] == ["2026", "2016", "2036", "2026", "2046", "2026"]
    status = study_status(study)
    assert states(study) == {"a-r0": "complete", "a-r1": "stopped", "b-r0": "waiting", "b-r1": "waiting"}
    assert (run(study, "a-r1").elapsed_s, run(study, "a-r1").failures) == (3.0, 1)
    assert status.left_s == 3 * (40 + 5)


def test_failures_alike_in_a_row_end_the_study(study: StudyFolder) -> None:
    ledger = Ledger(study, StudySettings(name="s"), lambda _: None)

    def fail(run_id: str, kind: Any, reason: str) -> None:
        ledger.ended(run_id, AttemptOutcome("failed", 1.0, kind, reason))

    fail("a-r0", "disk full", "no space for a-r0")
    fail("a-r1", "disk full", "no space for a-r1")
    assert ledger.hopeless() is None
    fail("b-r0", "hang", "no progress")
    fail("b-r1", "disk full", "no space for b-r1")
    fail("a-r0", "disk full", "no space for a-r0")
    assert ledger.hopeless() is None
    fail("a-r1", "disk full", "no space for a-r1")
    assert "3 runs in a row failed alike (disk full)" in (ledger.hopeless() or "")
    path = write_run(study.path / "b-r0")
    ledger.ended("b-r0", AttemptOutcome("complete", 1.0, result=complete_run(path)))
    assert ledger.hopeless() is None


def test_only_one_driver(study: StudyFolder) -> None:
    study.lock()
    with pytest.raises(UsageError, match=f"process {os.getpid()}"):
        StudyFolder(study.path).lock()
    assert study_status(study).driven
    study.unlock()
    assert not study_status(study).driven
    with (study.path / "lock").open() as file:  # looking takes no lock that would stop a driver
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_on_a_full_disk_the_reason_is_still_written(study: StudyFolder, small_disk: Path | None) -> None:
    if small_disk is None:
        pytest.skip("only root can make a small disk")
    full = StudyFolder(small_disk / "s")
    shutil.copytree(study.path, full.path)
    full.reserve()
    fill(small_disk)
    with pytest.raises(OSError, match="No space left"):
        (full.path / "other").write_bytes(b"x")
    for number in range(100):
        full.append("failed", "a-r0", kind="disk full", reason=f"{number}: " + "x" * 300)

    def use_up() -> None:
        for _ in range(1000):
            full.append("failed", "a-r0", kind="disk full", reason="x" * 300)

    with pytest.raises(UsageError, match=r"events\.jsonl cannot be written"):
        use_up()
    assert [event.reason[:4] for event in full.events() if event.reason][:3] == ["0: x", "1: x", "2: x"]
    assert run(full, "a-r0").kind == "disk full"


def test_samples_that_do_not_fit_are_refused_and_fit_later(tmp_path: Path, small_disk: Path | None) -> None:
    if small_disk is None:
        pytest.skip("only root can make a small disk")
    made = RunFolder.open(write_run(tmp_path / "made", tasks=[f"t{i}" for i in range(40)]))
    folder = RunFolder.create(small_disk / "run", made.manifest())
    samples = made.samples()
    folder.append(samples[:5])
    filler = fill(small_disk)
    with pytest.raises(UsageError, match="No space left"):
        folder.append(samples[5:])  # what fits is written, and the rest is not passed over in silence
    folder.close()
    filler.unlink()
    again = RunFolder.resume(folder.path)
    kept = again.samples()
    assert kept == samples[: len(kept)]
    again.append(samples[len(kept) :])
    again.close()
    assert again.samples() == samples


def test_the_file_that_is_damaged_is_shown_whole(study: StudyFolder, capsys: pytest.CaptureFixture[str]) -> None:
    moved = StudyFolder(study.path.rename(study.path.with_name("s" * 200)))
    (complete(moved, "a-r0") / "samples.jsonl").unlink()
    show_status(moved.path)
    shown = capsys.readouterr().out
    reason = "".join(line.split("│")[-2].strip() for line in shown.splitlines() if line.startswith("│"))
    assert "a-r0/samples.jsonlismissing" in reason.replace(" ", "")


def test_a_large_study_is_shown_by_what_is_worth_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = StudySettings(name="large")
    names = [f"run-{number:03d}" for number in range(200)]
    runs = tuple(PlannedRun(run_id=name, requested=Spec(model="m"), spec=Spec(model="m")) for name in names)
    folder = StudyFolder(tmp_path / "large")
    folder.path.mkdir()
    folder.write(Study("s.toml", "", settings, ()), StudyRecord(settings=settings, runs=runs))
    folder.append("failed", "run-150", kind="crash", reason="killed by SIGSEGV")
    complete(folder, "run-003")
    show_status(folder.path)
    shown = capsys.readouterr().out
    assert "killed by SIGSEGV" in shown
    assert "run-003" in shown
    assert "run-004" not in shown
    assert "198 more" in shown
    assert "200 runs: 1 complete, 1 failed, 198 waiting" in shown
