"""A run meets a full disk, a dead one, kills, signals, closed streams and clocks that jump: one line, nothing lost."""

from __future__ import annotations

import errno
import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from passkwh.harness.meter.counter import LONG_GAP_S
from passkwh.harness.runs.folder import RunFolder
from passkwh.stored import seal, unseal

from .conftest import Attempts


def arguments(out: Path, samples: int = 2) -> list[object]:
    return [
        "run", "--model", "toy:2", "--benchmark", "toy-sums", "--samples", samples, "--batch-size", 2, "--out", out,
        "--idle-s", 0.05, "--meter", "simulated", "--json", "--resume",
    ]  # fmt: skip


def stored(out: Path) -> dict[str, str]:
    """Texts on disk, by key."""
    return {s.key: s.text for path in out.glob("*/manifest.json") for s in RunFolder.open(path.parent).samples()}


def sessions_unread(folder: RunFolder) -> set[int]:
    """Sessions in which the meter was not read for longer than a gap at an edge of a window: only there may an energy
    be missing. It happens on a machine so busy that the recorder's thread waits that long for a processor."""
    table = folder.trace()
    sessions, times = table["session"].to_numpy(), table["time_ns"].to_numpy()
    gap_ns, unread = int(LONG_GAP_S * 1e9), set()
    spans = [span for one in folder.samples() for span in (one.generation, one.evaluation) if span is not None]
    for session in {span.session for span in spans}:
        read = np.unique(times[sessions == session])
        for edge in {edge for span in spans if span.session == session for edge in (span.start_ns, span.end_ns)}:
            after = int(np.searchsorted(read, edge))
            last = read[after] if after < len(read) else edge
            if after == 0 or last - read[after - 1] > gap_ns:
                unread.add(session)
    return unread


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
    unread = sessions_unread(folder)
    for one in found:
        for energy, span in ((one.generation_energy, one.generation), (one.evaluation_energy, one.evaluation)):
            assert span is not None
            missing = {e.reason for e in energy.values() if e.gross_j is None}
            assert not missing or span.session in unread, missing
            assert None not in missing
    if not unread:
        assert sum(e.gross_j or 0.0 for e in energies) == pytest.approx(summary.gross_energy_j)
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
    ended = attempts(*arguments(out, 3), fault=("fsync", "samples.jsonl", 2, -number))
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


@pytest.mark.parametrize("command", ["list", "doctor", "pack", "analyze", "dry run"])
def test_a_result_that_nobody_can_take_is_one_line(attempts: Attempts, command: str) -> None:
    out = attempts.folder / "full"
    if not out.exists():
        assert attempts(*arguments(out, 1))["code"] == 0
    (run,) = (path for path in out.iterdir() if (path / "summary.json").exists())
    commands: dict[str, list[object]] = {
        "list": ["list"],
        "doctor": ["doctor", "--json"],
        "pack": ["leaderboard", "pack", run, "--out", out.with_name("packs"), "--json"],
        "analyze": ["analyze", run, "--json"],
        "dry run": [*arguments(out.with_name("dry"), 1), "--dry-run"],
    }
    ended = attempts(*commands[command], stdout="/dev/full")
    assert ended["code"] == 2
    assert ended["err"].splitlines()[-1].startswith("error: the result cannot be written to stdout (No space left")


def test_resume_on_a_folder_that_is_read_only_is_one_line(attempts: Attempts) -> None:
    out = attempts.folder / "read-only"
    ended = attempts(*arguments(out), fault=("fsync", "samples.jsonl", 2, errno.EIO))
    assert ended["code"] == 2
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    ended = attempts(*arguments(out), fault=("all", str(out), 1, errno.EROFS))
    assert ended["code"] == 2
    (error,) = [line for line in ended["err"].splitlines() if line.startswith("error: ")]
    assert "Read-only file system" in error
    assert "--resume" in error
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before
    assert attempts(*arguments(out))["code"] == 0
    assert_whole(out, 8)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"key": "0" * 64}, "holds a sample of another run"),
        ({"task_id": "another"}, "holds a sample of another run"),
        ({"seed": 12345}, "holds a sample of another run"),
    ],
    ids=str,
)
def test_a_sample_of_another_run_is_refused_on_resume(
    attempts: Attempts, change: dict[str, Any], expected: str
) -> None:
    out = attempts.folder / f"foreign-{next(iter(change))}"
    assert attempts(*arguments(out), fault=("fsync", "samples.jsonl", 3, errno.EIO))["code"] == 2
    (path,) = out.iterdir()
    file = path / "samples.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    foreign = json.loads(unseal(lines[0].rstrip())) | change
    file.write_bytes(b"".join(lines) + seal(json.dumps(foreign)) + b"\n")
    ended = attempts(*arguments(out))
    assert ended["code"] == 2
    (error,) = [line for line in ended["err"].splitlines() if line.startswith("error: ")]
    assert expected in error
    file.write_bytes(b"".join(lines))
    assert attempts(*arguments(out))["code"] == 0
    assert_whole(out, 8)


@pytest.mark.parametrize("name", ["manifest.json", "samples.jsonl", "trace-000.arrows"])
def test_a_flipped_byte_is_refused_on_resume(attempts: Attempts, name: str) -> None:
    out = attempts.folder / f"flipped-{name[:5]}"
    assert attempts(*arguments(out), fault=("fsync", "samples.jsonl", 3, errno.EIO))["code"] == 2
    (path,) = out.iterdir()
    whole = (path / name).read_bytes()
    place = len(whole) // 2
    (path / name).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    ended = attempts(*arguments(out))
    assert ended["code"] == 2
    assert [name in line for line in ended["err"].splitlines() if line.startswith("error: ")] == [True]
    (path / name).write_bytes(whole)
    assert attempts(*arguments(out))["code"] == 0
    assert_whole(out, 8)
