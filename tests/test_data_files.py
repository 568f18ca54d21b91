"""Files of tasks and of samples as people have them: read, or refused with their format named."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passkwh.benchmarks.base import Candidate
from passkwh.benchmarks.completion.data import Lines, open_data
from passkwh.benchmarks.humaneval import HumanEval
from passkwh.benchmarks.mbpp import Mbpp
from passkwh.benchmarks.rows import objects
from passkwh.cli.score import score
from passkwh.errors import UsageError

ROWS = [{"task_id": "A/1", "text": "größe\u2028a\u2029b\x85c\x0b'\\n'"}, {"task_id": "A/2", "text": "b\r\n\td", "n": 2}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)

FORMS: dict[str, bytes] = {
    "lines": LINES.encode(),
    "a byte-order mark": LINES.encode("utf-8-sig"),
    "a mark before each line": LINES.replace("{", "\ufeff{").encode(),
    "UTF-16": LINES.encode("utf-16"),
    "UTF-16 without a mark": LINES.encode("utf-16-be"),
    "UTF-32": LINES.encode("utf-32"),
    "gzip": gzip.compress(LINES.encode()),
    "gzip of UTF-16": gzip.compress(LINES.encode("utf-16")),
    "carriage returns": LINES.replace("\n", "\r\n").encode(),
    "blank lines": f"\n \n{LINES}\n\n \n".encode(),
    "no last line feed": LINES.rstrip("\n").encode(),
    "an array": json.dumps(ROWS).encode(),
    "an array over lines": json.dumps(ROWS, indent=1).encode("utf-16"),
}


@pytest.mark.parametrize("name", ["data.jsonl", "data.jsonl.gz", "data.json"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_whatever_the_file_is_called(form: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(FORMS[form])
    rows, source = objects(tmp_path / name, "tasks")
    assert [row for _, row in rows] == ROWS
    assert source == name


@given(st.lists(st.dictionaries(st.text(), st.text() | st.integers() | st.none(), min_size=1), min_size=1))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> None:
    path = tmp_path_factory.mktemp("data") / "data.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8", newline="")
    assert [row for _, row in objects(path, "tasks")[0]] == rows


def test_one_object_over_several_lines_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps(ROWS[1], indent=2))
    assert [row for _, row in objects(tmp_path / "one.json", "tasks")[0]] == [ROWS[1]]


def test_what_is_missing_or_no_text_becomes_so(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text(
        '{"a": NaN, "b": -Infinity, "c": "\\ud800x", "d": ["\\udc00"], "e": "\\ud83d\\ude00"}\n'
    )
    ((_, row),) = objects(tmp_path / "data.jsonl", "tasks")[0]
    assert row == {"a": None, "b": None, "c": "\ufffdx", "d": ["\ufffd"], "e": "😀"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04...", "is a zip archive"),
        (bz2.compress(b"{}"), "is bzip2"),
        (lzma.compress(b"{}"), "is xz"),
        (b"\x28\xb5\x2f\xfd...", "is zstd"),
        (b"PAR1...", "is Parquet.*JSON lines"),
        (b'{"a": 1}\n{"a": ', r"file:2: not JSON .*truncated"),
        (b'{"a": 1}\n\xff\n', r"file:2: not UTF-8"),
        (b'{"a": "\xe9"}\n', r"file:1: not UTF-8"),
        ('{"a": 1}\n'.encode("utf-16") + b"\x00", "not UTF-16"),
        (gzip.compress(LINES.encode() * 50)[:-20], "truncated or damaged"),
        (b'{"a": 1, "a": 2}\n', r"file:1: not JSON \(the key 'a' stands twice"),
        (b"[" * 100_000, r"file:1: not JSON \(it is nested too deeply"),
        (b'[{"a": 1}, 2]', "element 2: expected a JSON object, not a int"),
        (b'[["a"], ["b"]]', "bigcode-evaluation-harness"),
        (b'[{"a": 1}, {"a"', r"file:1: not JSON .*truncated"),
        (b'{\n "eval": {}\n}', r"one JSON object \(eval\), not rows"),
        (b'"a"\n', r"file:1: expected a JSON object, not a str"),
        (b"task_id,solution\n1,2\n", r"file:1: not JSON"),
    ],
)
def test_what_is_not_read_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UsageError, match=message):
        list(objects(tmp_path / "file", "tasks")[0])


def test_samples_of_the_line_task_may_be_an_array(tmp_path: Path) -> None:
    (tmp_path / "test.json").write_text(json.dumps([{"input": "<s> x =", "gt": "1"}]), "utf-8-sig")
    data = open_data(str(tmp_path / "test.json"), "python", "test")
    assert isinstance(data, Lines)
    assert [example.truth for example in data.read()] == ["1"]


# ---------------------------------------------------------------- EvalPlus

PLUS = {
    "task_id": 20, "code": "def odd(n):\n    return n % 2 == 1\n", "prompt": "Write a function.", "source_file": "x",
    "test_imports": [], "test_list": ["assert odd(3) == True"],
    "test": "inputs = [[3], [4]]\nresults = [True, False]\nfor given, right in zip(inputs, results):\n"
            "    assert odd(*given) == right\n",
}  # fmt: skip
BASE = {key: value for key, value in PLUS.items() if key != "test"}
HUMANEVAL = {
    "task_id": "HumanEval/0", "prompt": 'def odd(n):\n    """Odd?"""\n', "entry_point": "odd",
    "canonical_solution": "    return n % 2 == 1\n", "test": "def check(candidate):\n    assert candidate(3)\n",
}  # fmt: skip
HUMANEVAL_PLUS = HUMANEVAL | {
    "test": "def assertion(out, exp, atol):\n    assert out == exp\n\ndef check(candidate):\n    inputs = [[3], [4]]\n"
            "    results = [True, False]\n    for given, right in zip(inputs, results):\n"
            "        assertion(candidate(*given), right, 0)\n",
}  # fmt: skip
ALWAYS = "def odd(n):\n    return True\n"


def write(tmp_path: Path, *rows: object) -> str:
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(tmp_path / "data.jsonl")


@pytest.mark.parametrize(
    ("member", "base", "plus", "task_id"),
    [(Mbpp, BASE, PLUS, "MBPP/20"), (HumanEval, HUMANEVAL, HUMANEVAL_PLUS, "HumanEval/0")],
)
def test_tests_of_evalplus_are_run_and_name_the_benchmark(
    member: Callable[..., Any], base: dict[str, Any], plus: dict[str, Any], task_id: str, tmp_path: Path
) -> None:
    for row, name, status in ((base, member.name, "pass"), (plus, f"{member.name}+", "fail")):  # type: ignore[attr-defined]
        benchmark = member({"data": write(tmp_path, row)}, None)
        assert benchmark.info.name == name
        (judged,) = benchmark.score([Candidate("a", task_id, f"```python\n{ALWAYS}```", False)])
        assert judged.verdict.status == status
    with pytest.raises(UsageError, match=r"the data mix .*\+"):
        member(
            {
                "data": write(
                    tmp_path,
                    base | {"task_id": "HumanEval/1" if "/" in str(task_id) and member is HumanEval else 21},
                    plus,
                )
            },
            None,
        )
    with pytest.raises(UsageError, match="the form of EvalPlus's releases"):
        member({"data": write(tmp_path, base | {"plus_input": [[4]], "base_input": [[3]]})}, None)


def test_all_of_mbpp_plus_is_run(tmp_path: Path) -> None:
    data = write(tmp_path, PLUS | {"task_id": 2}, PLUS | {"task_id": 809})
    assert [task.task_id for task in Mbpp({"data": data}, None).tasks] == ["MBPP/2", "MBPP/809"]


# ---------------------------------------------------------------- samples


@pytest.fixture
def judge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[bytes], tuple[dict[str, Any], str]]:
    """What ``bench score`` makes of a file's content, and what it notes."""
    monkeypatch.setenv("PASSKWH_CACHE", str(tmp_path / "cache"))
    data = Path(write(tmp_path, BASE))

    def call(content: bytes) -> tuple[dict[str, Any], str]:
        (tmp_path / "samples.jsonl").write_bytes(content)
        score(tmp_path / "samples.jsonl", benchmark="mbpp", data=data, as_json=True)
        shown = capsys.readouterr()
        result: dict[str, Any] = json.loads(shown.out.splitlines()[-1])
        return result, shown.err

    return call


