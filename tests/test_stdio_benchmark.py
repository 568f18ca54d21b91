"""A benchmark judged by output, as a third party writes it: through the registry, `bench verify` and `bench score`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from passkwh import benchmarks
from passkwh.benchmarks.base import Candidate
from passkwh.benchmarks.stdio import StdioBenchmark
from passkwh.cli.score import score
from passkwh.cli.verify import verify
from passkwh.errors import UsageError
from passkwh.registry import BENCHMARKS

TASKS: list[dict[str, Any]] = [
    {
        "task_id": "sums/1", "prompt": "Read two numbers and print their sum.",
        "cases": [{"input": "1 2\n", "expected": "3\n"}, {"input": "5 -5\n", "expected": "0\n"}],
        "reference": "print(sum(map(int, input().split())))",
    },
    {"task_id": "sums/2", "prompt": "Print yes.", "cases": [{"input": "", "expected": "yes"}]},
]  # fmt: skip
RIGHT = TASKS[0]["reference"]


class Sums(StdioBenchmark):
    """Sums."""

    name = "sums"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PASSKWH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(BENCHMARKS._added, "sums", Sums)
    path = tmp_path / "sums.jsonl"
    path.write_text("".join(json.dumps(task) + "\n" for task in TASKS))
    monkeypatch.setattr(Sums, "embedded", path)
    return path


def last_json(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_continuations_and_answers_become_programs_that_are_judged(data: Path) -> None:
    benchmark = benchmarks.open("sums", {})
    assert (benchmark.info.source, benchmark.info.tasks) == ("embedded", 2)
    request = benchmark.tasks[0].request
    assert TASKS[0]["prompt"] in request.text
    assert TASKS[0]["prompt"] in request.instruction
    texts = {
        "continued": (f'{RIGHT}\n\n"""\nAnother problem', True),
        "opened block": (f"{RIGHT}\n```\nIt adds them.", False),
        "own block": (f"Sure:\n```python\n{RIGHT}\n```\nDone.", False),
        "wrong": ("print(3)", True),
        "prose": ("I cannot do that", False),
        "nothing": ("", False),
    }
    candidates = [Candidate(key, "sums/1", text, continues) for key, (text, continues) in texts.items()]
    scores = {one.key: one for one in benchmark.score(candidates)}
    assert {key: one.verdict.status for key, one in scores.items() if one.verdict} == {
        "continued": "pass", "opened block": "pass", "own block": "pass", "wrong": "fail", "prose": "fail",
        "nothing": "fail",
    }  # fmt: skip
    assert scores["wrong"].verdict is not None
    assert scores["wrong"].verdict.detail == "case 2 of 2: line 1 is '3', not '0'"


def test_references_are_verified_and_programs_of_others_scored(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verify("sums", as_json=True)
    result = last_json(capsys)
    assert (result["tasks"], result["pass"], result["failures"]) == (1, 1, [])
    samples = data.parent / "samples.jsonl"
    rows = [("sums/1", RIGHT), ("sums/2", "print('no')")]
    samples.write_text("".join(json.dumps({"task_id": task, "solution": program}) + "\n" for task, program in rows))
    for _ in range(2):  # the second time from the cache
        score(samples, benchmark="sums", out=data.parent / "verdicts.jsonl", as_json=True)
        result = last_json(capsys)
        assert (result["pass_at_k"], result["pass_at_k_trusted"]) == ({"1": 0.5}, {"1": 0.5})
    verdicts = [json.loads(line) for line in (data.parent / "verdicts.jsonl").read_text().splitlines()]
    assert [verdict["status"] for verdict in verdicts] == ["pass", "fail"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"task_id": "x"}, r"sums\.jsonl:1: not a task of sums: the text 'prompt' is missing"),
        ({"task_id": "x", "prompt": "p"}, "needs a list of cases"),
        ({"task_id": "x", "prompt": "p", "cases": []}, "needs a list of cases"),
        ({"task_id": "x", "prompt": "p", "cases": [3]}, "needs a list of cases"),
        ({"task_id": "x", "prompt": "p", "cases": [{"input": "1"}]}, "not a case: the text 'expected' is missing"),
    ],
)
def test_a_bad_row_is_named(data: Path, row: dict[str, Any], message: str) -> None:
    data.write_text(json.dumps(row) + "\n")
    with pytest.raises(UsageError, match=message):
        benchmarks.open("sums", {})


def test_data_without_solutions_cannot_be_verified(data: Path) -> None:
    data.write_text(json.dumps(TASKS[1]) + "\n")
    with pytest.raises(UsageError, match=r"sums has no reference solutions: sums\.jsonl holds none"):
        verify("sums", data=data)


def test_a_run_is_judged_again(
    data: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from passkwh.cli import main as program

    arguments = ["run", "--model", tiny_llama, "--benchmark", "sums", "--max-new-tokens", 4, "--idle-s", 0, "--json"]
    arguments += ["--meter", "simulated", "--out", data.parent / "runs"]
    monkeypatch.setattr("sys.argv", ["bench", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        program.main()
    assert not stop.value.code
    result = last_json(capsys)
    assert (result["samples"], result["solved"]) == (2, 0)
    (folder,) = (data.parent / "runs").iterdir()
    score(folder, as_json=True)
    again = last_json(capsys)
    assert (again["samples"], again["pass_at_k"]) == (2, {"1": 0.0})
    data.write_text(data.read_text().replace("their sum", "the sum"))
    with pytest.raises(UsageError, match="was run on other tasks"):
        score(folder)
