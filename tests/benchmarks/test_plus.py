"""HumanEval+ and MBPP+ by their inputs: right and wrong programs, rules for values, equal verdicts with evalplus."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from passkwh import api, benchmarks
from passkwh.benchmarks import evalplus_values
from passkwh.benchmarks.base import Candidate, Program
from passkwh.benchmarks.evalplus_values import is_right, mbpp_input
from passkwh.benchmarks.humanevalplus import HumanEvalPlus
from passkwh.benchmarks.mbppplus import MbppPlus
from passkwh.benchmarks.plus import PlusBenchmark
from passkwh.benchmarks.samples import SAMPLES
from passkwh.benchmarks.sandbox.worker.values import Opaque
from passkwh.cli.score import score
from passkwh.cli.verify import verify
from passkwh.errors import UsageError
from passkwh.exchange.importing import import_file
from passkwh.harness.runs.folder import RunFolder
from tests.benchmarks.attacks import ATTACKS

EVALPLUS = os.environ.get("PASSKWH_EVALPLUS_PYTHON")
MEMBERS: dict[str, type[PlusBenchmark]] = {"humanevalplus": HumanEvalPlus, "mbppplus": MbppPlus}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSKWH_CACHE", str(tmp_path / "cache"))


def rows(name: str) -> dict[str, dict[str, Any]]:
    lines = (SAMPLES / f"{name}.jsonl").read_text("utf-8").splitlines()
    return {row["task_id"]: row for row in map(json.loads, lines)}


def judge(benchmark: PlusBenchmark, programs: list[tuple[str, str]]) -> list[tuple[str, dict[str, float], str]]:
    """Status, scores and detail of each (task, program)."""
    keyed = [(str(n), task_id, Program(code)) for n, (task_id, code) in enumerate(programs)]
    found = {one.key: one for one in benchmark.score_programs(keyed, anew=True)}
    return [(v.status, found[key].scores, v.detail) for key, _, _ in keyed if (v := found[key].verdict)]


def written(path: Path, *tasks: object) -> str:
    path.write_text("".join(json.dumps(task) + "\n" for task in tasks))
    return str(path)


# ---------------------------------------------------------------- the benchmark


@pytest.mark.parametrize("name", MEMBERS)
def test_references_are_verified_and_samples_scored(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verify(name, as_json=True)
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["tasks"], result["pass"], result["failures"]) == (6, 6, [])
    tasks = rows(name)
    right = {task_id: row["prompt"] + row["canonical_solution"] for task_id, row in tasks.items()}
    wrong = {task_id: f"def {row['entry_point']}(*_):\n    return 0\n" for task_id, row in tasks.items()}
    programs = [*right.items(), *wrong.items()]
    samples = [{"task_id": task_id, "solution": program} for task_id, program in programs]
    file = Path(written(tmp_path / "samples.jsonl", *samples))
    for _ in range(2):  # the second time from the cache
        score(file, benchmark=name, out=tmp_path / "verdicts.jsonl", as_json=True)
        result = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert (result["pass_at_k"], result["pass_at_k_trusted"]) == ({"1": 0.5}, {"1": 0.5})
        assert result["scores"] == {"base": 0.5, "plus": 0.5}
    verdicts = [json.loads(line) for line in (tmp_path / "verdicts.jsonl").read_text().splitlines()]
    assert [one["status"] for one in verdicts] == ["pass"] * 6 + ["fail"] * 6


def test_base_and_plus_are_told_apart() -> None:
    benchmark = HumanEvalPlus({}, None, ("Sample/1",))
    knows_base = "def count_vowels(text):\n    return {'Energy': 2, 'queue': 4}[text]\n"
    knows_plus = "def count_vowels(text):\n    return 9 if text == 'queue' else sum(c in 'aeiouAEIOU' for c in text)\n"
    hangs = "def count_vowels(text):\n    while not text: pass\n    return sum(c in 'aeiouAEIOU' for c in text)\n"
    first, second, third = judge(benchmark, [("Sample/1", code) for code in (knows_base, knows_plus, hangs)])
    assert first[:2] == ("fail", {"base": 1.0, "plus": 0.0})
    assert first[2] == "plus input 1 of 5: nothing is returned; call 3 of 7: KeyError: ''"
    assert second == ("fail", {"base": 0.0, "plus": 1.0}, "base input 2 of 2: 9 is returned, not 4")
    assert third[:2] == ("timeout", {"base": 1.0, "plus": 0.0})


def test_completions_become_programs() -> None:
    human, mbpp = HumanEvalPlus({}), MbppPlus({})
    body = "    return sum(letter in 'aeiou' for letter in text.lower())\n"
    whole = "def count_vowels(text):\n" + body
    digits = "def digit_total(n):\n    return sum(map(int, str(abs(n))))\n"
    cases = [
        (human, "Sample/1", body + "\nprint(1)\n", True), (human, "Sample/1", f"{whole}```\nSo.", False),
        (human, "Sample/1", body, False), (mbpp, "Sample/900", f"{digits}\nassert digit_total(1) == 2\n", True),
        (mbpp, "Sample/900", f"Here:\n```python\n{digits}```", False),
    ]  # fmt: skip
    for benchmark, task_id, text, continues in cases:
        (one,) = benchmark.score([Candidate("a", task_id, text, continues)])
        assert one.verdict is not None
        assert one.verdict.status == "pass", text
    request = mbpp.tasks[0].request
    assert request.text.startswith('"""\nWrite a function to add up')
    assert request.instruction.startswith("Write a function to add up")


