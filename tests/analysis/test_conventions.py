"""Which energy leads: each convention on a run whose GPU, CPU, idle power and scoring are all told apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import passkwh
from passkwh.analysis.comparable_groups import chosen_convention
from passkwh.analysis.conventions import CONVENTIONS, stated
from passkwh.analysis.frames import load
from passkwh.analysis.pooling import compare
from passkwh.analysis.task_table import task_table
from passkwh.errors import UsageError
from passkwh.harness.sweep import study
from tests.analysis.conftest import MakeRun

GPU_J, SCORING_J, CPU_J, NET = 400.0, 2.0, 1000.0, 0.75
"""Of the fixture: 4 tasks whose GPU draws 100 J each and 0.5 J for scoring; the CPU 1,000 J for either; net is 3/4."""
EXPECTED_J = {
    "passkwh": GPU_J + SCORING_J + 8 * CPU_J,
    "thesis": (GPU_J + SCORING_J) * NET,
    "green-code": GPU_J,
}


@pytest.fixture
def metered_twice(make_run: MakeRun) -> Path:
    """A run that counts its GPU and its CPU."""
    folder = make_run("run", energy_j=[100.0] * 4, passed=[True, True, True, False])
    manifest, summary = (json.loads((folder / f"{name}.json").read_text()) for name in ("manifest", "summary"))
    manifest["meter"]["channels"][1]["counted"] = True
    gpu = summary["channels"][0]
    for stage, joules in (("generation", 4 * CPU_J), ("evaluation", 4 * CPU_J)):
        gpu[stage]["net_j"] = gpu[stage]["gross_j"] * NET
        summary.setdefault("_", {})[stage] = {"gross_j": joules, "net_j": joules * NET, "se_j": None, "reason": None}
    summary["channels"].append({**gpu, "channel": "cpu:0", **summary.pop("_")})
    total = EXPECTED_J["passkwh"]
    summary |= {"gross_energy_j": total, "energy_kwh": total / 3.6e6, "pass_at_k": {"1": 0.75}, "solved": 3.0}
    for name, content in (("manifest", manifest), ("summary", summary)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("name", CONVENTIONS)
def test_tasks_and_headlines_follow_the_convention(metered_twice: Path, name: str) -> None:
    frames = load([metered_twice], name)
    table = task_table(compare(frames), CONVENTIONS[name].energy)
    assert table.energy_j.sum() == pytest.approx(EXPECTED_J[name])
    summary = frames.runs[0].summary
    if name != "passkwh":
        assert summary.energy_kwh == pytest.approx(EXPECTED_J[name] / 3.6e6)
        assert summary.pass_at_kwh == pytest.approx(0.75 / (EXPECTED_J[name] / 3.6e6))
        assert summary.solved_per_kwh == pytest.approx(3 / (EXPECTED_J[name] / 3.6e6))
    assert frames.runs[0].convention_note is None
    assert CONVENTIONS[name].describe() in stated(frames.runs, CONVENTIONS[name].energy)


def test_a_run_without_gpu_says_what_stands_in(metered_twice: Path) -> None:
    for file in ("manifest.json", "summary.json", "samples.jsonl"):
        path = metered_twice / file
        path.write_text(path.read_text().replace("gpu:0", "soc"))
    (run,) = load([metered_twice], "thesis").runs
    assert "has none: its counted channels stand in (soc, cpu:0)" in str(run.convention_note)
    assert run.summary.energy_kwh == pytest.approx(EXPECTED_J["passkwh"] * NET / 3.6e6)
    assert "no run has a GPU channel, so all counted channels stand in" in stated([run], "net")


def test_an_override_of_the_energy_is_stated(metered_twice: Path) -> None:
    runs = load([metered_twice], "thesis").runs
    assert "with gross energy asked for in its place" in stated(runs, "gross")


def test_an_unknown_convention_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="passkwh, thesis, green-code"):
        chosen_convention([tmp_path], "nature")


def test_ready_made_studies_set_their_works_convention() -> None:
    of_study = {name: study.read(name).settings.convention for name in study.names()}
    assert {n: c for n, c in of_study.items() if n.startswith("thesis-")} == dict.fromkeys(
        (n for n in of_study if n.startswith("thesis-")), "thesis"
    )
    assert of_study["green-code"] == "green-code"


def test_a_studys_convention_is_taken_unless_another_is_asked_for(tmp_path: Path) -> None:
    def write(name: str, settings: dict[str, Any]) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "study.json").write_text(json.dumps({"schema_version": 1, "settings": settings, "runs": []}))
        return folder

    theirs, old = write("theirs", {"name": "a", "convention": "thesis"}), write("old", {"name": "b"})
    assert chosen_convention([theirs / "run"], None) == "thesis"
    assert chosen_convention([theirs], "green-code") == "green-code"
    assert chosen_convention([old, tmp_path / "elsewhere"], None) == "passkwh"
    with pytest.raises(UsageError, match="--convention"):
        chosen_convention([theirs, old], None)


def test_the_python_interface_analyses_by_a_convention(metered_twice: Path) -> None:
    runs = passkwh.load_runs(metered_twice)
    for name, joules in EXPECTED_J.items():
        analysis = runs.analyse(convention=name, resamples=100)
        (energy,) = [i for i in analysis.intervals if i.measure == "energy_kwh"]
        assert energy.estimate == pytest.approx(joules / 3.6e6)
        assert analysis.settings.energy == CONVENTIONS[name].energy