SAMPLES = [
    {"task_id": "Mbpp/20", "solution": "def odd(n):\n    x = 'a\u2028b\x85'\n    return n % 2 == 1\n"},
    {"task_id": 20, "solution": ALWAYS, "completion": None},
    {"task_id": "20", "solution": "def odd(n):\n    return '\ud800'\n"},
]


@pytest.mark.parametrize(
    "content",
    [
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in SAMPLES[:2]).encode()
        + json.dumps(SAMPLES[2]).encode(),
        gzip.compress(json.dumps(SAMPLES).encode()),
    ],
    ids=["lines", "gzipped array"],
)
def test_samples_are_judged_one_a_line(content: bytes, judge: Callable[[bytes], tuple[dict[str, Any], str]]) -> None:
    result, _ = judge(content)
    assert (result["samples"], result["pass_at_k"]["1"]) == (3, pytest.approx(2 / 3))


def test_samples_in_markdown_are_named(judge: Callable[[bytes], tuple[dict[str, Any], str]]) -> None:
    result, notes = judge(json.dumps({"task_id": 20, "solution": f"```python\n{ALWAYS}```"}).encode())
    assert result["pass_at_k"] == {"1": 0.0}
    assert "1 solutions hold fences of markdown" in notes


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"task_id": 20}, "not a sample with task_id and solution or completion but another form: it has task_id"),
        ({"task_id": 20, "solution": float("nan")}, "not a sample"),
        ({"doc_id": 0, "resps": [["a"]]}, "but of lm-evaluation-harness"),
        ({"name": "HumanEval_0", "completions": ["a"]}, "but of MultiPL-E"),
        (
            {"task_id": "Elsewhere/1", "solution": ""},
            "none of the 1 samples .* is of a task of mbpp: theirs is Elsewhere/1",
        ),
        ([], "holds no samples"),
    ],
)
def test_samples_of_another_form_are_named(
    row: object, message: str, judge: Callable[[bytes], tuple[dict[str, Any], str]]
) -> None:
    with pytest.raises(UsageError, match=message):
        judge(json.dumps(row).encode())
