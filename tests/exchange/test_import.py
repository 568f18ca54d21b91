"""``bench import``: files that the real tools wrote (data/README.md) become runs with our verdicts."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import passkwh
from passkwh.analysis.frames import load
from passkwh.cli.import_ import import_
from passkwh.cli.score import score
from passkwh.errors import UsageError
from passkwh.harness.runs.folder import RunFolder

DATA = Path(__file__).with_name("data")
TASKS = dict.fromkeys(("evalplus", "lm-eval", "inspect"), DATA / "humaneval.jsonl")
TASKS["bigcodebench"] = DATA / "bigcodebench" / "tasks.jsonl"
LM_EVAL = next((DATA / "lm-eval").glob("samples_*.jsonl"))

app = typer.Typer()
app.command(name="import")(import_)
app.command()(score)


def call(*arguments: object) -> dict[str, Any]:
    """The JSON object that a command prints last; exceptions come through."""
    result = CliRunner().invoke(app, [str(a) for a in (*arguments, "--json")])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    made: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return made


def imported(file: Path, out: Path, format: str, *arguments: object) -> dict[str, Any]:
    return call("import", file, "--out", out, "--data", TASKS[format], *arguments)


@pytest.mark.parametrize(
    ("format", "file", "tool", "version", "ours", "theirs"),
    [
        ("evalplus", "evalplus/samples.jsonl", "evalplus", None, 3, {"base": [3, 4], "plus": [2, 4]}),
        ("evalplus", "evalplus/samples_eval_results.json", "evalplus", None, 3, {"base": [3, 4], "plus": [2, 4]}),
        ("bigcodebench", "bigcodebench/samples.jsonl", "bigcodebench", None, 3, {"bigcodebench": [3, 4]}),
        ("bigcodebench", "bigcodebench/samples_eval_results.json", "bigcodebench", None, 3, {"bigcodebench": [3, 4]}),
        ("lm-eval", f"lm-eval/{LM_EVAL.name}", "lm-evaluation-harness", "0.4.13", 1, {"pass@1": [1, 2]}),
        ("inspect", "inspect/humaneval.json", "inspect_ai", "0.3.285", 3, {"verify": [3, 4]}),
        ("inspect", "inspect/humaneval.eval", "inspect_ai", "0.3.285", 3, {"verify": [3, 4]}),
    ],
)
def test_each_tools_file_becomes_a_run_with_our_verdicts_and_theirs_apart(
    tmp_path: Path, format: str, file: str, tool: str, version: str | None, ours: int, theirs: dict[str, list[int]]
) -> None:
    result = imported(DATA / file, tmp_path / "run", format)
    about = result["imported"]
    assert (about["format"], about["tool"], about["version"], about["reported"]) == (format, tool, version, theirs)
    samples = RunFolder.open(tmp_path / "run").samples()
    assert sum(one.verdict is not None and one.verdict.status == "pass" for one in samples) == ours
    assert (len(samples), result["tasks"]) == (next(iter(theirs.values()))[1], 2)
    kept = [json.loads(line) for line in (tmp_path / "run" / "reported.jsonl").read_text().splitlines()]
    assert [row["key"] for row in kept] == [one.key for one in samples]
    for name, (passed, _) in theirs.items():
        assert sum(row["verdicts"][name] == "pass" for row in kept) == passed
    # No energy was metered, and that is said; it is no 0.
    (run,) = load([tmp_path / "run"]).runs
    assert run.summary.gross_energy_j is None
    assert run.summary.generation_s is None
    assert run.summary.energy_reason == f"imported from {tool} {version or 'of unknown version'}: not metered here"
    assert load([tmp_path / "run"]).samples["gross_j"].isna().all()
    # `bench score` judges the folder as any other, and finds the same.
    again = call("score", tmp_path / "run", "--data", TASKS[format])
    assert again["pass_at_k"]["1"] == pytest.approx(result["pass_at_k"]["1"])


def test_samples_on_which_the_two_judges_differ_are_named(tmp_path: Path) -> None:
    result = imported(DATA / "evalplus/samples.jsonl", tmp_path / "run", "evalplus", "--tool-version", "0.3.1")
    assert result["differing"] == ["HumanEval/1 sample 0: ours pass, theirs base pass, plus fail"]
    assert result["imported"]["version"] == "0.3.1"


def test_what_a_log_counts_and_times_is_kept_and_the_rest_is_missing(tmp_path: Path) -> None:
    imported(DATA / "inspect/humaneval.eval", tmp_path / "counted", "inspect")
    imported(LM_EVAL, tmp_path / "uncounted", "lm-eval")
    counted, uncounted = (RunFolder.open(tmp_path / name) for name in ("counted", "uncounted"))
    assert [one.completion_tokens for one in counted.samples()] == [12] * 4
    assert all(one.latency_s is not None and one.latency_s > 0 for one in counted.samples())
    assert {(one.prompt_tokens, one.completion_tokens, one.latency_s) for one in uncounted.samples()} == {(None,) * 3}
    assert (counted.summary().completion_tokens, uncounted.summary().completion_tokens) == (48, None)
    assert uncounted.manifest().model.name == "lab/canned"
    assert uncounted.manifest().spec.max_new_tokens == 1024


def test_an_analysis_says_what_an_import_lacks_and_of_no_energy_that_it_was_computed(tmp_path: Path) -> None:
    imported(LM_EVAL, tmp_path / "run", "lm-eval")
    analysis = passkwh.load_runs(tmp_path / "run").analyse()
    (configuration,) = analysis.configurations
    reasons = {one.measure: one.reason for one in analysis.intervals}
    assert configuration.provenance == "missing"
    assert not [note for note in analysis.notes if "was not measured" in note]
    assert reasons["joules_per_token"] == "energy is missing"
    assert reasons["tokens_per_s"] == "no time of generating was measured"


def test_a_part_of_the_tasks_is_said_to_be_one(tmp_path: Path) -> None:
    lines = (DATA / "evalplus/samples.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "samples.jsonl").write_text("".join(lines[2:]))
    result = CliRunner().invoke(
        app,
        ["import", str(tmp_path / "samples.jsonl"), "--out", str(tmp_path / "run"), "--data", str(TASKS["evalplus"])],
    )
    assert result.exit_code == 0, result.exception
    assert "samples are of 1 of the 2 tasks" in result.stderr
    assert "no samples_eval_results.json beside it" in result.stderr
    assert RunFolder.open(tmp_path / "run").manifest().benchmark.tasks == 1
    assert load([tmp_path / "run"]).runs[0].summary.pass_at_k["1"] == 1.0


# ---------------------------------------------------------------- wrong use and hostile files


def wrong(tmp_path: Path, file: Path, *arguments: object, **_: object) -> str:
    with pytest.raises(UsageError) as error:
        call("import", file, "--out", tmp_path / "run", *arguments)
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 700
    assert not (tmp_path / "run").exists()
    return message


def test_wrong_use_is_one_line_that_names_the_fix(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    assert "is of none of bigcodebench, evalplus" in wrong(tmp_path, tmp_path / "notes.txt")
    assert "cannot be read (No such file" in wrong(tmp_path, tmp_path / "nowhere.jsonl")
    assert "unknown import format 'evalpuls': did you mean evalplus" in wrong(
        tmp_path, DATA / "evalplus/samples.jsonl", "--format", "evalpuls"
    )
    row = json.loads(LM_EVAL.read_text().splitlines()[0])
    other = tmp_path / LM_EVAL.name.replace("humaneval", "gsm8k")
    other.write_text(json.dumps(row))
    assert "'gsm8k' of lm-evaluation-harness is no benchmark that pass@kWh has" in wrong(tmp_path, other)
    row["doc"]["task_id"] = "Mystery/7"
    (tmp_path / LM_EVAL.name).write_text(json.dumps(row))
    message = wrong(tmp_path, tmp_path / LM_EVAL.name, "--data", TASKS["lm-eval"])
    assert "theirs is Mystery/7, the data's is HumanEval/0" in message
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    with pytest.raises(UsageError, match="not empty"):
        call("import", LM_EVAL, "--out", tmp_path / "taken")


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        ('{"task_id": "HumanEval/0", "task_id": "HumanEval/1", "solution": ""}', "stands twice"),
        ('{"task_id": "HumanEval/0", "solution": 7}', "solution is int, not a text"),
        ('{"task_id": ["HumanEval/0"], "solution": ""}', "task_id is list, not a text"),
        ('{"task_id": "HumanEval/0", "solution": "x"}\n' + "[" * 100_000, "cannot be read as JSON"),
        ('{"task_id": "HumanEval/0", "solution": "x"}\n[]', "not a JSON object"),
        ('{"task_id": "HumanEval/0", "solution": "x"}\n{"task_id": "HumanEval/0"}', "line 2: not a sample"),
        ('{"task_id": "HumanEval/0", "solution": "' + "x" * (2**22 + 1) + '"}', "characters, more than"),
        (
            '{"date": "", "eval": {"HumanEval/0": [{"task_id": "HumanEval/0", "base_status": []}]}}',
            "solution is NoneType",
        ),
        ('{"date": "", "eval": [{"task_id": "HumanEval/0", "base_status": 1}]}', "eval is missing"),
    ],
)
def test_hostile_lines_are_one_line(tmp_path: Path, content: str, seen: str) -> None:
    (tmp_path / "samples.jsonl").write_text(content)
    message = wrong(tmp_path, tmp_path / "samples.jsonl", "--format", "evalplus", "--data", TASKS["evalplus"])
    assert seen in message


def test_only_files_are_read(tmp_path: Path) -> None:
    """A pipe would be waited for, and a device has no end."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        assert "is no file, but a folder or a device" in wrong(tmp_path, path, "--data", TASKS["evalplus"])


def test_names_are_cleaned_before_anyone_sees_them(tmp_path: Path) -> None:
    shutil.copy(DATA / "evalplus/samples.jsonl", tmp_path / "samples.jsonl")
    content = json.loads((DATA / "evalplus/samples_eval_results.json").read_text())
    content["eval"]["HumanEval/0"][0]["base_status"] = "\x1b[31mpass\u202e"
    (tmp_path / "samples_eval_results.json").write_text(json.dumps(content))
    result = imported(tmp_path / "samples.jsonl", tmp_path / "run", "evalplus", "--model", "lab/one")
    assert result["imported"]["reported"]["base"] == [2, 4]
    assert "\\u001b" not in (tmp_path / "run" / "reported.jsonl").read_text()
