"""A study where runs are expected: its parts are compared each for itself, and what is not complete is said."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from passkwh.analysis.comparable_groups import comparable_groups
from passkwh.analysis.frames import open_run
from passkwh.cli import main as program
from passkwh.errors import UsageError
from passkwh.harness.sweep.folder import PlannedRun, StudyFolder, StudyRecord
from passkwh.harness.sweep.status import complete_run, study_status
from passkwh.harness.sweep.study import Study, StudySettings
from passkwh.records import Spec
from tests.analysis.conftest import write_run

OTHER = {"name": "humaneval", "version": "1", "source": "file", "sha256": "1" * 64, "tasks": 4}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two configurations on two benchmarks, all complete but one run that has failed."""
    settings = StudySettings(name="s")
    made = [
        (f"{quant}-{name}", quant, benchmark)
        for name, benchmark in (("big", None), ("human", OTHER))
        for quant in ("none", "awq")
    ]
    specs = {run_id: Spec(model="family/tiny-1B-Instruct", quant=quant) for run_id, quant, _ in made}
    specs["late"] = Spec(model="family/tiny-1B-Instruct", quant="gptq-int4")
    runs = tuple(PlannedRun(run_id=run_id, requested=spec, spec=spec) for run_id, spec in specs.items())
    folder = StudyFolder(tmp_path / "s")
    folder.path.mkdir()
    folder.write(Study("s.toml", "", settings, ()), StudyRecord(settings=settings, runs=runs))
    for number, (run_id, quant, benchmark) in enumerate(made):
        joules = [10.0 + number + i for i in range(4)]
        path = write_run(folder.path / run_id, quant=quant, benchmark=benchmark, energy_j=joules)
        folder.append("complete", run_id, elapsed_s=1.0, **complete_run(path))
    folder.append("failed", "late", kind="out of memory", reason="killed by the kernel for want of memory")
    return folder.path


def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[Any, str]:
    """The last line of stdout as JSON, and stderr, of the program called in this process."""
    monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments), "--json"])
    with pytest.raises(SystemExit) as stop:
        program.main()
    shown = capsys.readouterr()
    assert not stop.value.code, shown.err
    return json.loads(shown.out.strip().splitlines()[-1]), shown.err


def test_parts_are_what_may_be_compared(study: Path) -> None:
    found, notes = comparable_groups([study])
    assert [(part.title, sorted(path.name for path in part.paths)) for part in found] == [
        ("bench", ["awq-big", "none-big"]),
        ("humaneval", ["awq-human", "none-human"]),
    ]
    assert "1 failed" in notes[0]
    assert "bench sweep status" in notes[0]


def test_unlike_hardware_is_apart(study: Path) -> None:
    manifest = study / "none-big" / "manifest.json"
    content = json.loads(manifest.read_text())
    content.pop("crc32", None)
    cpu, content["host"]["cpu"] = content["host"]["cpu"], "another processor"
    manifest.write_text(json.dumps(content))
    StudyFolder(study).append("complete", "none-big", **complete_run(manifest.parent))
    found, _ = comparable_groups([study])
    assert sorted(len(part.paths) for part in found) == [1, 1, 2]
    assert {open_run(path).manifest.host.cpu for part in found for path in part.paths} >= {"another processor"}
    assert sorted(part.title for part in found) == [
        "bench · another processor", f"bench · {cpu}", f"humaneval · {cpu}",
    ]  # fmt: skip


@pytest.mark.parametrize("harm", ["a digit", "a line"])
def test_a_run_that_is_not_as_it_was_is_in_no_number(study: Path, harm: str) -> None:
    samples = study / "awq-big" / "samples.jsonl"
    text = samples.read_text()
    if harm == "a digit":  # the length stays
        place = text.index('"gross_j":') + len('"gross_j":')
        samples.write_text(text[:place] + ("9" if text[place] != "9" else "8") + text[place + 1 :])
    else:
        samples.write_text("".join(text.splitlines(keepends=True)[:-1]))
    found, notes = comparable_groups([study])
    assert sorted(path.name for part in found for path in part.paths) == ["awq-human", "none-big", "none-human"]
    assert notes[0].startswith("awq-big is left out: ")
    assert str(samples) in notes[0]
    quick, thorough = (study_status(StudyFolder(study), look).counts.get("damaged", 0) for look in (False, True))
    assert (quick, thorough) == (0 if harm == "a digit" else 1, 1)


