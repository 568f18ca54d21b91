"""MBPP through the common sandbox: solutions pass, wrong ones do not, both published forms are read, bad rows named."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from passkwh.benchmarks import sandbox
from passkwh.benchmarks.base import Candidate
from passkwh.benchmarks.mbpp import Mbpp
from passkwh.benchmarks.sandbox import Job, Outcome
from passkwh.errors import UsageError
from passkwh.records import Option
from passkwh.registry import BENCHMARKS

FULL = {
    "text": "Write a function to double a number.", "task_id": 11, "test_setup_code": "import math",
    "code": "def helper(x):\r\n    return 2 * x\r\ndef double(x):\r\n    return helper(x)",
    "test_list": ["assert double(2) == 4", "assert math.isclose(double(0.5), 1)"], "challenge_test_list": [],
}  # fmt: skip
SANITIZED = {
    "prompt": "Write a function to find the square root.", "task_id": 510, "source_file": "x.ipynb",
    "code": "import math\ndef root(x):\n    return math.sqrt(x)", "test_imports": ["import math"],
    "test_list": ["assert set([root(4)]) == {2}"],
}  # fmt: skip


def write(path: Path, *tasks: object) -> str:
    path.write_text("".join(json.dumps(task) + "\n" for task in tasks), "utf-8")
    return str(path)


@pytest.fixture
def mbpp(tmp_path: Path) -> Mbpp:
    data = write(tmp_path / "mbpp.jsonl", FULL | {"task_id": 1}, FULL, SANITIZED, FULL | {"task_id": 511})
    return Mbpp({"data": data}, None)


def test_the_test_split_is_asked_with_its_assertions(mbpp: Mbpp) -> None:
    assert [task.task_id for task in mbpp.tasks] == ["MBPP/11", "MBPP/510"]
    request = mbpp.tasks[0].request
    assert request.text.startswith('"""\nWrite a function to double a number.\nassert double(2) == 4\n')
    assert all(text in request.instruction for text in (FULL["text"], *FULL["test_list"]))
    assert "mbpp" in BENCHMARKS.names()
    assert (mbpp.info.tasks, mbpp.info.source) == (2, "mbpp.jsonl")


def test_solutions_pass_and_others_do_not(mbpp: Mbpp) -> None:
    texts = {
        "double": ("MBPP/11", FULL["code"] + "\n\nassert False\n", True),
        "root": ("MBPP/510", SANITIZED["code"], True),
        "chat": ("MBPP/510", f"Here:\n```python\n{SANITIZED['code']}\n```\nIt imports math.", False),
        "wrong": ("MBPP/11", "def double(x):\n    return x\n", True),
        "nothing": ("MBPP/11", "", True),
    }
    candidates = [Candidate(key, task, str(text), continues) for key, (task, text, continues) in texts.items()]
    assert {score.key: score.verdict.status for score in mbpp.score(candidates) if score.verdict} == {
        "double": "pass", "root": "pass", "chat": "pass", "wrong": "fail", "nothing": "fail",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([FULL, {"task_id": 12}], r"mbpp\.jsonl:2: not an MBPP task: .*'prompt'"),
        ([3], r"mbpp\.jsonl:1: expected a JSON object"),
        ([FULL, FULL], r"mbpp\.jsonl:2: task MBPP/11 stands twice"),
        ([FULL | {"code": "def other(): pass"}], "call none of its solution's functions"),
        ([FULL | {"task_id": 9}], r"no task of the test split \(11 to 510\)"),
    ],
)
def test_a_bad_row_is_named(tasks: list[object], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        Mbpp({"data": write(tmp_path / "mbpp.jsonl", *tasks)}, None)


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(UsageError, match="mbpp has no option 'split'; it has data"):
        Mbpp({"split": "test"}, None)


@pytest.mark.parametrize(
    ("asked", "given_up"),
    [({}, False), ({"unsafe_evaluation": "true"}, True), ({"unsafe_evaluation": False}, False)],
)
def test_isolation_is_given_up_only_when_asked(
    mbpp: Mbpp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Option], given_up: bool
) -> None:
    benchmark = Mbpp({"data": str(tmp_path / "mbpp.jsonl"), **asked}, None)
    asked_of_the_sandbox = []

    def evaluate(jobs: Sequence[Job], *, unsafe: bool, **more: Any) -> Iterator[Outcome]:
        asked_of_the_sandbox.append(unsafe)
        return sandbox.evaluate(jobs, unsafe=unsafe, **more)

    monkeypatch.setattr("passkwh.benchmarks.programs.evaluate", evaluate)
    candidates = [Candidate("double", "MBPP/11", str(FULL["code"]), True)]
    assert [score.verdict.status for score in benchmark.score(candidates) if score.verdict] == ["pass"]
    assert asked_of_the_sandbox == [given_up]


def test_an_option_of_another_kind_is_named() -> None:
    with pytest.raises(UsageError, match="unsafe_evaluation of mbpp is 'perhaps': it should be a valid boolean"):
        Mbpp({"unsafe_evaluation": "perhaps"}, None)
