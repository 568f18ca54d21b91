"""Run folders of every released schema are read by today's program, and give the numbers that they gave then.

``golden/schema-1`` holds runs of the first edition: a configuration with its repeat, the same model in another
quantization, an early-exit run, and one that was killed after its second batch (for size, without the readings of its
long warm-up). ``golden/expected.json`` holds what the first edition said of them (``made_by``); folders are copied
before use, since a golden folder never changes.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from passkwh.cli.main import main
from passkwh.harness.host import host_info
from passkwh.harness.runs.folder import RunFolder
from passkwh.harness.runs.table import SampleTable
from passkwh.records import SCHEMA_VERSION, Manifest, Spec, spec_identity

GOLDEN = Path(__file__).parent / "golden"
RUNS = GOLDEN / "schema-1"
NAME = "smollm2-135m-instruct"
PLAIN = [f"{NAME}-none-bigcodebench-ff9c42ef-r0", f"{NAME}-none-bigcodebench-ff9c42ef-r1"]
INT4 = f"{NAME}-gptq-int4-bigcodebench-efc252f1-r0"
EXIT = f"{NAME}-none-fixed-14-py150-f13bfc1e-r0"
UNFINISHED = f"{NAME}-none-bigcodebench-4476b940-r0"
COMPLETE = [*PLAIN, INT4, EXIT]
EXPECTED: dict[str, Any] = json.loads((GOLDEN / "expected.json").read_text("utf-8"))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A copy of the complete runs."""
    for name in COMPLETE:
        shutil.copytree(RUNS / name, tmp_path / "runs" / name)
    return tmp_path / "runs"