@pytest.mark.parametrize("command", [("exits",), ("compare", "none-big")])
def test_whatever_takes_runs_leaves_out_what_is_not_as_it_was(
    study: Path, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (study / "awq-big" / "samples.jsonl").unlink()
    others = [study / name for name in command[1:]]
    monkeypatch.setattr(sys, "argv", ["bench", command[0], str(study), *map(str, others)])
    with pytest.raises(SystemExit):  # these runs leave nowhere, and are of two benchmarks
        program.main()
    said = capsys.readouterr().err
    assert "note: awq-big is left out: " in said
    assert "is missing: the run folder" not in said


def test_a_part_without_the_option_that_tells_others_apart_has_a_name(study: Path) -> None:
    manifest = study / "none-big" / "manifest.json"
    content = json.loads(manifest.read_text())
    content.pop("crc32", None)
    content["benchmark"]["options"] = {"subset": "hard"}
    manifest.write_text(json.dumps(content))
    StudyFolder(study).append("complete", "none-big", **complete_run(manifest.parent))
    found, _ = comparable_groups([study])
    assert sorted(part.title for part in found)[:2] == ["bench · no options", "bench · subset hard"]


def test_a_folder_of_studies_is_not_taken_for_its_runs(study: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"holds no runs but studies: name one, as {study}"):
        comparable_groups([tmp_path])
    alone = write_run(tmp_path / "alone")
    (part,), notes = comparable_groups([tmp_path])
    assert part.paths == (alone,)
    assert notes == [f"the studies in {tmp_path} (s) are not in this: name them"]


def test_a_study_without_a_complete_run_says_so(study: Path) -> None:
    for path in study.glob("*-*/summary.json"):
        path.unlink()
    with pytest.raises(UsageError, match=r"no complete run yet.*4 damaged, 1 failed"):
        comparable_groups([study])


def test_where_nobody_solves_anything_nobody_is_best_and_other_metrics_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [write_run(tmp_path / quant, quant=quant, passed=[0, 0, 0, 0]) for quant in ("none", "awq")]
    summary = json.loads((runs[0] / "summary.json").read_text())
    summary.pop("crc32", None)
    summary["metrics"] = {"edit_similarity": 46.25}
    (runs[0] / "summary.json").write_text(json.dumps(summary))
    bench(monkeypatch, capsys, "report", *runs, "--out", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "most tasks per kilowatt-hour" not in page
    assert ">edit_similarity</th>" in page
    assert "46.2" in page
    content, _ = bench(
        monkeypatch, capsys, "report", *runs, "--experiment", "all", "--resamples", 200, "--out", tmp_path / "all"
    )
    told = json.dumps(next(section for section in content["sections"] if section["id"] == "summary"))
    assert "No configuration solved a task" in told
    assert "Most accura" not in told


def test_runs_that_are_named_are_not_taken_apart(study: Path) -> None:
    named = sorted(study.glob("*-*"))
    found, notes = comparable_groups(named)
    assert [part.paths for part in found] == [tuple(named)]
    assert notes == []


def test_analyze_and_report_take_a_study(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content, said = bench(monkeypatch, capsys, "analyze", study, "--resamples", 200, "--out", tmp_path / "tables")
    assert [len(part["configurations"]) for part in content["parts"]] == [2, 2]
    assert "not every run" in said
    assert (tmp_path / "tables" / "part-1" / "analysis.json").is_file()
    assert (tmp_path / "tables" / "part-2" / "analysis.json").is_file()

    page = tmp_path / "report.html"
    content, _ = bench(monkeypatch, capsys, "report", study, "--out", page)
    assert sorted(Path(run).name for run in content["runs"]) == ["awq-big", "awq-human", "none-big", "none-human"]
    text = page.read_text()
    assert text.count('<p class="group">') == 2
    assert 'id="table-results"' in text
    assert 'id="table-results_2"' in text
    assert "humaneval" in text


def test_the_report_of_experiments_has_a_page_for_each_part_and_one_that_leads_to_them(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report"
    asked = ("report", study, "--experiment", "awq", "--resamples", 200, "--out", out)
    content, said = bench(monkeypatch, capsys, *asked)
    assert "not every run" in said
    assert content["report"] == str(out / "report.html")
    assert [sorted(Path(run).name for run in part["runs"]) for part in content["parts"]] == [
        ["awq-big", "none-big"], ["awq-human", "none-human"],
    ]  # fmt: skip
    page = (out / "report.html").read_text()
    links = re.findall(r'href="([^#"]+)(?:#([a-z-]+))?"', page)
    assert {path for path, _ in links} == {"part-1/report.html", "part-2/report.html", "report.json"}
    for path, anchor in links:
        assert not anchor or f'id="{anchor}"' in (out / path).read_text()
    told = json.loads((out / "report.json").read_text())
    numbers = re.findall(r'<data value="([^"]+)" data-at="([^"]+)"', page)
    assert numbers
    for value, at in numbers:
        place = told
        for key in at.strip("/").split("/"):
            place = place[int(key)] if isinstance(place, list) else place[key]
        assert float(value) == place
    for number, name in ((1, "bench"), (2, "humaneval")):
        part = json.loads((out / f"part-{number}" / "report.json").read_text())
        assert part["subtitle"][0]["value"] == 2
        assert name in "".join(word for word in part["subtitle"] if isinstance(word, str))
        assert part["results"]["analysis"] == content["parts"][number - 1]["results"]["analysis"]


def test_a_part_that_does_not_allow_the_experiment_says_so_and_the_other_is_there(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (study / "awq-human" / "summary.json").unlink()
    asked = ("report", study, "--experiment", "awq", "--resamples", 200, "--out", tmp_path / "report")
    content, said = bench(monkeypatch, capsys, *asked)
    (reason,) = [part["error"] for part in content["parts"] if "error" in part]
    assert reason in said
    assert f"Not computed:</b> this part&#39;s report: {reason}." in (tmp_path / "report" / "report.html").read_text()
    (study / "awq-big" / "summary.json").unlink()
    with pytest.raises(AssertionError, match="no part of the study allows this report"):
        bench(monkeypatch, capsys, *asked)


def test_runs_of_two_benchmarks_named_one_by_one_are_refused(study: Path) -> None:
    from passkwh.analysis.frames import load
    from passkwh.reports.document.evidence import Evidence

    with pytest.raises(UsageError, match=r"benchmark\.name"):
        Evidence(load(sorted(study.glob("*-*"))))
