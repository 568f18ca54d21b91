"""Kill -9 at random points, the driver or the run's process, until a study is complete: is anything lost or doubled?

    python -m tests.sweep.kills STUDY --out FOLDER [--kills 20] [--within 40] [--seed 0]

STUDY is what ``bench sweep run`` takes. A kill comes up to ``--within`` seconds after a run's start, or, three times of
four, after its model was loaded. Prints one JSON line last. The tests call ``survive`` with a small study.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from passkwh.harness.runs.folder import RunFolder
from passkwh.harness.sweep.folder import StudyFolder, is_study


def survive(study: str, out: Path, kills: int, within_s: float, seed: int = 0) -> dict[str, Any]:
    """Carry out ``study`` with so many kills, then to its end; checks everything and says what it saw."""
    chance = random.Random(seed)
    command = [sys.executable, "-m", "passkwh.cli.main", "sweep", "run", study, "--out", str(out)]
    kept: dict[str, dict[str, str]] = {}
    killed = {"driver": 0, "run": 0}
    while sum(killed.values()) < kills:
        driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while sum(killed.values()) < kills:
            pid = _running(driver, out)
            if pid is None:
                break  # the driver has ended: complete, or given up
            if chance.random() < 0.75:  # most of a short run is loading, and most of what can be lost comes after
                _until_metered(driver, out)
            time.sleep(chance.uniform(0.0, within_s))
            victim = chance.choice(["driver", "run"])
            killed[victim] += _kill(driver.pid if victim == "driver" else pid)
            if victim == "driver":
                break
        driver.wait()
        _until_gone(out)
        kept = _nothing_lost(out, kept)
        if _complete(out):
            break
    ends = 0
    while not _complete(out):  # a driver gives up a run that was killed too often, and takes it up when called again
        ends += 1
        assert ends <= 10, (_study(out).path / "events.jsonl").read_text()
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    _nothing_lost(out, kept)
    return {"kills": killed, **check(out)}


def check(out: Path) -> dict[str, Any]:
    """Every run of the study is complete, with every sample once and every energy there."""
    record = _study(out).record()
    sessions = samples = 0
    for planned in record.runs:
        folder = RunFolder.open(_study(out).path / planned.run_id)
        manifest, summary, found = folder.manifest(), folder.summary(), folder.samples()
        lines = [json.loads(line) for line in (folder.path / "samples.jsonl").read_text().splitlines()]
        assert len(lines) == len(found) == len({s.key for s in found}) == summary.samples
        assert len(found) == manifest.benchmark.tasks * manifest.spec.samples
        energies = [e for s in found for e in (*s.generation_energy.values(), *s.evaluation_energy.values())]
        assert all(energy.gross_j is not None for energy in energies), [e.reason for e in energies if e.reason]
        assert summary.gross_energy_j is not None
        counted = {channel.name for channel in manifest.meter.channels if channel.counted}
        in_total = [(s.generation_energy, s.evaluation_energy) for s in found]
        gross_j = [e.gross_j or 0.0 for pair in in_total for es in pair for name, e in es.items() if name in counted]
        assert abs(sum(gross_j) / summary.gross_energy_j - 1) < 1e-6
        assert not list(folder.path.glob("trace-*.arrows"))
        sessions += len(manifest.sessions)
        samples += len(found)
    return {"runs": len(record.runs), "samples": samples, "sessions": sessions}


def _study(out: Path) -> StudyFolder:
    (path,) = (path for path in out.iterdir() if is_study(path))
    return StudyFolder.open(path)


def _complete(out: Path) -> bool:
    if not out.is_dir() or not any(is_study(path) for path in out.iterdir()):
        return False
    folder = _study(out)
    return all((folder.path / planned.run_id / "summary.json").exists() for planned in folder.record().runs)


def _running(driver: subprocess.Popen[bytes], out: Path) -> int | None:
    """Process id of the run that this driver has started and that is not yet noted as ended."""
    while driver.poll() is None:
        if out.is_dir() and any(is_study(path) for path in out.iterdir()):
            last = list(_study(out).events())[-1:]
            if last and last[0].event == "started" and last[0].pid and _child_of(last[0].pid, driver.pid):
                return last[0].pid
        time.sleep(0.1)
    return None


def _until_metered(driver: subprocess.Popen[bytes], out: Path) -> None:
    """Wait until the run that is going on has its model loaded, or is no more."""
    while driver.poll() is None:
        live = _study(out).live()
        if not live or live[0]["stage"] not in ("starting", "loading the model"):
            return
        time.sleep(0.1)


def _child_of(pid: int, parent: int) -> bool:
    try:
        return psutil.Process(pid).ppid() == parent
    except psutil.NoSuchProcess:
        return False


def _kill(pid: int) -> int:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:  # it had just ended
        return 0
    return 1


def _until_gone(out: Path) -> None:
    """The run's process must die with its driver."""
    pids = {event.pid for event in _study(out).events() if event.event == "started" and event.pid}
    for _ in range(300):
        if not any(_alive(pid) for pid in pids):
            return
        time.sleep(0.1)
    raise AssertionError(f"a run outlived its driver: {[pid for pid in pids if _alive(pid)]}")


def _alive(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        return "passkwh.harness.sweep.child" in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def _nothing_lost(out: Path, kept: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """What was on disk before is there still, unchanged; returns what is there now."""
    now = {}
    for planned in _study(out).record().runs:
        path = _study(out).path / planned.run_id
        if (path / "manifest.json").exists():
            now[planned.run_id] = {sample.key: sample.text for sample in RunFolder.open(path).samples()}
    for run_id, samples in kept.items():
        assert samples.items() <= now[run_id].items(), f"{run_id} has lost samples"
    return now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--within", type=float, default=40.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(json.dumps(survive(options.study, options.out, options.kills, options.within, options.seed)))


if __name__ == "__main__":
    main()
