"""``--task-ids``: which tasks a run, a study, a check of references or a scoring means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from passkwh import benchmarks
from passkwh.api import run
from passkwh.benchmarks import selection
from passkwh.cli.score import score
from passkwh.cli.verify import verify
from passkwh.errors import UsageError
from passkwh.harness.plan import run_name
from passkwh.harness.sweep import study
from passkwh.records import Spec
from passkwh.registry import BENCHMARKS

SAMPLE = {"subset": "sample"}


def test_tasks_are_those_named_in_the_order_of_the_benchmark() -> None:
    opened = benchmarks.open("bigcodebench", SAMPLE, None, ("Sample/7", "Sample/2", "Sample/30"))
    assert [task.task_id for task in opened.tasks] == ["Sample/2", "Sample/7", "Sample/30"]
    assert opened.info.tasks == 3
    first = benchmarks.open("bigcodebench", SAMPLE, 2, ("Sample/30", "Sample/7", "Sample/2"))
    assert [task.task_id for task in first.tasks] == ["Sample/2", "Sample/7"]
    assert first.info.sha256 != opened.info.sha256


def test_tasks_of_a_completion_benchmark_are_found_beyond_its_first() -> None:
    opened = benchmarks.open("py150", {}, None, ("py150/test/5", "py150/test/3"))
    assert [task.task_id for task in opened.tasks] == ["py150/test/3", "py150/test/5"]
    with pytest.raises(UsageError, match=r"py150 has no task 'py150/test/x'"):
        benchmarks.open("py150", {}, None, ("py150/test/x",))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (("sample/7",), r"has no task 'sample/7' \(did you mean Sample/7\?\); its 36 tasks are Sample/0 to"),
        (("BigCodeBench/12",), r"'BigCodeBench/12' \(did you mean Sample/12\?\)"),
        (("Sample/1", "Sample/99"), r"has no task 'Sample/99' \(did you mean Sample/9 or "),
        (tuple(f"x{n}" for n in range(5)), r"has no task 'x0', 'x1', 'x2' and 2 others"),
    ],
)
def test_an_unknown_id_is_named_with_the_nearest(wanted: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        benchmarks.open("bigcodebench", SAMPLE, None, wanted)


def test_ids_are_a_list_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "ids"
    file.write_text("\ufeffA/1\r\n\n B, with a comma \nA/1\n", "utf-8")
    assert selection.parse(f"@{file}") == ("A/1", "B, with a comma")
    assert selection.parse("A/1,, A/2 ,A/1") == ("A/1", "A/2")
    for text in ("", " , ", f"@{tmp_path}/none", f"@{tmp_path}"):
        with pytest.raises(UsageError, match=r"task ids .*: "):
            selection.parse(text)


def test_a_benchmark_that_takes_no_ids_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        def __init__(self, options: dict[str, Any], limit: int | None) -> None:
            raise AssertionError("not to be opened")

    monkeypatch.setitem(BENCHMARKS._added, "old", Old)
    with pytest.raises(UsageError, match="benchmark old of this process takes no task ids"):
        benchmarks.open("old", {}, None, ("1",))


def test_the_same_ids_are_the_same_run_and_none_change_no_identity() -> None:
    plain = Spec(model="m", benchmark="b")
    assert run_name(Spec(model="m", benchmark="b", task_ids=())) == run_name(plain)
    one = Spec(model="m", benchmark="b", task_ids=("B", "A", "B"))
    assert run_name(one) == run_name(Spec(model="m", benchmark="b", task_ids=("A", "B"))) != run_name(plain)
    assert "task_ids" not in json.loads(plain.model_dump_json(exclude_defaults=True))
    assert Spec.model_validate_json(one.model_dump_json()) == one


STUDY = """
name = "s"
[matrix]
model = ["a", "b"]
benchmark = [{ name = "bigcodebench", task_ids = ["Sample/2", "Sample/1"] }, "mbpp"]
"""


def specs(tmp_path: Path, text: str, *assignments: str) -> list[Spec]:
    (tmp_path / "s.toml").write_text(text)
    return [one.spec for one in study.read(str(tmp_path / "s.toml"), assignments).configurations]


def test_a_study_names_tasks_of_a_benchmark_or_of_all(tmp_path: Path) -> None:
    chosen = {(spec.benchmark, spec.task_ids) for spec in specs(tmp_path, STUDY)}
    assert chosen == {("bigcodebench", ("Sample/1", "Sample/2")), ("mbpp", ())}
    (tmp_path / "ids").write_text("A/1\nA/2\n")
    for value in ("A/2,A/1", f"@{tmp_path}/ids", '"A/1,A/2"'):
        assert {spec.task_ids for spec in specs(tmp_path, STUDY, f"task_ids={value}")} == {("A/1", "A/2")}
    axis = {spec.task_ids for spec in specs(tmp_path, STUDY, 'task_ids=["A/1", "A/2,A/3", "none"]')}
    assert axis == {("A/1",), ("A/2", "A/3"), ()}


@pytest.mark.parametrize("value", ["3", "@nowhere", '","'])
def test_a_study_names_what_is_no_list_of_ids(tmp_path: Path, value: str) -> None:
    with pytest.raises(UsageError, match=r"s\.toml: \[matrix\] task_ids: "):
        specs(tmp_path, STUDY, f"task_ids={value}")


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_references_and_programs_are_judged_of_those_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PASSKWH_CACHE", str(tmp_path / "cache"))
    verify("bigcodebench", task_ids="Sample/3,Sample/1", as_json=True)
    result = printed(capsys)
    assert (result["tasks"], result["pass"]) == (2, 2)
    samples = tmp_path / "samples.jsonl"
    rows = [{"task_id": f"Sample/{n}", "solution": "def task_func(*a):\n    return None\n"} for n in range(4)]
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows))
    score(samples, subset="sample", task_ids="Sample/0,Sample/1", as_json=True)
    result = printed(capsys)
    assert (result["tasks"], result["samples"]) == (2, 2)


def test_a_run_of_some_tasks_is_judged_again_wholly_or_in_part(
    tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PASSKWH_CACHE", str(tmp_path / "cache"))
    runs = run(
        model=str(tiny_llama), benchmark_options=SAMPLE, task_ids=("Sample/3", "Sample/1"), max_new_tokens=4,
        meter="simulated:steady", idle_s=0.1, out=tmp_path / "runs",
    )  # fmt: skip
    (folder,) = (tmp_path / "runs").iterdir()
    assert int(runs.runs["samples"].iloc[0]) == 2
    for chosen, samples in ((None, 2), ("Sample/3", 1)):
        score(folder, task_ids=chosen, as_json=True)
        assert printed(capsys)["samples"] == samples
    with pytest.raises(UsageError, match="has no task 'Sample/2'"):
        score(folder, task_ids="Sample/2", as_json=True)
