"""Reports of invented runs, written once for all tests that look at them."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from passkwh.cli.analyze import analyze
from passkwh.cli.report import report

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "perf"))
import synthetic  # noqa: E402  (the generator that the timing script uses)

RESAMPLES = 300
app = typer.Typer()
app.command()(report)
app.command()(analyze)


def call(*arguments: object) -> dict[str, Any]:
    """The JSON object that a command prints last; exceptions come through."""
    result = CliRunner().invoke(app, [str(a) for a in (*arguments, "--resamples", RESAMPLES, "--json")])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


@dataclass(frozen=True)
class Written:
    """A report on disk and what the command said of it."""

    folder: Path
    content: dict[str, Any]

    @property
    def page(self) -> str:
        """The HTML."""
        return (self.folder / "report.html").read_text("utf-8")

    def blocks(self, kind: str) -> list[dict[str, Any]]:
        """All blocks of a kind."""
        return [b for s in self.content["sections"] for b in s["blocks"] if b["kind"] == kind]

    def texts(self, section: str) -> str:
        """All words of a section, as one text."""
        found = next(s for s in self.content["sections"] if s["id"] == section)
        return "\n".join("".join(_words(item)) for block in found["blocks"] for item in _parts(block))


def _parts(block: dict[str, Any]) -> list[Any]:
    """What is read together: the items of a list one by one, anything else whole."""
    return list(block["items"]) if block["kind"] == "bullets" else [block]


def _words(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [w for key, v in value.items() if key != "kind" for w in _words(v)]
    return [w for v in value for w in _words(v)] if isinstance(value, list) else []


@pytest.fixture(scope="session")
def invented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of one size as base, instruct, AWQ, GPTQ-Int8 and GPTQ-Int4, and of a second size."""
    root = tmp_path_factory.mktemp("invented")
    synthetic.write_runs(root, synthetic.THESIS[:7], tasks=50, shorter=10.0, interval_s=0.1)
    return root


@pytest.fixture(scope="session")
def everything(invented: Path, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The report of all experiments."""
    folder = tmp_path_factory.mktemp("report") / "all"
    return Written(folder, call("report", invented, "--experiment", "all", "--out", folder))


@pytest.fixture
def one_run(invented: Path, tmp_path: Path) -> Path:
    """A copy of one run, to be changed."""
    shutil.copytree(invented / "01-r0", tmp_path / "run")
    return tmp_path / "run"
