"""LiveCodeBench: programs by what they print, methods by what they return; hidden tests are unpacked, never run."""

from __future__ import annotations

import base64
import json
import os
import pickle
import zlib
from pathlib import Path
from typing import Any

import pytest

from passkwh import benchmarks
from passkwh.benchmarks.base import Candidate, Program
from passkwh.benchmarks.livecodebench import LiveCodeBench
from passkwh.benchmarks.samples import SAMPLES
from passkwh.benchmarks.sandbox.verdict import difference_in_decimals
from passkwh.cli.verify import verify
from passkwh.errors import UsageError
from tests.benchmarks.attacks import ATTACKS

ROWS = [json.loads(line) for line in (SAMPLES / "livecodebench.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSKWH_CACHE", str(tmp_path / "cache"))


def judge(benchmark: LiveCodeBench, task_id: str, *programs: str) -> list[tuple[str, str]]:
    """Status and detail of each program."""
    keyed = [(str(n), task_id, Program(code)) for n, code in enumerate(programs)]
    verdicts = {one.key: one.verdict for one in benchmark.score_programs(keyed, anew=True)}
    return [(v.status, v.detail) for key, _, _ in keyed if (v := verdicts[key])]


def test_the_command_line_chooses_a_window(capsys: pytest.CaptureFixture[str]) -> None:
    verify("livecodebench", since="2024-02-01", until="2024-04-01", as_json=True)
    (day,) = (row["contest_date"] for row in ROWS if "2024-02-01" <= row["contest_date"][:10] <= "2024-04-01")
    assert day.startswith("2024-03-02")
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["pass"] == 1
    with pytest.raises(UsageError, match="humaneval has no option 'since'"):
        verify("humaneval", since="2024-02-01")


def test_references_are_verified(capsys: pytest.CaptureFixture[str]) -> None:
    verify("livecodebench", as_json=True)
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["tasks"], result["pass"], result["failures"]) == (5, 5, [])


def test_wrong_programs_fail_where_they_are_wrong() -> None:
    benchmark = LiveCodeBench({})
    once = "n = int(input())\na = list(map(int, input().split()))\nprint(*[3, 5])\n"
    assert judge(benchmark, "sample_a", once, "print(1/0)") == [
        ("fail", "case 2 of 3: line 1 is '3 5', not '0'"),
        ("fail", "case 1 of 3: ended with exit code 1: ZeroDivisionError: division by zero"),
    ]
    method = "class Solution:\n    def differing(self, first, second, tolerance):\n        return {}\n"
    programs = [method.format("[1]"), method.format("1 // 0"), "def differing(): pass", "def f("]
    found = judge(benchmark, "sample_d", *programs)
    assert found[0] == ("fail", "case 2 of 4: [1] is returned, not []")
    assert found[1][1].startswith("case 1 of 4: nothing is returned; call 1 of 4: ZeroDivisionError")
    assert [status for status, _ in found] == ["fail"] * 4
    assert found[2][1] == "ALL: KeyError: 'Solution'"


def test_what_livecodebench_lets_pass_does() -> None:
    """Numbers that are equal as decimals, white space around lines, names without imports, tuples for lists."""
    benchmark = LiveCodeBench({})
    assert judge(benchmark, "sample_b", "t, e = map(int, input().split())\nprint(' ', round(e / t, 2), '\\n')\n") == [
        ("pass", "")
    ]
    uses = "return tuple(i for i in range(len(a)) if fabs(a[i] - b[i]) > most)\n"
    method = f"class Solution:\n    def differing(self, a: List[int], b, most):\n        {uses}"
    assert judge(benchmark, "sample_d", method) == [("pass", "")]
    loop = "for line in sys.stdin: print(max(map(len, line.strip().split('#'))))"
    assert judge(benchmark, "sample_c", f"from __future__ import annotations\n{loop}") == [("pass", "")]


@pytest.mark.parametrize(
    ("expected", "output", "equal"),
    [
        ("1.50\n2", " 1.5 \n2.0\n\n", True), ("1 2", "1.0  2.00", True), ("a b", "a  b", False), ("1", "1 1", False),
        ("1\n2", "1", False), ("1e3", "1000", True), ("x", "X", False), ("", "\n", True), ("nan", "1", False),
        ("50000000000000000", "50000000000000001", False), ("1", "one", False), ("one", "1", False),
    ],
)  # fmt: skip
def test_outputs_are_compared_as_livecodebench_does(expected: str, output: str, equal: bool) -> None:
    assert (difference_in_decimals(expected, output) == "") is equal