def test_no_attack_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("passkwh.benchmarks.plus.MIN_TIMEOUT_S", 2.0)
    programs = [code.replace("solve", "count_vowels") for code in ATTACKS.values()]
    found = judge(HumanEvalPlus({}, None, ("Sample/1",)), [("Sample/1", code) for code in programs])
    for name, (status, scores, detail) in zip(ATTACKS, found, strict=True):
        assert status in ("fail", "timeout"), (name, status, detail)
        assert scores == {"base": 0.0, "plus": 0.0}, (name, detail)


def test_a_reference_that_fails_judges_nothing(tmp_path: Path) -> None:
    row = rows("humanevalplus")["Sample/1"]
    data = written(tmp_path / "data.jsonl", row | {"canonical_solution": "    return len(text) // len(text)\n"})
    ((status, scores, detail),) = judge(
        HumanEvalPlus({"data": data}), [("Sample/1", "def count_vowels(text): return 1")]
    )
    assert (status, scores) == ("not_evaluated", {})
    assert detail.startswith("its reference solution does not say what is right: call 3 of 7: ZeroDivisionError")


def test_a_run_reports_base_apart(tiny_llama: Path, tmp_path: Path) -> None:
    runs = api.run(
        model=str(tiny_llama), benchmark="humanevalplus", limit=2, max_new_tokens=4, meter="simulated:steady",
        idle_s=0.1, out=tmp_path / "runs",
    )  # fmt: skip
    (folder,) = (tmp_path / "runs").iterdir()
    samples = list(RunFolder.open(folder).samples())
    assert [sample.scores for sample in samples] == [{"base": 0.0, "plus": 0.0}] * 2
    assert {sample.verdict.status for sample in samples if sample.verdict} == {"fail"}
    assert RunFolder.open(folder).summary().metrics == {"pass_at_1_base": 0.0}
    assert int(runs.runs["samples"].iloc[0]) == 2