def bench(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def assert_holds(actual: Any, expected: Any, place: str = "") -> None:
    """All that is expected is in it; numbers to seven digits, as libraries that compute the same differ in the last."""
    if isinstance(expected, dict):
        for key, value in expected.items():
            assert key in actual, f"{place}.{key}"
            assert_holds(actual[key], value, f"{place}.{key}")
    elif isinstance(expected, list):
        assert len(actual) == len(expected), place
        for index, (one, other) in enumerate(zip(actual, expected, strict=True)):
            assert_holds(one, other, f"{place}[{index}]")
    elif isinstance(expected, float):
        assert actual == pytest.approx(expected, rel=1e-7, abs=1e-9), place
    else:
        assert actual == expected, place


def test_they_are_analysed_to_the_same_numbers(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(monkeypatch, "analyze", *(runs / name for name in (*PLAIN, INT4)), "--json") == 0
    assert_holds(json.loads(capsys.readouterr().out.splitlines()[-1]), EXPECTED["analyze"])
    assert bench(monkeypatch, "analyze", runs / EXIT, "--json") == 0
    assert_holds(json.loads(capsys.readouterr().out.splitlines()[-1]), EXPECTED["analyze_exit"])


def test_their_report_shows_the_same_numbers(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.html"
    assert bench(monkeypatch, "report", *(runs / name for name in (*PLAIN, INT4)), "--out", page) == 0
    rows = re.findall(r"<tr>.*?</tr>", page.read_text("utf-8"), re.DOTALL)
    values = [{three_digits(float(value)) for value in re.findall(r'<data value="([^"]+)"', row)} for row in rows]
    for figures in EXPECTED["report"]:
        # The first edition showed three digits; "1 of 6" solved has its number of tasks in the column's head now.
        texts = " ".join(figure.partition(" of ")[0] for figure in figures)
        expected = {three_digits(float(number)) for number in re.findall(r"\d+(?:\.\d+)?", texts)}
        assert any(expected <= row for row in values), figures


def three_digits(value: float) -> str:
    return f"{value:.3g}"


def test_they_stand_on_the_board_with_the_same_numbers(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bench(monkeypatch, "leaderboard", "pack", runs, "--out", tmp_path / "packs") == 0
    site, cache = tmp_path / "site", tmp_path / "cache"
    command = ("leaderboard", "build", tmp_path / "packs", "--out", site, "--cache", cache, "--no-published")
    assert bench(monkeypatch, *command) == 0
    rows = {row["configuration"]: row for row in json.loads((site / "board.json").read_text())["rows"]}
    assert len(rows) == len(EXPECTED["board"])
    for expected in EXPECTED["board"]:
        row = rows[expected["configuration"]]
        # The content is a hash of the packs' bytes, and these are of the files as they were: the very same. The id is
        # the address of the row's page, which lasts.
        assert_holds(row, expected)


@pytest.mark.slow
def test_a_run_that_the_first_edition_left_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is only resumed on the host and with the numbers that it was begun with, so the manifest is given this
    machine's, and this machine's CPU is, as that of the run, without bfloat16; everything else is as the first edition
    left it, killed in the middle."""
    monkeypatch.setattr("passkwh.adapters.device.cpu_has_bfloat16", lambda: False)
    folder = tmp_path / "runs" / UNFINISHED
    shutil.copytree(RUNS / UNFINISHED, folder)
    lines = (folder / "samples.jsonl").read_text().splitlines()
    content = json.loads((folder / "manifest.json").read_text())
    content.pop("crc32", None)
    assert content["schema_version"] == 1
    content["host"] = host_info().model_dump(mode="json")
    (folder / "manifest.json").write_text(json.dumps(content))
    command = (
        "run", "--model", NAME, "--limit", 4, "--batch-size", 1, "--max-new-tokens", 16, "--idle-s", 0.5,
        "--meter", "simulated:steady", "--quant", "none", "--out", folder.parent, "--resume",
    )  # fmt: skip
    assert bench(monkeypatch, *command) == 0
    done = RunFolder.open(folder)
    assert done.complete
    assert done.summary().samples == 4
    assert len(done.manifest().sessions) == 2
    before = {json.loads(line)["key"]: json.loads(line)["text"] for line in lines}
    after = {sample.key: sample.text for sample in done.samples()}
    assert before.items() <= after.items(), "what was generated before the kill is kept"


@pytest.mark.parametrize("command", ["analyze", "report", "leaderboard pack", "run"])
def test_a_run_of_a_newer_program_is_one_line_that_names_it(
    command: str, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs / PLAIN[0]
    content = json.loads((run / "manifest.json").read_text())
    content.pop("crc32", None)
    content |= {"schema_version": 99, "a_field_of_the_future": 1}
    content["versions"]["passkwh"] = "9.0.0"
    (run / "manifest.json").write_text(json.dumps(content))
    arguments: list[object] = [*command.split(), run]
    if command == "run":  # an unfinished one is resumed
        (run / "summary.json").unlink()
        arguments = [
            "run", "--model", NAME, "--limit", 6, "--batch-size", 2, "--max-new-tokens", 64, "--idle-s", 0.5,
            "--meter", "simulated:steady", "--quant", "none", "--out", runs, "--resume",
        ]  # fmt: skip
    else:
        arguments += ["--out", tmp_path / "out.html"] if command == "report" else []
    assert bench(monkeypatch, *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert f"schema 99 and this program reads up to {SCHEMA_VERSION}: install passkwh 9.0.0" in line
    assert str(run) in line


def test_a_field_that_is_added_changes_no_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    class Grown(Spec):
        """A spec of a later version."""

        concurrency: int = 1

    spec = Spec(model=NAME)
    monkeypatch.setattr("passkwh.records.spec.Spec", Grown)
    assert spec_identity(Grown(model=NAME)) == spec_identity(spec)
    assert spec_identity(Grown(model=NAME, concurrency=4)) != spec_identity(spec)


@pytest.mark.parametrize("name", COMPLETE)
def test_no_record_is_made_of_their_samples_to_read_them_all(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = RunFolder.open(RUNS / name).samples()
    monkeypatch.setattr("passkwh.harness.runs.lines.read_line", None)
    table = RunFolder.open(RUNS / name).table()
    assert table.table.to_pylist() == SampleTable.of(expected).table.to_pylist()


@pytest.mark.parametrize("name", [*COMPLETE, UNFINISHED])
def test_run_folders_keep_their_names(name: str) -> None:
    spec = Manifest.model_validate_json((RUNS / name / "manifest.json").read_bytes()).spec
    assert f"-{spec_identity(spec)[:8]}-r{spec.repeat}" in name
