"""``bench export``: runs and samples for other programs, in our formats and in another package's."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from passkwh.analysis.frames import Frames, load
from passkwh.cli.export import export
from passkwh.errors import UsageError
from passkwh.registry import EXPORTS, register

from .reports.conftest import synthetic

app = typer.Typer()
app.command()(export)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    synthetic.write_runs(root, synthetic.THESIS[:2], tasks=6, shorter=100.0, interval_s=0.5)
    return root


def call(*arguments: object) -> list[Path]:
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return [Path(file) for file in json.loads(result.stdout.splitlines()[-1])["files"]]


@pytest.mark.parametrize(("name", "read"), [("csv", pd.read_csv), ("parquet", pd.read_parquet)])
def test_both_formats_hold_every_run_and_sample(runs: Path, tmp_path: Path, name: str, read: object) -> None:
    files = call(runs, "--format", name, "--out", tmp_path / "new" / name)
    assert [file.name for file in files] == [f"runs.{name}", f"samples.{name}"]
    table, samples = (read(file) for file in files)  # type: ignore[operator]
    frames = load([runs])
    assert table["run"].tolist() == [str(run.path) for run in frames.runs]
    assert table["gross_energy_j"].tolist() == pytest.approx([r.summary.gross_energy_j for r in frames.runs], rel=1e-15)
    assert samples["key"].tolist() == frames.samples["key"].tolist()
    assert samples["gross_j"].tolist() == pytest.approx(frames.samples["gross_j"].tolist(), rel=1e-15)
    assert samples["run"].tolist() == [str(frames.runs[i].path) for i in frames.samples["run"]]


def test_no_cell_of_a_csv_is_a_formula(runs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(next(runs.glob("*/manifest.json")).parent, run)
    for name, field in (("manifest", "model"), ("summary", "model")):
        content = json.loads((run / f"{name}.json").read_text("utf-8"))
        content[field] = {**content[field], "name": "=HYPERLINK(1)"} if name == "manifest" else "=HYPERLINK(1)"
        (run / f"{name}.json").write_text(json.dumps(content), "utf-8")
    files = call(run, "--out", tmp_path / "out")
    with files[0].open(newline="", encoding="utf-8") as file:
        assert next(csv.DictReader(file))["model"] == "'=HYPERLINK(1)"


def test_wrong_use_is_told_before_runs_are_read(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown export format 'parket': did you mean parquet"):
        call(tmp_path / "nowhere", "--format", "parket", "--out", tmp_path)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match="is a file: name a folder"):
        call(runs, "--out", tmp_path / "file")


def test_a_format_of_another_package_is_used_by_its_name(runs: Path, tmp_path: Path) -> None:
    class Count:
        summary = "how many samples"

        def write(self, frames: Frames, path: Path) -> list[Path]:
            path.write_text(str(len(frames.samples)))
            return [path]

    register("exports", "count", Count())
    try:
        (file,) = call(runs, "--format", "count", "--out", tmp_path / "n.txt")
    finally:
        EXPORTS._added.pop("count")
    assert file.read_text() == "12"
