"""HumanEval through the common sandbox: its own solutions pass, wrong ones do not, bad files are named."""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from passkwh import benchmarks
from passkwh.benchmarks.base import Candidate
from passkwh.benchmarks.humaneval import STOPS, HumanEval
from passkwh.errors import UsageError
from passkwh.registry import BENCHMARKS

SHARED = Path(os.environ.get("PASSKWH_SHARED_DATA", Path(__file__).resolve().parents[1] / "../shared/data"))
REAL = SHARED / "humaneval.jsonl.gz"

TASK = {
    "task_id": "HumanEval/0",
    "prompt": 'import math\n\n\ndef half(x):\n    return x / 2\n\n\ndef root(x):\n    """Square root."""\n',
    "entry_point": "root",
    "canonical_solution": "    return math.sqrt(x)\n",
    "test": "def check(candidate):\n    assert candidate(4) == 2\n    assert half(4) == 2\n",
}


@pytest.fixture
def one(tmp_path: Path) -> HumanEval:
    (tmp_path / "one.jsonl").write_text(json.dumps(TASK) + "\n", "utf-8")
    return HumanEval({"data": str(tmp_path / "one.jsonl")}, None)


def statuses(benchmark: HumanEval, *candidates: Candidate) -> dict[str, str]:
    return {s.key: s.verdict.status for s in benchmark.score(candidates) if s.verdict}


@pytest.mark.skipif(not REAL.exists(), reason=f"HumanEval is not at {REAL}")
def test_all_canonical_solutions_pass_and_empty_ones_do_not() -> None:
    benchmark = benchmarks.open("humaneval", {"data": str(REAL)})
    with gzip.open(REAL, "rt", encoding="utf-8") as file:
        solutions = {row["task_id"]: row["canonical_solution"] for row in map(json.loads, file)}
    assert len(benchmark.tasks) == 164
    right = [Candidate(task_id, task_id, text, continues=True) for task_id, text in solutions.items()]
    wrong = [Candidate(f"no {task_id}", task_id, "    return None\n", continues=True) for task_id in solutions]
    outcomes = Counter(
        (score.key.startswith("no "), score.verdict.status if score.verdict else "none")
        for score in benchmark.score([*right, *wrong])
    )
    assert outcomes == {(False, "pass"): 164, (True, "fail"): 164}


def test_a_continuation_is_cut_where_the_function_ends(one: HumanEval) -> None:
    body = "    return math.sqrt(x)\n"
    texts = {
        "plain": body, "more": body + "\n\ndef check(x):\n    raise ValueError\n", "printing": body + "\nprint(1/0)",
        "wrong": "    return x\n", "broken": "    return (\n",
    }  # fmt: skip
    candidates = [Candidate(key, "HumanEval/0", text, continues=True) for key, text in texts.items()]
    expected = {"plain": "pass", "more": "pass", "printing": "pass", "wrong": "fail", "broken": "fail"}
    assert statuses(one, *candidates) == expected
    assert one.tasks[0].request.stop == STOPS


def test_an_answer_may_be_a_whole_function_or_its_body(one: HumanEval) -> None:
    whole = "def root(x):\n    return math.sqrt(x)\n```\nThis takes the root."
    fenced = "Sure:\n```python\nimport math\n\ndef root(x):\n    return x ** 0.5\n```\nDone."
    candidates = {"whole": whole, "fenced": fenced, "body": "    return math.sqrt(x)\n```", "prose": "I cannot."}
    outcome = statuses(one, *(Candidate(key, "HumanEval/0", text, continues=False) for key, text in candidates.items()))
    assert outcome == {"whole": "pass", "fenced": "pass", "body": "pass", "prose": "fail"}


def test_the_benchmark_says_what_it_is(one: HumanEval) -> None:
    assert (one.info.name, one.info.source, one.info.tasks) == ("humaneval", "one.jsonl", 1)
    request = one.tasks[0].request
    assert request.text == TASK["prompt"]
    assert not request.raw
    assert TASK["prompt"].strip() in request.instruction
    assert "humaneval" in BENCHMARKS.names()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["{"], r"bad\.jsonl:1: not JSON"),
        ([json.dumps(TASK), json.dumps({"task_id": "HumanEval/1"})], r"bad\.jsonl:2: .*'prompt' is missing"),
        (["3"], r"bad\.jsonl:1: expected a JSON object, not a int"),
        ([json.dumps(TASK)] * 2, r"bad\.jsonl:2: task HumanEval/0 stands twice"),
        ([json.dumps(TASK | {"entry_point": "cube"})], "does not define cube"),
        ([], r"bad\.jsonl: no tasks"),
    ],
)
def test_a_bad_file_is_named(lines: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text("".join(line + "\n" for line in lines), "utf-8")
    with pytest.raises(UsageError, match=message):
        HumanEval({"data": str(tmp_path / "bad.jsonl")}, None)


def test_wrong_use_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="humaneval has no option 'style'; it has data, workers, unsafe_evaluation"):
        HumanEval({"style": "complete"}, None)
    with pytest.raises(UsageError, match="does not exist"):
        HumanEval({"data": str(tmp_path / "none.jsonl")}, None)
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(json.dumps(TASK).encode() * 90)[:-30])
    with pytest.raises(UsageError, match="damaged"):
        HumanEval({"data": str(tmp_path / "cut.jsonl.gz")}, None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UsageError, match="data=FILE"):
        HumanEval({}, None)


def test_solutions_of_the_data_are_verified_and_others_scored(
    one: HumanEval, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from passkwh.cli.score import score
    from passkwh.cli.verify import verify

    monkeypatch.setenv("PASSKWH_CACHE", str(tmp_path / "cache"))
    verify("humaneval", data=tmp_path / "one.jsonl", as_json=True)
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["pass"] == 1
    completions = [TASK["canonical_solution"], "    return x\n"]
    rows = [{"task_id": "HumanEval/0", "completion": completion} for completion in completions]
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    score(tmp_path / "samples.jsonl", benchmark="humaneval", data=tmp_path / "one.jsonl", as_json=True)
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["samples"], result["pass_at_k"], result["pass_at_k_sound_tasks"]) == (2, {"1": 0.5}, {"1": 0.5})
    with pytest.raises(UsageError, match="humaneval has no option 'subset'"):
        score(tmp_path / "samples.jsonl", benchmark="humaneval", subset="hard")
