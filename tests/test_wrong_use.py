"""A user's mistake gets one line on stderr that names the fix, exit code 2, and no traceback."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from passkwh.cli import main as program
from tests.analysis.conftest import write_run
from tests.conftest import last_json


def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit code and stderr of the program, called in this process to save the imports."""
    monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        program.main()
    return int(stop.value.code or 0), capsys.readouterr().err


@pytest.fixture
def tasks() -> list[dict[str, str]]:
    from importlib import resources

    text = resources.files("passkwh.benchmarks.bigcodebench").joinpath("sample.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()[:3]]


CASES = {
    "unknown model": (["--model", "smollm2-135m-instrct"], ["smollm2-135m-instruct"]),
    "unknown quant": (["--model", "smollm2-135m-instruct", "--quant", "gptq-int5"], ["gptq-int4"]),
    "limit 0": (["--model", "smollm2-135m-instruct", "--limit", 0], ["--limit", "equal to 1"]),
    "unknown benchmark": (["--model", "smollm2-135m-instruct", "--benchmark", "bigcodebanch"], ["bigcodebench"]),
    "unknown meter": (["--model", "smollm2-135m-instruct", "--meter", "simulatd"], ["simulated"]),
    "unknown benchmark option": (["--model", "smollm2-135m-instruct", "--option", "colour=red"], ["colour"]),
    "option without a value": (["--model", "smollm2-135m-instruct", "--option", "colour"], ["KEY=VALUE"]),
    "hub model while offline": (["--model", "Qwen/Qwen2.5-0.5B"], ["Qwen/Qwen2.5-0.5B", "hf download"]),
    "top-p 0": (["--model", "smollm2-135m-instruct", "--top-p", 0], ["top-p"]),
}


@pytest.mark.parametrize("name", CASES)
def test_mistakes_in_arguments(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments, expected = CASES[name]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    code, error = bench(monkeypatch, capsys, "run", "--limit", 1, "--out", tmp_path / "runs", *arguments)
    assert_one_line(code, error, *expected)


def test_a_folder_that_is_no_checkpoint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    code, error = bench(monkeypatch, capsys, "run", "--model", tmp_path / "empty", "--out", tmp_path / "runs")
    assert_one_line(code, error, "config.json")


@pytest.mark.parametrize("zipped", [False, True])
def test_a_truncated_data_file_names_its_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    tiny_llama: Path,
    tasks: list[dict[str, str]],
    zipped: bool,
) -> None:
    text = "\n".join(json.dumps(task) for task in tasks)[:-200].encode()
    path = tmp_path / ("tasks.jsonl.gz" if zipped else "tasks.jsonl")
    path.write_bytes(gzip.compress(text) if zipped else text)
    code, error = bench(monkeypatch, capsys, "run", "--model", tiny_llama, "--data", path, "--out", tmp_path / "runs")
    assert_one_line(code, error, f"{path.name}:3: not JSON")


def test_a_task_without_tests(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    tiny_llama: Path,
    tasks: list[dict[str, str]],
) -> None:
    tasks[1]["test"] = ""
    path = tmp_path / "tasks.jsonl"
    path.write_text("\n".join(json.dumps(task) for task in tasks))
    code, error = bench(monkeypatch, capsys, "run", "--model", tiny_llama, "--data", path, "--out", tmp_path / "runs")
    assert_one_line(code, error, tasks[1]["task_id"])


def test_an_output_folder_that_is_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny_llama: Path
) -> None:
    (tmp_path / "runs").write_text("x")
    code, error = bench(monkeypatch, capsys, "run", "--model", tiny_llama, "--limit", 1, "--out", tmp_path / "runs")
    assert_one_line(code, error, "is a file", "--out")


def test_too_little_memory_says_needed_and_free(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny_llama: Path
) -> None:
    code, error = bench(
        monkeypatch, capsys, "run", "--model", tiny_llama, "--limit", 1, "--batch-size", 100_000_000,
        "--out", tmp_path / "runs",
    )  # fmt: skip
    assert_one_line(code, error, "GiB", "free", "--batch-size")


def test_a_report_of_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert_one_line(*bench(monkeypatch, capsys, "report", tmp_path), "no complete run")
    assert_one_line(*bench(monkeypatch, capsys, "report", tmp_path / "nowhere"), "not a run folder")


FOLDER_COMMANDS = [
    "analyze RUN", "exits RUN", "export RUN", "leaderboard pack RUN", "leaderboard build PACKS",
    "leaderboard serve PACKS", "data codexglue SOURCE --language python", "run --model m", "sweep run thesis", "demo",
]  # fmt: skip


@pytest.mark.parametrize("command", FOLDER_COMMANDS)
def test_a_file_in_place_of_a_folder_is_refused_before_the_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / "file" / "inside"):  # nothing else that the command names is there
        assert_one_line(*bench(monkeypatch, capsys, *command.split(), "--out", out), f"--out {out}", "name a folder")
    assert (tmp_path / "file").read_text() == "x"


