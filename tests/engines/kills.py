"""Runs through llama.cpp's server that are killed at random moments, they or their server, and go on from there."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from passkwh.harness.runs.folder import SAMPLES, RunFolder

PATIENCE_S = 120.0
LEAST, MOST = 500, 20_000
"""Bytes of samples that are written before the next kill."""
ROUNDING = 0.005


def survive(arguments: Sequence[str], out: Path, kills: int, seed: int) -> dict[str, int]:
    """Begin ``bench run ARGUMENTS`` again and again, kill by turns it and its server, and count what went wrong.

    Runs into folders of their own below ``out`` until there have been so many kills; each is then made complete.
    """
    choice = random.Random(seed)
    counted = dict.fromkeys(("kills", "samples", "lost", "doubled", "orphans", "wrong_energies"), 0)
    number = 0
    while counted["kills"] < kills or not number:
        place = out / f"run-{number}"
        command = [sys.executable, "-m", "passkwh.cli.main", "run", *arguments, "--out", str(place), "--resume"]
        kept: dict[str, str] = {}
        while counted["kills"] < kills and not _complete(place) and _killed(command, place, counted, choice):
            now = _stored(place)
            counted["lost"] += sum(now.get(key) != text for key, text in kept.items())
            kept = now
        if not _complete(place):  # it may have been killed while it cleared up
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        _check(place, kept, counted)
        number += 1
    return counted


def _folder(place: Path) -> Path | None:
    return next((path.parent for path in place.glob(f"*/{SAMPLES}")), None)


def _complete(place: Path) -> bool:
    return bool(list(place.glob("*/summary.json")))


def _stored(place: Path) -> dict[str, str]:
    folder = _folder(place)
    return {} if folder is None else {one.key: one.text for one in RunFolder.open(folder).samples()}


def _size(place: Path) -> int:
    folder = _folder(place)
    return 0 if folder is None else (folder / SAMPLES).stat().st_size


def _killed(command: Sequence[str], place: Path, counted: dict[str, int], choice: random.Random) -> bool:
    """Begin the run and kill it or its server in mid-flight; False where it was through before that."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wanted = _size(place) + choice.randrange(LEAST, MOST)
    while process.poll() is None and _size(place) < wanted:
        time.sleep(0.01)
    if process.poll() is not None:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
        return False
    below = psutil.Process(process.pid).children(recursive=True)
    server = [one for one in below if "llamacpp_server.py" in " ".join(one.cmdline()[:3])]
    of_server = bool(counted["kills"] % 2 and server)
    (server[0] if of_server else process).kill()
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert not of_server or process.returncode == 0 or "was killed by signal 9" in errors, errors
    counted["kills"] += 1
    until_s = time.monotonic() + PATIENCE_S
    while (left := [one for one in below if not _gone(one)]) and time.monotonic() < until_s:
        time.sleep(0.05)
    counted["orphans"] += len(left)
    return True


def _gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _check(place: Path, kept: dict[str, str], counted: dict[str, int]) -> None:
    """Of a run that is complete: are all samples there, each once, and are energies right or missing?"""
    path = _folder(place)
    assert path is not None
    folder = RunFolder.open(path)
    samples, summary, manifest = folder.samples(), folder.summary(), folder.manifest()
    now = {one.key: one.text for one in samples}
    wanted = manifest.benchmark.tasks * manifest.spec.samples
    counted["samples"] += len(samples)
    counted["lost"] += wanted - len(now) + sum(now.get(key) != text for key, text in kept.items())
    counted["doubled"] += len((path / SAMPLES).read_bytes().splitlines()) - len(now)
    (channel,) = [info.name for info in manifest.meter.channels if info.counted]
    joules = [one.generation_energy[channel].gross_j for one in samples]
    total_j = summary.generation_energy_j
    if total_j is None:
        counted["wrong_energies"] += summary.energy_reason is None
        return
    right = None not in joules and abs(sum(j or 0.0 for j in joules) / total_j - 1) <= ROUNDING
    # A device with a constant power: no more can have been drawn than in the time in which any request was in flight.
    most_j = 100.0 * summary.generation_s
    counted["wrong_energies"] += not right or (channel == "simulated:steady" and total_j > most_j * (1 + ROUNDING))
