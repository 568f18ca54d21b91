"""Studies carried out here by real processes: failures, a full disk, Ctrl-C, kills, and going on after each."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from passkwh.errors import UsageError
from passkwh.harness.plan import PlanReport
from passkwh.harness.runs.folder import RunFolder
from passkwh.harness.sweep.folder import StudyFolder
from passkwh.harness.sweep.launch import carry_out
from passkwh.harness.sweep.ledger import Ledger, begin
from passkwh.harness.sweep.local import LocalLauncher
from passkwh.harness.sweep.preflight import inspect
from passkwh.harness.sweep.status import study_status
from passkwh.harness.sweep.study import Study, read
from passkwh.harness.sweep.supervise import StopSignals
from tests.sweep import kills
from tests.sweep.conftest import StudyFile, fill


def plans(study: Study) -> tuple[PlanReport, ...]:
    """Of this host; looked at in this process, which has torch already."""
    return inspect([configuration.spec for configuration in study.configurations]).plans


def go(folder: StudyFolder, study: Study) -> tuple[str | None, list[str]]:
    lines: list[str] = []
    with StopSignals() as signals:
        ledger = Ledger(folder, study.settings, lines.append)
        return carry_out(LocalLauncher(ledger, signals), ledger, signals), lines


def by_model(folder: StudyFolder) -> dict[str, tuple[str, str | None]]:
    return {Path(run.model).name: (run.state, run.kind) for run in study_status(folder).runs}


def interrupt_when_generating(folder: StudyFolder) -> threading.Thread:
    """Ctrl-C as soon as the run that is going on generates."""

    def watch() -> None:
        while not any(entry.get("stage") == "generating" for entry in folder.live()):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


@contextlib.contextmanager
def every_run_stands_still() -> Iterator[None]:
    """Each run's process is stopped as soon as it is there, as by a file system that does not answer."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            for process in psutil.Process().children():
                with contextlib.suppress(psutil.Error):
                    if "passkwh.harness.sweep.child" in process.cmdline():
                        process.suspend()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.slow
def test_a_study_through_failures_a_full_disk_and_an_interruption(
    tmp_path: Path, tiny_llama: Path, study_file: StudyFile, small_disk: Path | None
) -> None:
    good, broken = tmp_path / "good", tmp_path / "broken"
    shutil.copytree(tiny_llama, good)
    shutil.copytree(tiny_llama, broken)
    weights = broken / "model.safetensors"
    os.truncate(weights, weights.stat().st_size - 1000)  # its header is whole, so nothing is seen before it is loaded
    # A batch of the good one takes seconds, so that a Ctrl-C during the first one comes before the second.
    runs = f'[[runs]]\nmodel = "{broken}"\n\n[[runs]]\nmodel = "{good}"\nmax_new_tokens = 1500'
    path = study_file(runs, "retries = 0\nseed = 1", defaults="batch_size = 1")
    study = read(str(path))
    out = small_disk or tmp_path / "runs"
    folder = begin(study, plans(study), out)
    with pytest.raises(UsageError, match="another `bench sweep run`"):
        begin(study, plans(study), out)

    if small_disk is not None:
        filler = fill(small_disk)
        why, _ = go(folder, study)
        assert why is None
        found = by_model(folder)
        assert found["good"] == ("failed", "disk full")
        assert found["broken"] == ("failed", "usage")
        assert study_status(folder).gross_energy_j is None
        assert "No space left" in next(r.reason or "" for r in study_status(folder).runs if r.model == str(good))
        filler.unlink()
        folder.reserve()

    interrupt = interrupt_when_generating(folder)
    why, said = go(folder, study)
    interrupt.join()
    assert why == "interrupted"
    assert by_model(folder)["good"] == ("stopped", None)
    (run,) = [r for r in study_status(folder).runs if r.model == str(good)]
    assert f"{run.run_id}: stopped" in said
    kept = {sample.key for sample in RunFolder.open(folder.path / run.run_id).samples()}
    assert len(kept) == 1  # the batch that it was in, and no other

    shutil.copy(tiny_llama / weights.name, weights)
    why, _ = go(folder, study)
    folder.unlock()
    assert why is None
    assert by_model(folder) == {"good": ("complete", None), "broken": ("complete", None)}
    assert kills.check(out) == {"runs": 2, "samples": 4, "sessions": 3}
    assert kept <= {sample.key for sample in RunFolder.open(folder.path / run.run_id).samples()}


def test_a_study_is_given_up_when_all_fails_alike(tmp_path: Path, tiny_llama: Path, study_file: StudyFile) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_llama, model)
    study = read(str(study_file("[matrix]\nbatch_size = [1, 2]", "repeats = 2\nstop_after = 2", model)))
    folder = begin(study, plans(study), tmp_path / "runs")
    shutil.rmtree(model)
    why, _ = go(folder, study)
    folder.unlock()
    assert why is not None
    assert "2 runs in a row failed alike (usage)" in why
    assert study_status(folder).counts == {"failed": 2, "waiting": 2}


def test_a_run_that_hangs_is_tried_again_and_the_others_go_on(
    tmp_path: Path, tiny_llama: Path, study_file: StudyFile
) -> None:
    stuck, other = tmp_path / "stuck", tmp_path / "other"
    shutil.copytree(tiny_llama, stuck)
    shutil.copytree(tiny_llama, other)
    path = study_file(f'[[runs]]\nmodel = ["{stuck}", "{other}"]', "retries = 1\nhang_s = 1.0\nstop_after = 9")
    study = read(str(path))
    folder = begin(study, plans(study), tmp_path / "runs")
    with every_run_stands_still():
        why, lines = go(folder, study)
    folder.unlock()
    assert why is None
    assert by_model(folder) == {"stuck": ("failed", "hang"), "other": ("failed", "hang")}
    started = [line.partition(":")[0] for line in lines if line.endswith(": started")]
    assert len(started) == 4
    assert len(set(started[:2])) == len(set(started[2:])) == 2  # again only after all others had their turn