def test_what_cannot_be_written_or_is_not_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = write_run(tmp_path / "run")
    (tmp_path / "file").write_text("x")
    inside = tmp_path / "file" / "report.html"
    assert_one_line(*bench(monkeypatch, capsys, "report", run, "--out", inside), str(inside), "cannot be written")
    assert_one_line(*bench(monkeypatch, capsys, "leaderboard", "validate", tmp_path / "no"), "there is no", "packs")
    assert_one_line(*bench(monkeypatch, capsys, "analyze", run, "--budget-kwh", -1), "--budget-kwh -1", "above 0")
    assert_one_line(*bench(monkeypatch, capsys, "analyze", run, "--floor", 2), "--floor 2", "from 0 to 1")
    assert_one_line(*bench(monkeypatch, capsys, "analyze", run, "--effect", 0.1), "--effect", "add --plan")
    assert_one_line(*bench(monkeypatch, capsys, "analyze", run, "--family", "Qwen"), "--family", "add --published")
    assert_one_line(*bench(monkeypatch, capsys, "compare", run, run, "--level", 2), "--level 2", "0.95")


def test_a_place_without_permission(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "study").mkdir(parents=True)
    closed.chmod(0)
    command = [sys.executable, "-m", "passkwh.cli.main", "sweep", "status", str(closed / "study")]
    if os.geteuid() == 0:  # whom permissions do not stop, unless without this capability
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("root may read everything, and there is no setpriv to change that")
        lost = "-dac_override,-dac_read_search"
        command = [setpriv, f"--bounding-set={lost}", f"--inh-caps={lost}", *command]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    closed.chmod(0o700)
    assert_one_line(result.returncode, result.stderr, str(closed), "Permission denied", "make it accessible")


COMMAND_LINES = {
    "no model": (["run"], ["missing option '--model'", "see `bench run --help`"]),
    "option without its value": (["run", "--model"], ["option '--model' requires an argument", "`--help` says"]),
    "negative number": (["run", "-m", "x", "--limit", "-1"], ["--limit -1: it should be greater", "bench run --help"]),
    "no number": (["run", "-m", "x", "--temperature=warm"], ["--temperature warm: it should be a valid number"]),
    "not finite": (["run", "-m", "smollm2-135m-instruct", "--idle-s", "inf"], ["--idle-s inf: it should be a finite"]),
    "port": (["serve", "-m", "x", "--port", "70000"], ["--port 70000: it should be", "bench serve --help"]),
    "unknown option": (["report", "runs", "--nonsense"], ["no such option: --nonsense", "bench report --help"]),
    "no argument": (["compare", "a"], ["missing argument 'b'", "bench compare --help"]),
    "group alone": (["leaderboard"], ["needs a command, one of pack, validate, init, review, build, serve; see"]),
    "unknown command of a group": (["leaderboard", "bulid"], ["no such command 'bulid'. Did you mean 'build'?; see"]),
    "unknown option of the program": (["--nonsense"], ["no such option", "see `bench --help`"]),
    "recording that is not there": (
        ["meter", "run", "--meter", "replay:nowhere.csv", "--", "true"], ["nowhere.csv cannot be read", "CSV file"]
    ),
    "benchmark without references": (["verify", "py150"], ["no reference solutions to run: give one"]),
    "unknown environment": (["setup", "nothing"], ["no benchmark or engine 'nothing'", "sglang and vllm"]),
    "folder for a data file": (["verify", "humaneval", "--data", "."], ["data file . is a folder: give"]),
    "interpreter that is none": (["setup", "bigcodebench", "--python", "/nowhere"], ["give one with --python"]),
    "bundle that is a file": (
        ["train", "lite", "-m", "smollm2-135m-instruct", "--bundle", __file__], ["is a file: name a folder"]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", COMMAND_LINES)
def test_a_wrong_command_line_is_answered_in_our_voice(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words, expected = COMMAND_LINES[name]
    monkeypatch.setenv("PASSKWH_CACHE", str(tmp_path))
    code, error = bench(monkeypatch, capsys, *words)
    assert_one_line(code, error, *expected)
    said = error.removeprefix("error: ")
    assert not said[0].isupper(), error
    assert "Errno" not in error


def test_rates_of_a_device_that_are_no_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "gpu.json").write_text("{broken")
    command = ["estimate", "--model", "smollm2-135m", "--gpu", tmp_path / "gpu.json"]
    assert_one_line(*bench(monkeypatch, capsys, *command), "gpu.json: Invalid JSON", "give a JSON file")


def test_an_unknown_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert_one_line(*bench(monkeypatch, capsys, "rnu"), "rnu")


def test_help_imports_nothing_heavy() -> None:
    heavy = ["torch", "transformers", "pandas", "numpy", "pyarrow", "scipy", "zeus", "codecarbon"]
    code = (
        "import sys; sys.argv = ['bench', 'run', '--help']\n"
        "from passkwh.cli.main import main\n"
        "try: main()\n"
        f"finally: assert not [m for m in {heavy!r} if m in sys.modules], [m for m in {heavy!r} if m in sys.modules]"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "--max-new-tokens" in result.stdout


def test_list_and_doctor_as_json() -> None:
    for command, keys in (("list", {"models", "benchmarks", "meters"}), ("doctor", {"host", "channels", "extras"})):
        result = subprocess.run(
            [sys.executable, "-m", "passkwh.cli.main", command, "--json"], capture_output=True, text=True, check=False
        )
        assert set(last_json(result)) >= keys


def assert_one_line(code: int, error: str, *expected: str) -> None:
    assert code == 2, error
    lines = [line for line in error.strip().splitlines() if line]
    assert len(lines) == 1, error
    assert lines[0].startswith("error: ")
    for text in expected:
        assert text in lines[0], error
