"""BigCodeBench as the runner uses it, on the embedded sample and, where it is there, the real data."""

import gzip
import json
import os
from pathlib import Path

import pytest

import passkwh.benchmarks as benchmarks
from passkwh.benchmarks.base import Candidate
from passkwh.errors import UsageError

SHARED = Path(os.environ.get("PASSKWH_SHARED_DATA", Path(__file__).resolve().parents[2] / "../shared/data"))
REAL = SHARED / "bigcodebench-v0.1.0.jsonl.gz"
ROW = {
    "task_id": "T/1",
    "complete_prompt": 'def task_func(x):\n    """Double x."""\n',
    "instruct_prompt": "Double x.",
    "canonical_solution": "    return 2 * x",
    "code_prompt": "def task_func(x):\n",
    "test": (
        "import unittest\nclass TestCases(unittest.TestCase):\n"
        "    def test_it(self):\n        self.assertEqual(task_func(2), 4)\n"
    ),
    "entry_point": "task_func",
}


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "tasks.jsonl"
    path.write_text(json.dumps(ROW) + "\n" + json.dumps({**ROW, "task_id": "T/2"}) + "\n")
    return path


def opened(**options):
    return benchmarks.open("bigcodebench", options)


def test_an_unknown_benchmark_names_close_ones():
    with pytest.raises(UsageError, match="did you mean bigcodebench"):
        benchmarks.open("bigcodebnch", {})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stile": "complete"}, "no option 'stile'"),
        ({"style": "chatty"}, "style of bigcodebench is 'chatty': it should be 'complete' or 'instruct'"),
        ({"calibrated": "perhaps"}, "it should be a valid boolean"),
        ({"workers": "two"}, "it should be a valid integer"),
        ({"subset": "hard", "data": "x.jsonl"}, "exclude each other"),
        ({"data": "does-not-exist.jsonl"}, "does not exist"),
    ],
)
def test_wrong_options_are_refused_in_one_line(options, message):
    with pytest.raises(UsageError, match=message) as caught:
        opened(**options)
    assert "\n" not in str(caught.value)


def test_a_truncated_line_is_named(data):
    text = data.read_text()
    data.write_text(text[: len(text) - 40])
    with pytest.raises(UsageError, match=r"tasks\.jsonl:2: not JSON"):
        opened(data=str(data))


def test_a_truncated_gzip_file_names_the_last_line_that_was_read(tmp_path):
    path = tmp_path / "tasks.jsonl.gz"
    rows = [{**ROW, "task_id": f"T/{index}", "instruct_prompt": os.urandom(200).hex()} for index in range(200)]
    whole = gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match=r"line \d+: .*truncated"):
        opened(data=str(path))


def test_a_task_without_tests_is_named(data):
    data.write_text(json.dumps({**ROW, "test": "assert True"}))
    with pytest.raises(UsageError, match="T/1 has no tests"):
        opened(data=str(data))


def test_a_hub_data_set_that_is_out_of_reach_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UsageError, match="hf download bigcode/bigcodebench-hard --repo-type dataset"):
        opened(subset="hard")


def test_both_forms_of_a_task_are_the_official_ones(data):
    request = opened(data=str(data)).tasks[0].request
    assert request.text == ROW["complete_prompt"]
    assert request.instruction.endswith("code block:\n```\n" + ROW["complete_prompt"].strip() + "\n```\n")
    assert request.response_prefix.endswith("tests:\n```python\n")
    instruct = opened(data=str(data), style="instruct").tasks[0].request
    assert instruct.instruction.endswith("code block:\nDouble x.\n")


def test_the_content_hash_follows_the_selected_tasks(data):
    first = benchmarks.open("bigcodebench", {"data": str(data)}, 1)
    assert first.info.tasks == 1
    assert first.info.sha256 != opened(data=str(data)).info.sha256


def test_continuations_and_answers_are_judged(data):
    candidates = [
        Candidate("continued", "T/1", "    return x + x\n\nprint(task_func(", True),
        Candidate("answered", "T/1", "def task_func(x):\n    return 2 * x\n```\nDone.", False),
        Candidate("wrong", "T/2", "    return x", True),
        Candidate("empty", "T/2", "", True),
    ]
    scores = {score.key: score for score in opened(data=str(data)).score(candidates)}
    assert {key: score.verdict.status for key, score in scores.items()} == {
        "continued": "pass", "answered": "pass", "wrong": "fail", "empty": "fail",
    }  # fmt: skip
    assert all(score.cpu_s > 0 for score in scores.values())


def test_calibration_supplies_what_a_bare_body_lacks(tmp_path):
    path = tmp_path / "tasks.jsonl"
    path.write_text(json.dumps({**ROW, "code_prompt": "import math\ndef task_func(x):\n"}))
    answer = [Candidate("a", "T/1", "def task_func(x):\n    return 2 * int(math.sqrt(x * x))", False)]
    assert next(iter(opened(data=str(path)).score(answer))).verdict.status == "pass"
    assert next(iter(opened(data=str(path), calibrated=False).score(answer))).verdict.status == "fail"


@pytest.mark.skipif(not REAL.is_file(), reason=f"{REAL} is not there")
def test_the_real_data_loads_and_its_first_solutions_pass():
    benchmark = benchmarks.open("bigcodebench", {"data": str(REAL)}, 9)
    with gzip.open(REAL, "rt") as file:
        rows = [json.loads(line) for line, _ in zip(file, range(9), strict=False)]
    candidates = [Candidate(row["task_id"], row["task_id"], row["canonical_solution"], True) for row in rows[1:]]
    assert [task.task_id for task in benchmark.tasks] == [row["task_id"] for row in rows]
    assert {score.verdict.status for score in benchmark.score(candidates)} == {"pass"}