def test_results_of_evalplus_are_compared_group_by_group(tmp_path: Path) -> None:
    row = rows("humanevalplus")["Sample/1"]
    right = row["prompt"] + row["canonical_solution"]
    knows_base = "def count_vowels(text):\n    return {'Energy': 2, 'queue': 4}[text]\n"
    results = [
        {"solution": right, "base_status": "pass", "plus_status": "pass"},
        {"solution": knows_base, "base_status": "pass", "plus_status": "fail"},
        {"solution": knows_base, "base_status": "fail", "plus_status": "fail"},
    ]
    samples = [{"task_id": "Sample/1", "solution": result["solution"]} for result in results]
    file = Path(written(tmp_path / "samples.jsonl", *samples))
    (tmp_path / "samples_eval_results.json").write_text(json.dumps({"date": "", "eval": {"Sample/1": results}}))
    found = import_file(file, tmp_path / "run", format="evalplus", benchmark="humanevalplus")
    assert found.differing == ("Sample/1 sample 2: ours fail, theirs base fail, plus fail",)
    assert found.summary.metrics == {"pass_at_1_base": 1.0}
    assert found.summary.pass_at_k["1"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base_input": None}, r"data\.jsonl:1: not a task of humanevalplus: base_input, plus_input and atol"),
        ({"base_input": []}, "base_input is empty"),
        ({"plus_input": [3]}, "base_input, plus_input and atol"),
        ({"atol": "x"}, "base_input, plus_input and atol"),
        ({"entry_point": "other"}, "the prompt does not define other"),
        ({"prompt": 3}, "the text 'prompt' is a int"),
    ],
)
def test_a_bad_row_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        HumanEvalPlus({"data": written(tmp_path / "data.jsonl", rows("humanevalplus")["Sample/1"] | change)})


def test_rows_of_the_other_form_are_led_to_their_benchmark(tmp_path: Path) -> None:
    row = rows("humanevalplus")["Sample/1"]
    code = {key: row[key] for key in ("task_id", "prompt", "entry_point", "canonical_solution")} | {"test": "x"}
    with pytest.raises(UsageError, match="whose test is code, not inputs: run it as --benchmark humaneval"):
        HumanEvalPlus({"data": written(tmp_path / "data.jsonl", code)})
    with pytest.raises(UsageError, match="run it as --benchmark humanevalplus or mbppplus"):
        benchmarks.open("humaneval", {"data": written(tmp_path / "data.jsonl", row)})


def test_infinities_of_the_data_are_numbers(tmp_path: Path) -> None:
    row = rows("humanevalplus")["Sample/0"] | {"plus_input": [[[float("inf"), 1.0, float("-inf")]], [[float("inf")]]]}
    benchmark = HumanEvalPlus({"data": written(tmp_path / "data.jsonl", row)})
    right = row["prompt"] + row["canonical_solution"]
    assert [one[0] for one in judge(benchmark, [("Sample/0", right)])] == ["pass"]


# ---------------------------------------------------------------- rules


@pytest.mark.parametrize(
    ("function", "given", "wanted", "result", "tolerance", "mbpp", "right"),
    [
        ("f", [], 1, 1, 0, True, True), ("f", [], 1, 1.0, 0, True, True), ("f", [], 1, 2, 0, True, False),
        ("f", [], [1, 2], (1, 2), 0, True, False), ("f", [], (1,), (1,), 0, True, True),
        ("f", [], 1.0, 1.0 + 1e-8, 1e-6, False, True), ("f", [], 1.0, 1.01, 1e-6, False, False),
        ("f", [], 1.0, np.float64(1.0 + 1e-8), 1e-6, False, False),  # close, but of another type
        ("f", [], [1.0, 2.0], [1.0, 2.0 + 1e-8], 1e-6, False, True), ("f", [], [1.0], [1.0, 1.0], 1e-6, False, False),
        ("f", [], "a", "b", 1e-6, False, False), ("f", [], None, 0, 0, False, False),
        ("f", [], Opaque("Match"), Opaque("Match"), 0, False, False), ("f", [], 1, Opaque("Any"), 0, False, False),
        ("find_zero", [[-6, 11, -6, 1]], 1.0, 3.0000001, 1e-4, False, True),  # another root
        ("find_zero", [[-6, 11, -6, 1]], 1.0, "x", 1e-4, False, False),
        ("find_zero", [[1, 2]], 9.0, 9.0, 0, True, True),  # MBPP has no such rule
        ("similar_elements", [], (1, 2), [2, 1, 1], 0, True, True),
        ("similar_elements", [], (1, 2), (1,), 0, True, False),
        ("similar_elements", [], (1, 2), [2, 1], 0, False, False),
        ("are_equivalent", [], True, False, 0, True, True), ("sum_div", [], 7, 0, 0, True, True),
        ("surface_Area", [3, 4], 33, 35, 0, True, True), ("surface_Area", [3, 4], 99, 34, 0, True, False),
        ("digit_distance_nums", [1, 23], 0, 4, 0, True, True),
        ("digit_distance_nums", [1, 23], 0, 3, 0, True, False),
        ("check_str", [], True, Opaque("Match"), 0, True, True), ("check_str", [], True, None, 0, True, False),
        ("check_str", [], False, None, 0, True, True), ("check_str", [], True, True, 0, True, True),
        ("check_str", [], True, False, 0, True, False),
    ],
)  # fmt: skip
def test_results_are_right_by_the_tasks_rule(
    function: str, given: list[Any], wanted: Any, result: Any, tolerance: float, mbpp: bool, right: bool
) -> None:
    assert is_right(function, given, wanted, result, tolerance, mbpp) is right


