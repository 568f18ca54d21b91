"""A run meets a full disk, a dead one, kills, signals, closed streams and clocks that jump: one line, nothing lost."""

from __future__ import annotations

import errno
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from passkwh.harness.runs.folder import RunFolder

from .conftest import Attempts


def arguments(out: Path, samples: int = 2) -> list[object]:
    return [
        "run", "--model", "toy:2", "--benchmark", "toy-sums", "--samples", samples, "--batch-size", 2, "--out", out,
        "--idle-s", 0.05, "--meter", "simulated", "--json", "--resume",
    ]  # fmt: skip


def stored(out: Path) -> dict[str, str]:
    """Texts on disk, by key."""
    return {s.key: s.text for path in out.glob("*/manifest.json") for s in RunFolder.open(path.parent).samples()}


def assert_whole(out: Path, samples: int) -> RunFolder:
    """The run is complete: every sample once, with its energy, and the parts add up."""
    (path,) = out.iterdir()
    folder = RunFolder.open(path)
    lines = (path / "samples.jsonl").read_bytes().splitlines()
    found, summary = folder.samples(), folder.summary()
    assert len(lines) == len(found) == len({s.key for s in found}) == summary.samples == samples
    assert all(s.verdict is not None and s.evaluation is not None for s in found)
    energies = [e for s in found for es in (s.generation_energy, s.evaluation_energy) for e in es.values()]
    assert len(energies) == 2 * samples
    if summary.gross_energy_j is not None:  # on a machine that is too busy to be read it is missing, with a reason
        assert sum(e.gross_j or 0.0 for e in energies) == pytest.approx(summary.gross_energy_j)
    assert all(e.gross_j is not None or e.reason for e in energies)
    assert not list(path.glob("trace-*.arrows"))
    assert not list(path.glob(".*"))
    return folder


FAULTS = [
    ("write", "manifest.json", 2, errno.ENOSPC),
    ("fsync", "samples.jsonl", 1, errno.EIO),
    ("write", "trace-", 2, errno.ENOSPC),
    ("fsync", "samples.jsonl", 3, errno.ENOSPC),
    ("fsync", ".trace.parquet", 1, errno.EIO),
    ("rename", "summary.json", 1, errno.EROFS),
]


def test_what_the_disk_does_not_take_is_one_line_and_loses_nothing(attempts: Attempts) -> None:
    out = attempts.folder / "disk"
    kept: dict[str, str] = {}
    for fault in FAULTS:
        ended = attempts(*arguments(out), fault=fault)
        assert ended["code"] == 2, fault
        errors = [line for line in ended["err"].splitlines() if line.startswith("error: ")]
        assert [line.endswith("--resume") for line in errors] == [True], fault
        assert kept.items() <= stored(out).items()
        kept = stored(out)
    assert attempts(*arguments(out))["code"] == 0
    folder = assert_whole(out, 8)
    assert "cannot be written" in str(folder.manifest().sessions[0].ended)


def test_a_kill_at_any_call_that_changes_the_folder_loses_nothing(attempts: Attempts) -> None:
    """Each attempt goes on from the last one and is killed a little later, so that kills fall into every stage."""
    out = attempts.folder / "kills"
    kept: dict[str, str] = {}
    for number in (2, 6, 9, 13, 22, 36):
        ended = attempts(*arguments(out), fault=["any", str(out), number, 0])
        if ended["code"] == 0:
            break
        assert ended["code"] == -signal.SIGKILL
        assert kept.items() <= stored(out).items()
        kept = stored(out)
    else:
        assert attempts(*arguments(out))["code"] == 0
    assert_whole(out, 8)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_end_keeps_what_is_stored(attempts: Attempts, number: int) -> None:
    out = attempts.folder / f"signal-{number}"
    ended = attempts(*arguments(out, 3), signal_at=[f"{out.name}/*/samples.jsonl", number])
    assert ended["code"] == 130
    assert "--resume goes on" in ended["err"]
    (path,) = out.iterdir()
    manifest = RunFolder.open(path).manifest()
    assert (manifest.status, manifest.sessions[-1].ended) == ("failed", "interrupted")
    before = stored(out)
    assert attempts(*arguments(out, 3))["code"] == 0
    assert before.items() <= {s.key: s.text for s in assert_whole(out, 12).samples()}.items()


@pytest.mark.parametrize("by_s", [-3600, 3600])
def test_a_clock_that_jumps_books_no_hour(attempts: Attempts, by_s: int) -> None:
    out = attempts.folder / f"jump{by_s}"
    ended = attempts(*arguments(out, 3), jump_at=[f"{out.name}/*/samples.jsonl", by_s])
    assert ended["code"] == 0
    folder = assert_whole(out, 12)
    sessions = folder.manifest().sessions
    assert len(sessions) == 2
    assert "clock moved 3600" in str(sessions[0].ended)
    assert folder.summary().generation_s + folder.summary().evaluation_s < 600
    assert any("clock" in warning for warning in folder.summary().warnings)


@pytest.mark.parametrize(
    "streams", [{"stderr": "/dev/full"}, {"stderr": "closed"}, {"stdout": "closed"}, {"stdout": "/dev/full"}], ids=str
)
def test_nobody_who_listens_does_not_end_a_run(attempts: Attempts, streams: dict[str, Any]) -> None:
    out = attempts.folder / f"streams-{'-'.join(map(str, streams.items())).replace('/', '')}"
    ended = attempts(*arguments(out, 1), **streams)
    assert_whole(out, 4)
    if streams == {"stdout": "/dev/full"}:
        assert ended["code"] == 2
        assert ended["err"].splitlines()[-1].startswith("error: the result cannot be written to stdout (No space left")
    else:
        assert ended["code"] == 0
        assert "stdout" in streams or json.loads(ended["out"].splitlines()[-1])["samples"] == 4
