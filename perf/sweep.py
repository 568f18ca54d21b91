"""What a study adds to its runs, and how quickly its status is told.

    python perf/sweep.py [--model smollm2-135m-instruct] [--rounds 5] [--finished 1000]

The same short run by turns: with ``bench run`` in a process of its own, and as the only run of a study whose driver is
this process. The difference is what scheduling costs: starting and watching the process, the ledger, the locks. Looking
at the host once for a whole study (``preflight_s``) stands apart. Status is that of a study of ``--finished`` complete
runs, asked in this process and with ``bench sweep status`` as a user does. Prints one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from passkwh.harness.plan import PlanReport
from passkwh.harness.sweep.folder import PlannedRun, StudyFolder, StudyRecord
from passkwh.harness.sweep.launch import carry_out
from passkwh.harness.sweep.ledger import Ledger, begin
from passkwh.harness.sweep.local import LocalLauncher
from passkwh.harness.sweep.preflight import preflight
from passkwh.harness.sweep.status import complete_run, study_status
from passkwh.harness.sweep.study import Study, StudySettings, parse
from passkwh.harness.sweep.supervise import StopSignals


def a_study(name: str, model: str) -> Study:
    """One short run of the model on the embedded tasks."""
    cell = {"model": model, "limit": 1, "max_new_tokens": 8, "meter": "estimate", "idle_s": 0.0}
    return parse({"name": name, "cool_down_s": 0, "matrix": cell}, "", "perf/sweep.py")


def by_hand(study: Study, out: Path) -> float:
    """Seconds of the run as a command."""
    spec = study.configurations[0].spec
    command = [
        sys.executable, "-m", "passkwh.cli.main", "run", "--model", spec.model, "--limit", "1", "--max-new-tokens", "8",
        "--meter", "estimate", "--idle-s", "0", "--out", str(out),
    ]  # fmt: skip
    start_s = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start_s


def as_study(study: Study, plans: tuple[PlanReport, ...], out: Path) -> tuple[float, Path]:
    """Seconds of the run as a study, and its folder."""
    start_s = time.perf_counter()
    folder = begin(study, plans, out)
    with StopSignals() as signals:
        ledger = Ledger(folder, study.settings, lambda _: None)
        why = carry_out(LocalLauncher(ledger, signals), ledger, signals)
    folder.close()
    took_s = time.perf_counter() - start_s
    status = study_status(folder)
    assert status.complete, (why, [run.reason for run in status.runs])
    return took_s, folder.path / status.runs[0].run_id


def status_of(run: Path, count: int, out: Path) -> dict[str, float]:
    """Seconds to tell the status of ``count`` complete runs, all copies of ``run``."""
    spec = a_study("many", "m").configurations[0].spec
    runs = []
    folder = StudyFolder(out / "many")
    folder.path.mkdir()
    for number in range(count):
        run_id = f"run-{number:05d}"
        shutil.copytree(run, folder.path / run_id)
        runs.append(PlannedRun(run_id=run_id, requested=spec, spec=spec))
        folder.append("started", run_id, pid=1)
        folder.append("complete", run_id, elapsed_s=1.0, **complete_run(folder.path / run_id))
    settings = StudySettings(name="many")
    folder.write(Study("many.toml", "", settings, ()), StudyRecord(settings=settings, runs=tuple(runs)))
    start_s = time.perf_counter()
    status = study_status(folder)
    told_s = time.perf_counter() - start_s
    assert status.counts == {"complete": count}
    start_s = time.perf_counter()
    command = [sys.executable, "-m", "passkwh.cli.main", "sweep", "status", str(folder.path), "--json"]
    subprocess.run(command, check=True, capture_output=True)
    return {"status_s": round(told_s, 3), "status_command_s": round(time.perf_counter() - start_s, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--finished", type=int, default=1000)
    options = parser.parse_args()
    hand_s, study_s = [], []
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary)
        start_s = time.perf_counter()
        plans = preflight([c.spec for c in a_study("one", options.model).configurations]).plans
        preflight_s = time.perf_counter() - start_s
        for turn in range(options.rounds + 1):
            took_s = by_hand(a_study("one", options.model), out / f"hand-{turn}")
            under_s, run = as_study(a_study(f"one-{turn}", options.model), plans, out)
            if turn:  # the first turn fills the caches of the file system
                hand_s.append(took_s)
                study_s.append(under_s)
        told = status_of(run, options.finished, out)
    print(
        json.dumps(
            {
                "model": options.model,
                "rounds": options.rounds,
                "bench_run_s": round(statistics.median(hand_s), 3),
                "study_run_s": round(statistics.median(study_s), 3),
                "overhead_s": round(statistics.median(s - h for h, s in zip(hand_s, study_s, strict=True)), 3),
                "preflight_s": round(preflight_s, 3),
                "finished": options.finished,
                **told,
            }
        )
    )


if __name__ == "__main__":
    main()