@pytest.mark.parametrize(
    ("number", "stored", "meant"),
    [
        (2, [[1], [2, 3]], [(1,), (2, 3)]), (63, [[[1, 2]]], [[(1, 2)]]), (75, [[[1]], 3], [[(1,)], 3]),
        (106, [[1], [2]], [[1], (2,)]), (115, [[[1, 1], []]], [[{1}, {}]]), (124, ["1.5", "2+1j"], (1.5, 2 + 1j)),
        (252, ["1j"], [1j]), (250, [[1], 1], [(1,), 1]), (307, [[1], 2, 3], [(1,), 2, 3]),
        (259, [[[1], [2]]], [((1,), (2,))]), (278, [[1, [2]]], [(1, (2,))]), (722, [{"a": [1]}, 2], [{"a": (1,)}, 2]),
        (580, [[1, [2]]], ((1, (2,)),)), (3, [[1]], [[1]]),
    ],
)  # fmt: skip
def test_inputs_of_mbpp_mean_what_their_task_has(number: int, stored: list[Any], meant: object) -> None:
    converted = mbpp_input(number, stored)
    assert list(converted) == list(meant)  # type: ignore[call-overload]
    assert repr(list(converted)) == repr(list(meant))  # type: ignore[call-overload]


# ---------------------------------------------------------------- beside evalplus itself

needs_evalplus = pytest.mark.skipif(not EVALPLUS, reason="PASSKWH_EVALPLUS_PYTHON names no Python with evalplus")


def official(code: str, request: object) -> Any:
    """What the Python that has evalplus prints for a request."""
    done = subprocess.run(
        [str(EVALPLUS), "-c", code], input=json.dumps(request), capture_output=True, text=True, check=True, timeout=300
    )
    return json.loads(done.stdout.splitlines()[-1])


OFFICIAL_VERDICTS = """
import json, sys
from evalplus.data.mbpp import mbpp_deserialize_inputs
from evalplus.eval import untrusted_check
from evalplus.gen.util import trusted_exec

request = json.load(sys.stdin)
verdicts = []
for task_id, code in request["programs"]:
    task, found = request["tasks"][task_id], []
    for group in ("base_input", "plus_input"):
        inputs = task[group]
        if request["dataset"] == "mbpp":
            inputs = mbpp_deserialize_inputs(task_id, inputs)
        name = task["entry_point"]
        code_of_reference = task["prompt"] + task["canonical_solution"]
        wanted, times = trusted_exec(code_of_reference, inputs, name, record_time=True)
        found.append(untrusted_check(request["dataset"], code, inputs, name, wanted, task["atol"], times, True)[0])
    verdicts.append([one == "pass" for one in found])
print(json.dumps(verdicts))
"""


