"""How far a command is, on stderr: time left from the rate so far; never on stdout, never a reason to end the work."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from passkwh.cli import demo
from passkwh.cli import main as program
from passkwh.cli.live import LiveProgress, Rate, time_left
from passkwh.harness.progress import Status


class Clock:
    """A monotonic clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("passkwh.cli.live.time", made)
    return made


def test_no_time_left_before_there_is_a_rate() -> None:
    rate = Rate()
    assert rate.left_s(Status("generating", 0, 10), 0.0) is None
    assert rate.left_s(Status("generating", 0, 10), 50.0) is None, "nothing done"
    assert rate.left_s(Status("loading", 0, 0), 51.0) is None, "nothing counted"
    assert rate.left_s(Status("generating", 4, 10), 60.0) is None, "what was done before it was seen is no rate"
    assert rate.left_s(Status("generating", 5, 10), 60.0) is None, "no time has gone by"


def test_time_left_is_at_the_rate_that_was_seen() -> None:
    rate = Rate()
    rate.left_s(Status("generating", 90, 100), 10.0)  # resumed
    assert rate.left_s(Status("generating", 92, 100), 20.0) == 40.0
    assert rate.left_s(Status("generating", 95, 100), 20.0) == 10.0
    assert rate.left_s(Status("generating", 100, 100), 30.0) is None, "done"
    assert rate.left_s(Status("generating", 101, 100), 30.0) is None, "never negative"
    assert rate.left_s(Status("generating", 50, 100), 31.0) is None, "begun again in a new session"
    assert rate.left_s(Status("generating", 60, 100), 36.0) == 20.0
    assert rate.left_s(Status("scoring", 60, 100), 37.0) is None, "another stage has another rate"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0, "1 s"), (59.6, "60 s"), (119.9, "120 s"), (180, "3 min"), (7199, "120 min"), (7200, "2.0 h")],
)
def test_time_left_in_words(seconds: float, words: str) -> None:
    assert time_left(seconds) == f"about {words} left"


def test_a_log_gets_a_line_a_stage_and_one_every_half_minute(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with LiveProgress("run-1") as live:
        live.update(Status("loading the model", 0, 0))
        for second in range(101):
            clock.now_s = 200.0 + second
            live.update(Status("generating", second, 400, passes=second // 2, power_w=25.0))
        live.update(Status("scoring", 400, 400))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        "run-1: loading the model",
        "run-1: generating 0/400 0 pass · 25.0 W",
        "run-1: generating 31/400 15 pass · 25.0 W · about 6 min left",
        "run-1: generating 62/400 31 pass · 25.0 W · about 6 min left",
        "run-1: generating 93/400 46 pass · 25.0 W · about 5 min left",
        "run-1: scoring 400/400",
    ]


def test_what_is_over_at_once_leaves_a_log_alone(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with LiveProgress("pack", after_s=2.0) as live:
        for _ in live.each("runs", "abc", 3):
            clock.now_s += 0.5
    assert capsys.readouterr().err == ""
    with LiveProgress("pack", after_s=2.0) as live:
        for _ in live.each("runs", "abcd", 4):
            clock.now_s += 1.5
    assert capsys.readouterr().err == "pack: runs 2/4 about 3 s left\n"


def test_items_are_counted_when_they_are_done(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with LiveProgress("pack") as live:
        for _ in live.each("runs", "abcd", 4):
            clock.now_s += 40
    assert capsys.readouterr().err.splitlines() == [
        "pack: runs 0/4",
        "pack: runs 1/4 about 2 min left",
        "pack: runs 2/4 about 80 s left",
        "pack: runs 3/4 about 40 s left",
        "pack: runs 4/4",
    ]


def test_a_name_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with LiveProgress("a\x1b[2Jb") as live:
        live.update(Status("download owner/\x1b]0;x\x07\nname", 0, 0))
    assert not re.search(r"[\x1b\x07]", capsys.readouterr().err)


def test_a_stream_that_takes_nothing_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    closed = io.StringIO()
    live = LiveProgress("run")
    for stream in (Full(), closed):
        monkeypatch.setattr(sys, "stderr", stream)
        closed.close()
        with live:
            live.update(Status(f"to {type(stream).__name__}", 1, 2))
            assert list(live.each("items", [1, 2], 2)) == [1, 2]


def test_in_a_terminal_results_still_go_to_stdout() -> None:
    code = (
        "from passkwh.cli.live import LiveProgress\n"
        "from passkwh.harness.progress import Status\n"
        "with LiveProgress('work') as live:\n"
        "    live.update(Status('counting', 1, 3))\n"
        "    print('a result')\n"
        "    live.update(Status('counting', 2, 3))\n"
    )
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    program = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=theirs, env=environment, text=True
    )
    os.close(theirs)
    drawn = b""
    try:
        while piece := os.read(ours, 65536):
            drawn += piece
    except OSError:  # how a terminal on Linux says that the other end is closed
        pass
    out, _ = program.communicate(timeout=60)
    os.close(ours)
    assert program.returncode == 0, drawn
    assert out == "a result\n"
    assert b"work: counting" in drawn
    assert b"a result" not in drawn


def test_several_runs_say_which_of_how_many_and_how_long_the_rest_takes(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--model", tiny_llama, "--repeats", 2, "--subset", "sample", "--limit", 1, "--max-new-tokens", 4]
    words += ["--meter", "simulated", "--idle-s", 0.2, "--out", tmp_path / "runs"]
    monkeypatch.setattr(sys, "argv", ["bench", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        program.main()
    shown = capsys.readouterr()
    assert stop.value.code == 0, shown.err
    for number in (1, 2):
        assert re.search(rf"^run {number} of 2, tiny-llama\S*: generating ", shown.err, re.MULTILINE), shown.err
    assert re.search(r"^1 of 2 runs are done, about \d+ \w+ left if the others take as long$", shown.err, re.MULTILINE)
    assert "about" not in shown.out


def test_the_demo_says_which_step_of_how_many(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    called: list[str] = []
    monkeypatch.setattr(demo, "installed", lambda extra: True)
    monkeypatch.setattr(demo, "_bring_model", lambda: None)
    monkeypatch.setattr(demo, "_bench", lambda *words: called.append(words[0]))
    demo.demo(tmp_path / "demo")
    assert called == ["run", "report", "leaderboard", "leaderboard"]
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines()[:2] == [
        "step 1 of 4, which takes some minutes, the others seconds:",
        "step 2 of 4, which takes seconds:",
    ]
