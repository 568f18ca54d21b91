"""HumanEvalPack: Java and JavaScript compiled and run in the sandbox, taken from answers, and not to be deceived."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from passkwh import benchmarks
from passkwh.benchmarks import other_languages
from passkwh.benchmarks.base import Candidate, Program
from passkwh.benchmarks.humanevalpack import HumanEvalPack
from passkwh.benchmarks.other_languages import JAVA, JAVASCRIPT, answered, closed
from passkwh.benchmarks.samples import SAMPLES
from passkwh.cli.verify import verify
from passkwh.errors import UsageError

ROWS = {row["task_id"]: row for row in map(json.loads, (SAMPLES / "humanevalpack.jsonl").read_text().splitlines())}
needs_tools = pytest.mark.skipif(
    bool(JAVA.missing() or JAVASCRIPT.missing()), reason=JAVA.missing() or JAVASCRIPT.missing()
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSKWH_CACHE", str(tmp_path / "cache"))


def judge(task_id: str, *programs: str) -> list[Any]:
    """Verdicts of programs."""
    keyed = [(str(n), task_id, Program(code)) for n, code in enumerate(programs)]
    found = {one.key: one.verdict for one in HumanEvalPack({}).score_programs(keyed, anew=True)}
    return [found[key] for key, _, _ in keyed]


@needs_tools
def test_references_are_verified_and_wrong_ones_fail(capsys: pytest.CaptureFixture[str]) -> None:
    verify("humanevalpack", as_json=True)
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["tasks"], result["pass"], result["failures"]) == (6, 6, [])
    benchmark = HumanEvalPack({})
    wrong = [(task_id, task_id, Program(row["prompt"] + row["buggy_solution"])) for task_id, row in ROWS.items()]
    found = {one.key: one.verdict for one in benchmark.score_programs(wrong, anew=True) if one.verdict}
    assert {key: verdict.status for key, verdict in found.items()} == dict.fromkeys(ROWS, "fail")
    assert "AssertionError" in found["Java/0"].detail
    assert found["JavaScript/0"].detail == "ended with exit code 1: Error: assertion failed"
    right = [(key, key, Program(benchmark.reference(benchmark.by_id[key]))) for key in ROWS]
    for _ in range(2):  # the second time from the cache
        found = {one.key: one.verdict for one in benchmark.score_programs(right) if one.verdict}
        assert {(one.status, one.suspect) for one in found.values()} == {("pass", ())}


JAVA_BODY = ROWS["Java/0"]["canonical_solution"]
JAVA_METHOD = "public int largestGap(List<Integer> numbers) {\n" + JAVA_BODY.removesuffix("\n}")
PYTHON_BODY = ROWS["Python/0"]["canonical_solution"]
JS_HEAD = "const largestGap = (numbers) =>"
JS_WHOLE = f"{JS_HEAD} {{\n" + ROWS["JavaScript/0"]["canonical_solution"]


@needs_tools
def test_completions_become_programs() -> None:
    texts = {
        "java continued": ("Java/0", JAVA_BODY + "\n\nclass More { int x = }\n", True),
        "java cut off before the class ends": ("Java/0", JAVA_BODY.removesuffix("}"), True),
        "java method": ("Java/0", f"Sure:\n```java\n{JAVA_METHOD}\n```\nDone.", False),
        "java class with a main": (
            "Java/0",
            f"import java.util.List;\npublic class Solution {{\n{JAVA_METHOD}\n}}\n\npublic class Main {{\n"
            "  public static void main(String[] a) { int[] b = {1}; }\n}\n```\n", False,
        ),
        "js continued": ("JavaScript/0", ROWS["JavaScript/0"]["canonical_solution"] + "largestGap(1, 2\n", True),
        "js answer": ("JavaScript/0", f"```js\n{JS_WHOLE}\n```", False),
        "js function": ("JavaScript/0", f"{JS_WHOLE.replace(JS_HEAD, 'function largestGap(numbers)')}```", False),
        "python": ("Python/0", f"```python\ndef largest_gap(numbers):\n{PYTHON_BODY}```", False),
    }  # fmt: skip
    benchmark = HumanEvalPack({})
    candidates = [Candidate(key, task_id, text, continues) for key, (task_id, text, continues) in texts.items()]
    found = {one.key: one.verdict for one in benchmark.score(candidates)}
    assert {key: (v.status, v.detail) for key, v in found.items() if v} == dict.fromkeys(texts, ("pass", ""))


JAVA_HEAD = "import java.util.*;\nimport java.lang.*;\n\nclass Solution {\n"
JAVA_ATTACKS = {
    "exits": "static { System.exit(0); }\npublic int largestGap(List<Integer> n) { return 0; }\n}",
    "halts in a call": "public int largestGap(List<Integer> n) { Runtime.getRuntime().halt(0); return 0; }\n}",
    "prints": 'public int largestGap(List<Integer> n) { System.out.println("pass"); System.out.flush(); return 0; }\n}',
    "hangs": "public int largestGap(List<Integer> n) { while (true) {} }\n}",
    "fills memory": "public int largestGap(List<Integer> n) { List<long[]> k = new ArrayList<>();"
                    " while (true) k.add(new long[1 << 24]); }\n}",
    "starts processes": "public int largestGap(List<Integer> n) { try { while (true)"
                        ' new ProcessBuilder("sleep", "9").start(); } catch (Exception e) { return 0; } }\n}',
    "a class of that name": "public int largestGap(List<Integer> n) { return 0; }\n}\n"
                            "class Arrays { static <T> List<T> asList(T... a) { return new ArrayList<>(); } }",
    "does not compile": "public int largestGap(List<Integer> n) { return }\n}",
    "steals the secret by a stream": "static { try { System.in.reset(); } catch (Exception e) {} }\n"
                                     "public int largestGap(List<Integer> n) { return 0; }\n}",
}  # fmt: skip
JS_ATTACKS = {
    "exits": "process.exit(0)\nconst largestGap = () => 0\n",
    "exits in a call": "const largestGap = () => process.reallyExit(0)\n",
    "assert replaced": "console.assert = () => {}\nconst largestGap = () => 0\n",
    "console shadowed": "var console = { assert() {} }\nconst largestGap = () => 0\n",
    "prints": "const largestGap = () => console.log('pass')\n",
    "equal to everything": "const largestGap = () => ({ valueOf: () => 4 })\n",
    "hangs": "const largestGap = () => { while (true) {} }\n",
    "fills memory": "const largestGap = () => { const k = []; while (true) k.push(Buffer.alloc(1 << 26, 1)) }\n",
    "starts processes": "const { spawn } = require('child_process')\n"
                        "const largestGap = () => { for (;;) spawn('sleep', ['9']) }\n",
    "reads the secret again": "const fs = require('fs')\nconst largestGap = () => 0\n"
                              "fs.writeSync(1, fs.readFileSync('/proc/self/fd/0', 'utf8'))\nprocess.reallyExit(0)\n",
    "the test is never reached": "const largestGap = () => 0\nsetImmediate(() => {})\nthrow null\n",
    "does not parse": "const largestGap = (\n",
}  # fmt: skip


@needs_tools
@pytest.mark.parametrize(("task_id", "attacks"), [("Java/0", JAVA_ATTACKS), ("JavaScript/0", JS_ATTACKS)])
def test_no_attack_is_trusted(task_id: str, attacks: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HumanEvalPack, "timeout_s", 8.0)
    head = JAVA_HEAD if task_id.startswith("Java/") else ""
    found = dict(zip(attacks, judge(task_id, *(head + code for code in attacks.values())), strict=True))
    for name, verdict in found.items():
        assert verdict.status in ("fail", "timeout") or verdict.suspect, (name, verdict)
    if "reads the secret again" in found:
        assert found["reads the secret again"].status == "fail"
    assert found["exits"].status == "fail"
    assert found["exits"].detail == "the process ended by itself before its tests did"
    assert found["hangs"].status == "timeout"


@needs_tools
def test_the_host_and_the_network_are_out_of_reach(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    code = (
        "const fs = require('fs')\nconst seen = fs.existsSync('" + str(tmp_path / "secret") + "')\n"
        "const nets = Object.keys(require('os').networkInterfaces()).filter(n => n !== 'lo').length\n"
        "const env = Object.keys(process.env).some(n => n.startsWith('PASSKWH'))\n"
        "if (seen || nets || env) throw new Error(`seen ${seen} ${nets} ${env}`)\n" + JS_WHOLE
    )
    (verdict,) = judge("JavaScript/0", code)
    assert verdict.status == "pass", verdict.detail
    assert verdict.suspect  # it asks for modules that no solution needs


# ---------------------------------------------------------------- texts


@pytest.mark.parametrize(
    ("beginning", "text", "whole"),
    [
        ("f() {\n", "  x\n}\nmore {", "f() {\n  x\n}"),
        ("class A {\n  f() {\n", "    s = \"}\"; // }\n    c = '}'; /* } */\n  }\n}\nB", None),
        ("f() {\n", "  if (x) {", "f() {\n  if (x) {\n}\n}\n"),
        ("f() {\n", "  `${a}}`\n}", None),
        ("helper() {}\nf() {\n", "}\nx", "helper() {}\nf() {\n}"),
        ("f() {", "", "f() {\n}\n"),
    ],
)
def test_code_is_closed_where_its_blocks_are(beginning: str, text: str, whole: str | None) -> None:
    assert closed(beginning, text) == (beginning + text.removesuffix("\nB") if whole is None else whole)


def test_what_defines_nothing_is_said() -> None:
    assert (
        answered(JAVASCRIPT, "const f = () => {\n", "f", "```js\n  return 1\n```").remark
        == "the answer does not define f"
    )
    assert answered(JAVA, JAVA_HEAD, "f", "").code.count("}") == 1


# ---------------------------------------------------------------- data, options, tools


def test_languages_and_tasks_are_chosen() -> None:
    assert [task.task_id for task in benchmarks.open("humanevalpack", {"language": "js"}).tasks] == [
        "JavaScript/0", "JavaScript/1",
    ]  # fmt: skip
    assert HumanEvalPack({"language": "java"}).language == "java"
    assert HumanEvalPack({"language": "java"}).info.options == {"task": "synthesize", "language": "java"}
    buggy = ROWS["JavaScript/0"]["buggy_solution"].strip()
    for how, told in (("fixtests", ROWS["JavaScript/0"]["test"].strip()), ("fixdocs", "The largest difference")):
        request = HumanEvalPack({"language": "js", "task": how}).tasks[0].request
        for text in (request.text, request.instruction):
            assert buggy in text
            assert told in text
        assert request.response_prefix == "```javascript\n"
    assert "The largest difference" not in HumanEvalPack({"language": "js", "task": "fixtests"}).tasks[0].request.text


def test_a_missing_tool_leaves_its_samples_unjudged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other_languages, "_PATH", "/nowhere")
    benchmark = HumanEvalPack({})
    assert benchmark.missing()[0].startswith(
        "javac is not on this machine: programs in Java need it (Debian: apt install"
    )
    (verdict,) = judge("JavaScript/0", JS_WHOLE)
    assert verdict.status == "not_evaluated"
    assert verdict.detail == "node is not on this machine: programs in JavaScript need it (Debian: apt install nodejs)"
    (verdict,) = judge("Python/0", ROWS["Python/0"]["prompt"] + ROWS["Python/0"]["canonical_solution"])
    assert verdict.status == "pass"


def test_a_bad_row_is_named(tmp_path: Path) -> None:
    for change, message in (
        ({"task_id": "Go/0"}, r"Go/0: programs in Python, Java, JavaScript are judged, not in Go"),
        ({"buggy_solution": None}, "not a HumanEvalPack task: the text 'buggy_solution' is missing"),
    ):
        (tmp_path / "data.jsonl").write_text(json.dumps(ROWS["Java/0"] | change) + "\n")
        with pytest.raises(UsageError, match=message):
            HumanEvalPack({"data": str(tmp_path / "data.jsonl")})