def test_completions_become_programs() -> None:
    benchmark = LiveCodeBench({})
    body = "return [n for n, (a, b) in enumerate(zip(first, second)) if abs(a - b) > tolerance]\n"
    head = "class Solution:\n    def differing(self, first, second, tolerance):\n"
    texts = {
        "continued": ("        " + body, True), "answered": (f"```python\n{head}        {body}```\nDone.", False),
        "with more": (f"Use:\n```python\nfar = abs\n\n{head}        {body.replace('abs', 'far')}```", False),
    }  # fmt: skip
    candidates = [Candidate(key, "sample_d", text, continues) for key, (text, continues) in texts.items()]
    found = {one.key: one.verdict.status for one in benchmark.score(candidates) if one.verdict}
    assert found == dict.fromkeys(texts, "pass")
    request = benchmark.tasks[3].request
    assert "class Solution:" in request.text
    assert "class Solution:" in request.instruction


def test_problems_of_a_window_of_dates_are_asked() -> None:
    opened = benchmarks.open("livecodebench", {"since": "2024-03-02", "until": "2024-08-20"})
    assert [task.task_id for task in opened.tasks] == ["sample_b", "sample_c", "sample_d"]
    assert opened.info.options == {"since": "2024-03-02", "until": "2024-08-20"}
    assert benchmarks.open("livecodebench", {}).info.options == {}
    with pytest.raises(UsageError, match=r"option since of livecodebench is 'May': .*[Ii]so"):
        benchmarks.open("livecodebench", {"since": "May"})
    with pytest.raises(UsageError, match="no tasks in it"):
        benchmarks.open("livecodebench", {"since": "2030-01-01"})


def test_the_hubs_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def hub_files(repository: str, pattern: str, otherwise: str) -> tuple[list[Path], str]:
        asked.append((repository, pattern))
        return [SAMPLES / f"{repository.rpartition('/')[2]}.jsonl"], "abc"

    monkeypatch.setattr("passkwh.benchmarks.rows.hub_files", hub_files)
    monkeypatch.setattr(LiveCodeBench, "hub_repository", "x/livecodebench")
    opened = benchmarks.open("livecodebench", {"data": "hub"})
    assert (opened.info.source, opened.info.tasks) == ("x/livecodebench abc", 5)
    opened = benchmarks.open("humanevalpack", {"data": "hub", "language": "java"})
    assert (opened.info.source, opened.info.tasks) == ("bigcode/humanevalpack abc", 2)
    assert asked == [
        ("x/livecodebench", "test*.jsonl"), ("bigcode/humanevalpack", "data/java/data/humanevalpack.jsonl"),
    ]  # fmt: skip


# ---------------------------------------------------------------- hidden tests


def packed(content: object) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(content))).decode()


class Runs:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def opened(path: Path, **change: object) -> LiveCodeBench:
    path.write_text(json.dumps(ROWS[0] | change) + "\n")
    return LiveCodeBench({"data": str(path)})


def test_packed_tests_are_read(tmp_path: Path) -> None:
    tests = [{"input": "2\n1 3\n", "output": "2\n", "testtype": "stdin"}]
    for text in (packed(json.dumps(tests)), json.dumps(tests)):
        (task,) = opened(tmp_path / "one.jsonl", private_test_cases=text).by_id.values()
        assert [case.expected for case in task.cases] == ["3 5\n", "2\n"]


def test_nothing_that_a_pickle_names_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with pytest.raises(UsageError, match=r"one\.jsonl:1: the tests of sample_a cannot be read .*names posix\.system"):
        opened(tmp_path / "one.jsonl", private_test_cases=packed(Runs(f"touch {mark}")))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"private_test_cases": "%%"}, "neither JSON nor a packed text"),
        ({"private_test_cases": packed([1])}, "what is packed is no text"),
        ({"private_test_cases": packed("x")}, "cannot be read"),
        ({"private_test_cases": base64.b64encode(zlib.compress(b"no pickle")).decode()}, "cannot be read"),
        ({"private_test_cases": "[]", "public_test_cases": "[]"}, "has no tests"),
        ({"public_test_cases": "[1]"}, "cannot be read"), ({"contest_date": "soon"}, "contest_date is no date: 'soon'"),
        ({"question_content": None}, "not a LiveCodeBench problem: the text 'question_content' is missing"),
        ({"metadata": "["}, "cannot be read"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        opened(tmp_path / "one.jsonl", **change)


# ---------------------------------------------------------------- attacks


def test_no_attack_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LiveCodeBench, "timeout_s", 2.0)
    wrapped = "{}\n\nclass Solution:\n    def differing(self, *a):\n        return solve(*a)\n"
    programs = [wrapped.format(code) for code in ATTACKS.values()]
    for name, (status, detail) in zip(ATTACKS, judge(LiveCodeBench({}), "sample_d", *programs), strict=True):
        assert status in ("fail", "timeout"), (name, status, detail)