CHANGES = {
    "nothing": "x",
    "tuples are lists": "list(x) if isinstance(x, tuple) else x",
    "a little": "x + 1e-9 if isinstance(x, float) else x",
    "much": "x * 1.01 if isinstance(x, float) else x",
    "another type": "int(x) if isinstance(x, float) else x",
    "a type of numpy's": "__import__('numpy').float64(x) if isinstance(x, float) else x",
    "right on the base inputs alone": "x if list(a) in BASE else None",
    "nothing is returned": "None",
    "raises": "1 // 0",
}


def variants(row: dict[str, Any]) -> list[str]:
    """Right and wrong programs of a task: the reference solution with its results changed, and none of its name."""
    right, name = row["prompt"] + row["canonical_solution"], row["entry_point"]
    beginning = f"{right}\n_right = {name}\nBASE = {row['base_input']!r}\n"
    changed = [f"{beginning}def {name}(*a):\n    x = _right(*a)\n    return {how}\n" for how in CHANGES.values()]
    return [*changed, "def other(): pass\n"]


@needs_evalplus
@pytest.mark.parametrize("name", MEMBERS)
def test_verdicts_are_those_of_evalplus(name: str) -> None:
    tasks = rows(name)
    programs = [(task_id, code) for task_id, row in tasks.items() for code in variants(row)]
    dataset = "mbpp" if name == "mbppplus" else "humaneval"
    theirs = official(OFFICIAL_VERDICTS, {"dataset": dataset, "tasks": tasks, "programs": programs})
    found = judge(MEMBERS[name]({}), programs)
    ours = [[scores["base"] == 1.0, scores["plus"] == 1.0] for _, scores, _ in found]
    assert len(programs) == 60
    differing = [(*program, a, b) for program, a, b in zip(programs, theirs, ours, strict=True) if a != b]
    assert not differing
    assert [status == "pass" for status, _, _ in found] == [all(one) for one in theirs]
    assert {tuple(one) for one in theirs} >= {(True, True), (True, False), (False, False)}


def nested(make: random.Random, depth: int) -> Any:
    if depth == 0:
        return make.randint(-9, 9)
    return [nested(make, depth - 1) for _ in range(make.randint(1, 3))]


@needs_evalplus
def test_inputs_of_mbpp_become_what_evalplus_makes_of_them() -> None:
    make, asked = random.Random(1), []
    forms: dict[int, Callable[[], Any]] = {
        115: lambda: [[nested(make, 1), []]], 124: lambda: ["0.5", "1+2j"], 252: lambda: ["2j"],
        722: lambda: [{"a": nested(make, 1)}, 3], 75: lambda: [nested(make, 2), 1],
        250: lambda: [nested(make, 1), 1],
        307: lambda: [nested(make, 1), 1, 2], 106: lambda: [nested(make, 1), nested(make, 1)],
        278: lambda: [[1, nested(make, 1)]],
    }  # fmt: skip
    for number in {*evalplus_values._INPUT_OF, 3, 11}:
        shape = {413: 75, 444: 75, 753: 75, 750: 106, **dict.fromkeys((405, 446, 617, 720, 763, 808), 250)}
        form = forms.get(shape.get(number, number), lambda: [nested(make, 3), nested(make, 3)])
        asked.append([f"Mbpp/{number}", [form()]])
    code = (
        "import json, sys\nfrom evalplus.data.mbpp import mbpp_deserialize_inputs as read\n"
        "print(json.dumps([repr([list(i) for i in read(t, inputs)]) for t, inputs in json.load(sys.stdin)]))"
    )
    theirs = official(code, asked)
    ours = [repr([list(mbpp_input(int(t.split("/")[1]), one)) for one in inputs]) for t, inputs in asked]
    assert [(t, b) for (t, _), a, b in zip(asked, theirs, ours, strict=True) if a != b] == []