def test_a_mistake_is_not_tried_again(tmp_path: Path, tiny_llama: Path, study_file: StudyFile) -> None:
    lost = tmp_path / "lost"
    shutil.copytree(tiny_llama, lost)
    study = read(str(study_file("[matrix]\nbatch_size = [1]", "retries = 3", lost)))
    folder = begin(study, plans(study), tmp_path / "runs")
    shutil.rmtree(lost)
    go(folder, study)
    folder.unlock()
    (run,) = study_status(folder).runs
    assert (run.state, run.kind, run.failures) == ("failed", "usage", 1)


def test_a_study_cannot_become_another(tmp_path: Path, study_file: StudyFile) -> None:
    study = read(str(study_file("[matrix]\nbatch_size = [1, 2]", "repeats = 2")))
    found = plans(study)
    begin(study, found, tmp_path / "runs").unlock()
    begin(study, found, tmp_path / "runs").unlock()
    handled = read(str(study_file("[matrix]\nbatch_size = [1, 2]", "repeats = 2\nretries = 5\nhang_s = 60.0")))
    begin(handled, found, tmp_path / "runs").unlock()  # how failures are handled changes no sample
    for top, tables, words in (
        ("repeats = 3", "[matrix]\nbatch_size = [1, 2]", "2 are new, 0 are gone"),
        ("repeats = 2", "[matrix]\nbatch_size = [1, 4]", "2 are new, 2 are gone"),
        ("repeats = 2\nseed = 9", "[matrix]\nbatch_size = [1, 2]", "another order"),
    ):
        other = read(str(study_file(tables, top)))
        with pytest.raises(UsageError, match=words):
            begin(other, plans(other), tmp_path / "runs")


def test_a_study_of_the_first_edition_goes_on(tmp_path: Path, study_file: StudyFile) -> None:
    """Its specs have no engine, and its runs are asked, not requested."""
    study = read(str(study_file("[matrix]\nbatch_size = [1, 2]", "repeats = 2")))
    folder = begin(study, plans(study), tmp_path / "runs")
    folder.unlock()
    new = folder.record()
    content = json.loads((folder.path / "study.json").read_text())
    content["schema_version"] = 1
    for run in content["runs"]:
        run["asked"] = run.pop("requested")
        for spec in (run["asked"], run["spec"]):
            spec["schema_version"] = 1
            del spec["engine"]
    (folder.path / "study.json").write_text(json.dumps(content))
    begin(study, plans(study), tmp_path / "runs").unlock()
    old = folder.record()
    assert [run.run_id for run in old.runs] == [run.run_id for run in new.runs]
    assert {run.spec.engine for run in old.runs} == {"auto"}
    other = read(str(study_file("[matrix]\nbatch_size = [1, 2]\nengine = 'transformers'", "repeats = 2")))
    with pytest.raises(UsageError, match="4 are new, 4 are gone"):
        begin(other, plans(other), tmp_path / "runs")


def test_two_ways_to_ask_for_one_run_are_refused(tmp_path: Path, study_file: StudyFile) -> None:
    study = read(str(study_file("[matrix]\nmax_new_tokens = ['none', 1280]")))  # 1280 is the benchmark's own
    with pytest.raises(UsageError, match="the same run"):
        begin(study, plans(study), tmp_path / "runs")


def test_a_folder_of_other_runs_is_no_study(tmp_path: Path, study_file: StudyFile) -> None:
    (tmp_path / "runs" / "tiny" / "some-run").mkdir(parents=True)
    (tmp_path / "runs" / "tiny" / "some-run" / "manifest.json").write_text("{}")
    study = read(str(study_file("[matrix]\nbatch_size = [1]")))
    with pytest.raises(UsageError, match="holds runs that are no study"):
        begin(study, plans(study), tmp_path / "runs")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, study_file: StudyFile) -> None:
    study = read(str(study_file("[matrix]\nbatch_size = [1]")))
    found = plans(study)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"file/tiny cannot be written .*--out"):
        begin(study, found, tmp_path / "file")
    (tmp_path / "runs" / "tiny" / "lock").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"runs/tiny cannot be written .*--out"):
        begin(study, found, tmp_path / "runs")
    (tmp_path / "runs" / "tiny" / "lock").rmdir()
    (tmp_path / "runs" / "tiny" / "events.jsonl").mkdir()
    folder = begin(study, found, tmp_path / "runs")
    with pytest.raises(UsageError, match=r"events\.jsonl cannot be written"):
        go(folder, study)
    folder.unlock()


@pytest.mark.slow
def test_a_study_killed_at_random_points_loses_nothing(tmp_path: Path, study_file: StudyFile) -> None:
    """A few kills of driver or run; ``python -m tests.sweep.kills`` does any number on any study."""
    path = study_file("[matrix]\nbatch_size = 2", "repeats = 2", defaults="").as_posix()
    text = Path(path).read_text().replace("limit = 2", "limit = 4").replace("max_new_tokens = 8", "max_new_tokens = 24")
    Path(path).write_text(text)
    found = kills.survive(path, tmp_path / "runs", kills=2, within_s=2.0)
    assert (found["runs"], found["samples"]) == (2, 8)
    assert sum(found["kills"].values()) >= 1
