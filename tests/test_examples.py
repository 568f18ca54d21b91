"""The examples and the docstrings' examples do what they say, on real run folders."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import passkwh
from passkwh.errors import UsageError
from tests.conftest import REPOSITORY

EXAMPLES = REPOSITORY / "examples"
GOLDEN = REPOSITORY / "tests" / "golden" / "schema-1"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Complete runs of two configurations, one of them twice."""
    complete = [folder for folder in GOLDEN.glob("*-bigcodebench-*") if (folder / "summary.json").exists()]
    for folder in complete:
        shutil.copytree(folder, tmp_path / "runs" / folder.name)
    return tmp_path / "runs"


@pytest.mark.parametrize(
    ("file", "more", "shown"),
    [
        ("data_frame.py", [], "gptq-int4"),
        ("compare_configurations.py", [], "energy p = "),
        ("figure.py", ["figure.svg"], ""),
    ],
)
def test_scripts_on_runs(file: str, more: list[str], shown: str, runs: Path) -> None:
    command = [sys.executable, str(EXAMPLES / file), str(runs), *more]
    done = subprocess.run(command, capture_output=True, text=True, cwd=runs.parent, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout
    for name in more:
        assert (runs.parent / name).read_text("utf-8").startswith("<svg")


def test_metered_block(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "metered_block.py"), "simulated:steady"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "(simulated)" in done.stdout


def test_each_script_is_about_ten_lines() -> None:
    for file in EXAMPLES.glob("*.py"):
        lines = [line for line in file.read_text("utf-8").splitlines() if line.strip() and not line.startswith('"""')]
        assert len(lines) <= 11, f"{file.name} has {len(lines)} lines"


def test_notebook_runs(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("RUNS", str(runs))
    notebook = nbformat.read(EXAMPLES / "walkthrough.ipynb", as_version=4)
    where = {"metadata": {"path": str(runs.parent)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where).execute()
    assert (runs.parent / "report.html").is_file()
    shown = notebook.cells[-1].outputs[0]["data"]
    assert "simulated" in shown["text/plain"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "module",
    ["passkwh.registry", "passkwh.api", "passkwh.harness.meter.block", "passkwh.prompts", "passkwh.measures"],
)
def test_examples_in_docstrings(module: str, runs: Path) -> None:
    # In a process of their own: what one of them registers is in no other test's way.
    code = (
        f"import doctest, {module} as tested\n"
        "result = doctest.testmod(tested, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)\n"
        "print(result.attempted, result.failed)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=runs.parent, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    attempted, failed = map(int, done.stdout.split()[-2:])
    assert attempted > 0
    assert failed == 0, done.stdout


def test_mistakes_are_one_line_that_names_the_fix(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a run folder"):
        passkwh.load_runs(tmp_path / "nothing")
    with pytest.raises(UsageError, match="Spec has no field 'temprature': did you mean temperature"):
        passkwh.run(model="x", temprature=1)
    with pytest.raises(UsageError, match="limit: Input should be greater than or equal to 1"):
        passkwh.run(model="x", limit=0)
    with pytest.raises(UsageError, match="give a Spec, or the fields of one"):
        passkwh.run()
    with pytest.raises(UsageError, match="there is no group 'engine'"):
        passkwh.register("engine", "x", object())


def test_settings_of_an_analysis_are_checked(runs: Path) -> None:
    with pytest.raises(UsageError, match="AnalysisSettings has no field 'resample': did you mean resamples"):
        passkwh.load_runs(runs).analyse(resample=200)


def test_code_in_contributing_stands_in_the_plugin() -> None:
    """What CONTRIBUTING shows of each door is the plugin's code, which tests/test_plugin.py runs."""
    text = (REPOSITORY / "CONTRIBUTING.md").read_text("utf-8")
    shown = re.findall(r"<!-- (examples/\S+) -->\n```python\n(.*?)\n```", text, flags=re.DOTALL)
    assert len(shown) == 6
    for file, code in shown:
        assert code in (REPOSITORY / file).read_text("utf-8"), f"{file} has other code than CONTRIBUTING.md"


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, passkwh; print([m for m in ('torch', 'pandas', 'pydantic', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
